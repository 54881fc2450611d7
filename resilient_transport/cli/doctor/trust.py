"""What a session trusts: a file, a folder, or the public authorities that certifi lists."""

from __future__ import annotations

import os
import re
import ssl
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache
from ipaddress import ip_address
from pathlib import Path
from typing import Final

import certifi

from ...pool.certificate import Certificate, chain_in

#: Files of a folder of trusted certificates that are read, at the most.
_MOST_FILES: Final = 1000
#: Trusted certificates that are named, at the most.
_MOST_NAMED: Final = 2


@dataclass(frozen=True, slots=True)
class Trust:
    """What the session trusts."""

    #: The path of the certificates; None: those of certifi.
    path: str | None = None
    #: Whether it verifies at all.
    verifies: bool = True
    #: Whether public authorities are among them.
    has_public: bool = True
    #: The first of them, if they are few.
    named: tuple[str, ...] = ()
    #: Why they cannot be used; empty: they can.
    unusable: str = ""

    @property
    def shown(self) -> str:
        """What it is called."""
        return "certifi's authorities" if self.path is None else self.path


def load(context: ssl.SSLContext, path: str) -> None:
    """Let a context trust what is in a file or a folder.

    Raises:
        OSError: it cannot be read.
    """
    folder = Path(path).is_dir()
    context.load_verify_locations(cafile=None if folder else path, capath=path if folder else None)


def problem_with(path: str) -> str:
    """What is wrong with a file or a folder of authorities; empty: nothing."""
    if not os.path.exists(path):
        return "does not exist"
    if os.path.isdir(path):
        return "" if os.access(path, os.R_OK | os.X_OK) else "may not be read"
    try:
        load(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), path)
    except PermissionError:
        return "may not be read"
    except (OSError, ValueError):
        return "has no certificate in PEM"
    return ""


def trust_of(verify: bool | str) -> Trust:
    """What a session trusts.

    Args:
        verify: as requests takes it.
    """
    path = str(verify) if isinstance(verify, str) and verify != certifi.where() else None
    trust = Trust(path, bool(verify))
    if path is None:
        return trust
    if problem := problem_with(path):
        return replace(trust, unusable=problem)
    found = _certificates_at(Path(path))
    public = {one.fingerprint for one in _public()}
    named = tuple(one.subject for one in found) if len(found) <= _MOST_NAMED else ()
    return replace(trust, has_public=any(one.fingerprint in public for one in found), named=named)


def _certificates_at(path: Path) -> list[Certificate]:
    files = sorted(path.iterdir())[:_MOST_FILES] if path.is_dir() else [path]
    found: dict[bytes, Certificate] = {}
    for file in files:
        with suppress(OSError):
            found.update({one.fingerprint: one for one in chain_in(file.read_bytes())})
    return list(found.values())


@cache
def _public() -> list[Certificate]:
    return chain_in(Path(certifi.where()).read_bytes())


def public_organisations() -> set[str]:
    """The organisations of the public authorities."""
    return {organisation(one.subject) for one in _public()} - {""}


def organisation(name: str) -> str:
    """The organisation in a name; empty: it has none."""
    found = re.search(r"(?:^|, )O=(.*?)(?=, [A-Za-z0-9.]+=|$)", name)
    return found[1] if found else ""


def is_named(names: tuple[str, ...], host: str) -> bool:
    """Whether a certificate with these names is for a host (RFC 9525 section 6.3).

    Args:
        names: its alternative names, names and addresses.
        host: a name, or an address without brackets.
    """
    host = host.rstrip(".").lower()
    with suppress(ValueError):
        return str(ip_address(host.partition("%")[0])) in names
    behind = host.partition(".")[2]
    return any(name.lower() in (host, f"*.{behind}") for name in names)
