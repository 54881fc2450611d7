"""`verify="system"`: whom the operating system trusts, by the package truststore.

On macOS and Windows the system itself decides: truststore's TLS contexts ask it after each handshake, and
make one handshake at a time. Elsewhere the store is files, and truststore would have OpenSSL read all of them
for each handshake (50 ms). There they are read as any other files: once, and again when they were replaced.

Leans on `truststore._openssl._CA_FILE_CANDIDATES`, pinned in `tests/test_upstream.py`; without it, only the
places that OpenSSL knows are looked at.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
from contextlib import suppress
from typing import Any, Final, NamedTuple

from .given_identity import UnusableSettings

#: The word. A file of that name is "./system".
SYSTEM: Final = "system"
#: The file names under which OpenSSL looks for certificates in a directory.
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+", re.IGNORECASE)
#: Where the system itself decides.
_DECIDE: Final = ("darwin", "win32")


class SystemTrust(NamedTuple):
    """What stands for the system's store."""

    #: truststore's class of TLS contexts; None: the files do.
    kind: type[ssl.SSLContext] | None
    ca_certs: str | None = None
    ca_cert_dir: str | None = None


def is_system(verify: Any) -> bool:
    """Whether `verify` is the word."""
    return isinstance(verify, str) and verify == SYSTEM


def system_trust() -> SystemTrust:
    """What stands for the system's store on this machine.

    Raises:
        UnusableSettings: truststore is not installed.
    """
    try:
        import truststore
    except ImportError as error:
        raise UnusableSettings(
            'verify="system" needs the package truststore (the extra [system]): pip install truststore'
        ) from error
    if sys.platform in _DECIDE:
        return SystemTrust(truststore.SSLContext)
    found = ssl.get_default_verify_paths()
    # OpenSSL passes over a directory that it cannot read.
    place = found.capath if _has_certificates(found.capath) else None
    if found.cafile or place:
        return SystemTrust(None, found.cafile, place)
    return SystemTrust(None, next(filter(os.path.isfile, _elsewhere(truststore)), None))


def _elsewhere(truststore: Any) -> list[str]:
    """Where systems keep their store that the Python in use, made on another one, does not know of."""
    return list(getattr(getattr(truststore, "_openssl", None), "_CA_FILE_CANDIDATES", ()))


def _has_certificates(path: str | None) -> bool:
    with suppress(OSError):
        return path is not None and any(map(_HASHED.fullmatch, os.listdir(path)))
    return False
