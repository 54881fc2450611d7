"""What has to be there before anything else of the package is imported; the error says what to do."""

from __future__ import annotations

from http.client import HTTPConnection

import urllib3.connection

if not issubclass(urllib3.connection.HTTPConnection, HTTPConnection):
    # urllib3-future has a protocol stack of its own. requests goes on with it; this package cannot.
    raise ImportError(
        "resilient_transport needs urllib3, and something else is installed in its place. urllib3-future, "
        "which niquests brings, does that. To have both, each under its own name: "
        "pip uninstall --yes urllib3-future urllib3 && URLLIB3_NO_OVERRIDE=1 "
        "pip install --no-cache-dir --no-binary urllib3-future urllib3-future urllib3"
    )
