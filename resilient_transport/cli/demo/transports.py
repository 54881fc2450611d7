"""The three ways to send that the demo compares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from ...adapter.adapter import ResilientAdapter

#: The one that the exit status is about.
OURS: Final = "ResilientAdapter"

#: By the name in the table: what is mounted on a session, if anything.
TRANSPORTS: Final[dict[str, Callable[[], HTTPAdapter] | None]] = {
    "stock requests": None,
    "Retry(3)": lambda: HTTPAdapter(max_retries=Retry(3)),
    OURS: ResilientAdapter,
}

#: What they are, for people.
ABOUT: Final = {
    "stock requests": "requests as it is installed, without retries",
    "Retry(3)": "requests with urllib3's Retry(3), its own way to send again",
    OURS: "requests with this package, as it is without arguments",
}


def session_for(transport: str) -> requests.Session:
    """A new session that sends this way."""
    session = requests.Session()
    make = TRANSPORTS[transport]
    if make is not None:
        session.mount("https://", make())
    return session
