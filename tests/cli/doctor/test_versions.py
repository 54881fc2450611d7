"""The doctor's section on versions, and the table of known faults."""

import ssl
from dataclasses import replace
from datetime import date

import pytest

from resilient_transport.cli.doctor.finding import Finding, Level
from resilient_transport.cli.doctor.known_faults import FAULTS, faults_of, parsed
from resilient_transport.cli.doctor.sections import versions
from resilient_transport.cli.doctor.sections.versions import VERSIONS, Measured, Package, judge
from tests.cli.doctor.visiting import by_check, visit_to

#: What nothing is known of.
SOUND = Measured((), "OpenSSL 3.5.4 30 Sep 2025", False, True, date(2026, 11, 30))


def judged(name: str, version: str, measured: Measured = SOUND, **values: str | bool) -> Finding:
    """Judge one package."""
    package = Package(name, version, **values)  # type: ignore[arg-type]
    (finding,) = judge(replace(measured, packages=(package,)))
    return finding


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("2.0.2", (2, 0, 2)),
        ("2.0", (2,)),
        ("2026.10.19.post1", (2026, 10, 19)),
        ("2.32.0rc1", (2, 32)),
        ("1.1.1w", (1, 1, 1, 23)),
        ("OpenSSL 3.0.17", (3, 0, 17)),
        ("", ()),
    ],
)
def test_versions_are_compared_by_their_numbers(text: str, version: tuple[int, ...]) -> None:
    """A candidate counts as its release, and a zero at the end as nothing."""
    assert parsed(text) == version


@pytest.mark.parametrize(
    ("package", "version", "first"),
    [
        ("urllib3", "2.0.1", "urllib3#3009"),
        ("urllib3", "2.0.2", "CVE-2026-97687"),
        ("urllib3", "2.6.1", "urllib3#3734"),
        ("urllib3", "2.7.0", "CVE-2026-97688"),
        ("urllib3", "2.8.0", None),
        ("requests", "2.31.0", "CVE-2024-35195"),
        ("requests", "2.32.3", "psf/requests#6726"),
        ("requests", "2.32.5", None),
        ("certifi", "2024.6.2", "CVE-2024-39689"),
        ("certifi", "2024.7.4", None),
        ("OpenSSL", "3.0.17", "openssl#28171"),
        ("OpenSSL", "3.0.4", "CVE-2022-2274"),
        ("OpenSSL", "3.0.19", None),
        ("OpenSSL", "1.1.1w", "openssl.org's release strategy"),
        ("Python", "3.13.0", None),
    ],
)
def test_each_fault_has_the_first_and_the_last_version(package: str, version: str, first: str | None) -> None:
    """Of several, the most important one comes first."""
    found = faults_of(package, version)

    assert (found[0].source if found else None) == first


def test_every_fault_has_a_range_and_a_source() -> None:
    """What is mended in no later version could never be cured."""
    for fault in FAULTS:
        assert parsed(fault.since) < parsed(fault.mended), fault
        assert fault.source, fault


def test_a_bad_version_is_warned_of_with_what_to_type() -> None:
    """The cure mends all that is known of it, not the first alone."""
    found = judged("urllib3", "2.6.1")

    assert found.level is Level.WARN
    assert found.text.startswith("a body in chunks that is compressed by Brotli cannot be decoded (urllib3#")
    assert "there are 3 more" in found.text
    assert found.hint == "pip install 'urllib3>=2.8.0'"
    assert judged("urllib3", "2.8.0").level is Level.OK


def test_a_distribution_mends_what_is_about_security_by_itself() -> None:
    """Its version stays what it was, so that only other faults can be told."""
    assert judged("urllib3", "2.0.7").level is Level.WARN
    assert judged("urllib3", "2.0.7", is_distribution=True).level is Level.OK
    assert judged("OpenSSL", "1.1.1k", is_distribution=True).level is Level.OK
    assert judged("OpenSSL", "3.0.17", is_distribution=True).hint.startswith("sudo apt-get")
    assert judged("OpenSSL", "3.0.17").hint == "use a Python that is linked with OpenSSL 3.0.18 or newer"


def test_what_is_older_than_this_package_takes_is_told() -> None:
    """pip may have been told to install it all the same."""
    found = judged("requests", "2.31.0", least="2.32.2")

    assert found.text == "requests 2.31.0 is older than resilient-transport needs"
    assert found.hint == "pip install 'requests>=2.32.2'"
    assert judged("requests", "2.34.2", least="2.32.2").level is Level.OK


def test_old_authorities_are_warned_of() -> None:
    """Two years are the limit; a version that is no date has no age."""
    assert "2 years old" in judged("certifi", "2024.8.30").text
    assert judged("certifi", "2025.1.31").level is Level.OK
    assert judged("certifi", "9999").level is Level.OK


def test_python_is_judged_by_what_its_ssl_does() -> None:
    """Distributions have mended it in versions that are older than the mended ones."""
    unmended = replace(SOUND, is_ssl_mended=False)

    assert "CVE-2023-40217" in judged("Python", "3.11.2", unmended).text
    assert judged("Python", "3.11.2").level is Level.OK
    assert judged("Python", "3.13.0", replace(SOUND, is_free_threaded=True)).level is Level.WARN
    assert judged("Python", "3.13.0").level is Level.OK


def test_another_library_than_openssl_is_warned_of() -> None:
    """urllib3 says the same, once, where nobody may read it."""
    other = replace(SOUND, openssl="LibreSSL 3.3.6")

    assert "LibreSSL 3.3.6" in judged("OpenSSL", "3.3.6", other).text


def test_the_versions_here_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every check has one finding; an ssl module without the correction is found out by its code."""
    measured = VERSIONS.measure(visit_to("https://localhost/"))
    monkeypatch.setattr(versions.sys, "version_info", (3, 11, 4))
    monkeypatch.setattr(ssl.SSLSocket, "_create", lambda: None)
    old = VERSIONS.measure(visit_to("https://localhost/"))

    assert list(by_check(judge(measured))) == [check.name for check in VERSIONS.checks]
    assert measured.packages[1].version == ssl.OPENSSL_VERSION.split()[1]
    assert all(package.version for package in measured.packages)
    assert measured.is_ssl_mended
    assert not old.is_ssl_mended


def test_what_this_package_takes_is_read_from_its_metadata(monkeypatch: pytest.MonkeyPatch) -> None:
    """Extras say nothing of the package itself, and where it was not installed nothing is known."""
    wanted = ["urllib3<3,>=2.0.2", "requests>=2.32.2", 'pytest>=8; extra == "testing"']
    monkeypatch.setattr(versions.metadata, "requires", lambda name: wanted)
    least = dict(versions._least())

    def absent(name: str) -> list[str]:
        raise versions.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(versions.metadata, "requires", absent)

    assert least == {"urllib3": "2.0.2", "requests": "2.32.2"}
    assert dict(versions._least()) == {}
