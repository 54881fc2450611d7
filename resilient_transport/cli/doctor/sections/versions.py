"""The versions of what a call is made with, and what is known to be bad about them."""

from __future__ import annotations

import platform
import re
import ssl
import sys
import sysconfig
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timezone
from importlib import metadata
from types import ModuleType
from typing import Final

import certifi
import requests
import urllib3

from ..finding import Finding, ok, warn
from ..known_faults import Fault, faults_of, parsed
from ..root import Root
from ..section import Check, Section
from ..visit import Visit

#: Days after which a collection of trusted authorities is old: new ones come in, and servers use them.
OLDEST: Final = 730
#: Where distributions keep what they install by themselves.
_OF_DISTRIBUTIONS: Final = ("/usr/lib/", "/usr/lib64/")
#: A variable that `ssl` has since it refuses what came before the handshake.
_OF_MENDED_SSL: Final = "notconn_pre_handshake_data"


@dataclass(frozen=True, slots=True)
class Package:
    """A package, or a program."""

    #: As pip names it; or "OpenSSL", or "Python".
    name: str
    #: As it calls itself.
    version: str
    #: Whether it comes from a distribution, which mends what is about security without another number.
    is_distribution: bool = False
    #: The lowest version that this package takes; empty: any.
    least: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a call is made with."""

    #: The packages.
    packages: tuple[Package, ...]
    #: What `ssl` is linked with, in its own words.
    openssl: str
    #: Whether this Python has no lock.
    is_free_threaded: bool
    #: Whether `ssl` takes nothing for encrypted that came before the handshake (CVE-2023-40217), which
    #: distributions have mended without another number.
    is_ssl_mended: bool
    #: When that was.
    today: date


def measure(visit: Visit) -> Measured:
    """Ask each for its version."""
    least = dict(_least())
    packages = [
        Package("Python", platform.python_version(), _is_of_distribution(ssl)),
        Package("OpenSSL", _version_in(ssl.OPENSSL_VERSION), _is_of_distribution(ssl)),
        *(
            Package(module.__name__, module.__version__, _is_of_distribution(module), least.get(name, ""))
            for name, module in (("requests", requests), ("urllib3", urllib3), ("certifi", certifi))
        ),
    ]
    # CPython's own function: another one may have no such thing.
    code = getattr(getattr(ssl.SSLSocket, "_create", None), "__code__", None)
    return Measured(
        packages=tuple(packages),
        openssl=ssl.OPENSSL_VERSION,
        is_free_threaded=bool(sysconfig.get_config_var("Py_GIL_DISABLED")),
        is_ssl_mended=code is None or sys.version_info >= (3, 12) or _OF_MENDED_SSL in code.co_varnames,
        today=datetime.now(timezone.utc).date(),
    )


def _is_of_distribution(module: ModuleType) -> bool:
    return str(module.__file__).startswith(_OF_DISTRIBUTIONS)


def _version_in(told: str) -> str:
    """The version in the words of a TLS library: "OpenSSL 3.0.19 27 Jan 2026"."""
    found = re.search(r"\d[\w.]*", told)
    return found[0] if found else ""


def _least() -> Iterator[tuple[str, str]]:
    """What this package takes, where it was installed."""
    try:
        wanted = metadata.requires("resilient-transport") or []
    except metadata.PackageNotFoundError:
        return
    for one in wanted:
        if found := re.match(r"([\w-]+)[^;]*>=\s*([\d.]+)[^;]*$", one):
            yield found[1].lower(), found[2]


def judge(measured: Measured) -> Iterator[Finding]:
    """Say what is known of each."""
    for package in measured.packages:
        yield _of_package(package, measured)


def _of_package(package: Package, measured: Measured) -> Finding:
    check = f"versions.{package.name.lower()}"
    if package.least and parsed(package.version) < parsed(package.least):
        text = f"{package.name} {package.version} is older than resilient-transport needs"
        return warn(
            check, text, f"pip install '{package.name}>={package.least}'", package.version, Root.OTHER
        )
    is_other = not measured.openssl.startswith("OpenSSL") or "compatible" in measured.openssl
    if package.name == "OpenSSL" and is_other:
        text = f"ssl uses {measured.openssl}, which urllib3 is not tested with"
        return warn(check, text, "use a Python that is linked with OpenSSL", package.version, Root.OTHER)
    if package.name == "Python" and not measured.is_ssl_mended:
        text = "data that comes before a handshake can pass for encrypted (CVE-2023-40217)"
        hint = "use Python 3.10.13, 3.11.5, or newer"
        return warn(check, text, hint, package.version, Root.OTHER)
    faults = faults_of(
        package.name,
        package.version,
        is_distribution=package.is_distribution,
        is_free_threaded=measured.is_free_threaded,
    )
    if faults:
        return _of_faults(check, package, list(faults))
    if package.name == "certifi" and (old := _age(package, measured.today)) > OLDEST:
        text = f"the trusted authorities of certifi are {old / 365:.0f} years old, so newer ones are missing"
        return warn(check, text, "pip install --upgrade certifi", package.version, Root.OTHER)
    told = measured.openssl if package.name == "OpenSSL" else f"{package.name} {package.version}"
    return ok(check, f"{told} has no known fault", package.version)


def _of_faults(check: str, package: Package, faults: list[Fault]) -> Finding:
    first, others = faults[0], faults[1:]
    more = f"; there are {len(others)} more" if others else ""
    value = ", ".join([package.version, *(fault.source for fault in faults)])
    text = f"{first.what} ({first.source}){more}"
    return warn(check, text, _cure(package, faults), value, Root.OTHER)


def _cure(package: Package, faults: list[Fault]) -> str:
    mended = max((fault.mended for fault in faults), key=parsed)
    if package.name == "Python":
        return f"use Python {mended} or newer"
    if package.name != "OpenSSL":
        return f"pip install '{package.name}>={mended}'"
    if package.is_distribution:
        return "sudo apt-get install --only-upgrade libssl3   # Debian has mended it in 3.0.17-1~deb12u2"
    return f"use a Python that is linked with OpenSSL {mended} or newer"


def _age(package: Package, today: date) -> int:
    """Days since a version that is a date."""
    try:
        year, month, day = parsed(package.version)[:3]
        return (today - date(year, month, day)).days
    except ValueError:
        return 0


VERSIONS: Final = Section(
    "versions",
    "Versions",
    (
        Check("versions.python", "whether this Python's ssl module is known to be bad"),
        Check("versions.openssl", "which OpenSSL that is linked with, and whether it is known to be bad"),
        Check("versions.requests", "whether this requests is known to be bad"),
        Check("versions.urllib3", "whether this urllib3 is known to be bad"),
        Check("versions.certifi", "whether this certifi is known to be bad, or old"),
    ),
    measure,
    judge,
)
