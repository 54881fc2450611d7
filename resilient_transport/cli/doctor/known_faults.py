"""Versions that are known to be bad for connections, as data: which, what goes wrong, and who says so.

What is here was read in the project's own changelog, issue or advisory, which `source` names. What is left
out: what concerns no user of requests (redirects of urllib3, which requests follows by itself), and what a
version does not tell, since distributions mend OpenSSL without another number.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

Version = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that goes wrong with some versions of a package."""

    #: The package, as pip names it; or "OpenSSL", or "Python".
    package: str
    #: The first version that has it, and the first that does not any more.
    since: str
    mended: str
    #: What goes wrong, as a sentence.
    what: str
    #: Who says so: an advisory, or an issue of the project.
    source: str
    #: Whether it is one that distributions mend without another number.
    is_security: bool = False
    #: Whether only a Python without its lock has it.
    is_free_threaded: bool = False

    def concerns(self, version: Version) -> bool:
        """Whether a version has it."""
        return parsed(self.since) <= version < parsed(self.mended)


def parsed(text: str) -> Version:
    """The numbers that a version begins with, without zeros at its end; a letter of OpenSSL's counts."""
    found = re.match(r"\D*(\d+(?:\.\d+)*)([a-z](?![a-z\d]))?", text)
    if found is None:
        return ()
    numbers = [int(part) for part in found[1].split(".")]
    if found[2]:
        numbers.append(ord(found[2]) - ord("a") + 1)
    while numbers and not numbers[-1]:
        numbers.pop()
    return tuple(numbers)


#: The order is that of importance: of several, the first is told in words.
FAULTS: Final = (
    # CHANGES.rst of urllib3, 2.0.2; psf/requests#6439 has it through requests.
    Fault(
        "urllib3", "2.0.0", "2.0.2", "a body that is compressed may end early, without an error",
        "urllib3#3009",
    ),
    # A regression of 2.6.0 (CHANGES.rst, 2.6.2).
    Fault(
        "urllib3", "2.6.0", "2.6.2", "a body in chunks that is compressed by Brotli cannot be decoded",
        "urllib3#3734",
    ),
    # Release notes of 2.8.0.
    Fault(
        "urllib3", "2.6.2", "2.8.0", "a chunked Deflate body can keep it busy for ever, past every time-out",
        "CVE-2026-97688", is_security=True,
    ),
    Fault(
        "urllib3", "1.26.0", "2.8.0", "TLS settings for the server are applied to an https:// proxy",
        "CVE-2026-97687", is_security=True,
    ),
    Fault(
        "urllib3", "1.10.3", "2.8.0", "a server can use up the memory by the size of a chunk",
        "CVE-2026-97689", is_security=True,
    ),
    # CHANGES.rst, 2.7.0 and 2.6.0.
    Fault(
        "urllib3", "2.6.0", "2.7.0", "a small compressed body can use up the memory",
        "CVE-2026-44432", is_security=True,
    ),
    Fault(
        "urllib3", "1.0", "2.6.0", "a small compressed body can use up the memory",
        "CVE-2025-66471", is_security=True,
    ),
    Fault(
        "urllib3", "1.24", "2.6.0", "a body that is compressed again and again can use up the memory",
        "CVE-2025-66418", is_security=True,
    ),
    # HISTORY.md of requests, 2.32.0.
    Fault(
        "requests", "0", "2.32.0", "after a call with verify=False, its connection is used unchecked",
        "CVE-2024-35195", is_security=True,
    ),
    # What 2.32.5 took back (HISTORY.md); segmentation faults of the same cause are in psf/requests#6872.
    Fault(
        "requests", "2.32.0", "2.32.5", "in stock requests, threads may show each other's client certificate",
        "psf/requests#6726",
    ),
    Fault(
        "requests", "0", "2.32.4", "a crafted URL can get the credentials that .netrc has for another host",
        "CVE-2024-47081", is_security=True,
    ),
    # Advisories of certifi: roots that Mozilla took out.
    Fault(
        "certifi", "0", "2022.12.7", "it trusts TrustCor, which Mozilla does not any more",
        "CVE-2022-23491", is_security=True,
    ),
    Fault(
        "certifi", "0", "2023.7.22", "it trusts e-Tugra, which Mozilla does not any more",
        "CVE-2023-37920", is_security=True,
    ),
    Fault(
        "certifi", "0", "2024.7.4", "it trusts GLOBALTRUST, which Mozilla does not any more",
        "CVE-2024-39689", is_security=True,
    ),
    # A regression of that one release; Debian has mended it in 3.0.17-1~deb12u2 (its bug 1110254).
    Fault(
        "OpenSSL", "3.0.17", "3.0.18", "threads that shake hands with one TLS context may crash the process",
        "openssl#28171",
    ),
    # NEWS.md of OpenSSL, 3.0.5: keys of 2048 bits on processors with AVX512IFMA.
    Fault(
        "OpenSSL", "3.0.4", "3.0.5", "a client certificate with an RSA key can damage the process's memory",
        "CVE-2022-2274",
    ),
    # The last public release of 1.1.1 was that of 11 September 2023.
    Fault(
        "OpenSSL", "0", "3", "it gets no more public corrections since September 2023",
        "openssl.org's release strategy", is_security=True,
    ),
    # The fix came into 3.13 after 3.13.0.
    Fault(
        "Python", "3.13.0", "3.13.1", "without the GIL, threads that use TLS crash the process",
        "python/cpython#124984", is_free_threaded=True,
    ),
)  # fmt: skip


def faults_of(
    package: str, version: str, *, is_distribution: bool = False, is_free_threaded: bool = False
) -> Sequence[Fault]:
    """What is known of a version.

    Args:
        package: as in the table.
        version: as it calls itself.
        is_distribution: it comes from a distribution, which mends what is about security by itself.
        is_free_threaded: this Python has no lock.
    """
    numbers = parsed(version)
    return [
        fault
        for fault in FAULTS
        if fault.package == package
        and fault.concerns(numbers)
        and not (fault.is_security and is_distribution)
        and (is_free_threaded or not fault.is_free_threaded)
    ]
