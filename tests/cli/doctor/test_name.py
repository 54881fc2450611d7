"""The doctor's section on the name."""

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from resilient_transport.cli.doctor.addresses import Address, Lookup
from resilient_transport.cli.doctor.finding import Finding, Level
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections import name
from resilient_transport.cli.doctor.sections.name import NAME, Measured, Name, judge
from tests.cli.doctor.visiting import bad, by_check, resolve_to, visit_to
from tests.timeouts import SHORT_TIMEOUT

V4 = Address(socket.AF_INET, ("192.0.2.1", 443))
OTHER = Address(socket.AF_INET, ("192.0.2.2", 443))
V6 = Address(socket.AF_INET6, ("2001:db8::1", 443, 0, 0))
SOON = Lookup(0.01, (V4, V6))


def judged(*lookups: Lookup, **values: Any) -> dict[str, Finding]:
    """Judge the lookups of a server's name."""
    return by_check(judge(Measured(Name("example.test", "server", lookups, **values))))


def test_a_name_with_two_families_is_ok() -> None:
    """A name that is found soon, and always the same, gives no warning."""
    told = judged(SOON, SOON, SOON)

    assert bad(told.values()) == []
    assert told["name.addresses"].text == "example.test has 2 addresses (IPv4 and IPv6)"
    assert told["name.addresses"].value == "192.0.2.1, 2001:db8::1"


def test_a_name_that_is_not_there_fails() -> None:
    """The word is "not found", and the later sections cannot run."""
    found = judged(Lookup(0.1, (), "Name or service not known", is_absent=True))

    assert list(found) == ["name.found"]
    assert found["name.found"].root is Root.NAME
    assert "not found" in found["name.found"].text
    assert found["name.found"].blocks
    assert found["name.found"].value == "example.test"


def test_a_name_server_that_is_silent_is_told_from_a_name_that_is_not_there() -> None:
    """Who does not answer has said nothing of the name."""
    silent = Lookup(5.0, (), "no answer within 5 s")
    found = judged(silent, silent)["name.found"]

    assert found.root is Root.NAME
    assert "the name server fails (no answer within 5 s)" in found.text
    assert "resolv.conf" in found.hint


def test_answers_that_differ_are_told_and_those_that_are_empty_are_warned_of() -> None:
    """A set that changes is how loads are balanced; one that is empty now and then is not."""
    changing = judged(SOON, Lookup(0.01, (OTHER,)), SOON)["name.stable"]
    failing = judged(SOON, Lookup(0.01, (), "Temporary failure"), SOON)["name.stable"]

    assert changing.level is Level.OK
    assert changing.value == "192.0.2.1, 192.0.2.2, 2001:db8::1"
    assert failing.level is Level.WARN
    assert failing.value == "2 of 3 found"


@pytest.mark.parametrize(
    ("of_ipv6", "why"),
    [(Lookup(2.5, (), "none"), "slow to answer for IPv6"), (Lookup(0.01), "each new connection waits")],
)
def test_a_slow_resolver_is_warned_of(of_ipv6: Lookup, why: str) -> None:
    """If only the question for IPv6 is slow, the warning says so."""
    found = judged(Lookup(2.5, (V4,)), of_ipv4=Lookup(0.01, (V4,)), of_ipv6=of_ipv6)["name.time"]

    assert found.level is Level.WARN
    assert why in found.text
    assert judged(SOON)["name.time"].level is Level.OK


def test_the_file_of_hosts_is_named() -> None:
    """What this machine says by itself may be old."""
    assert judged(SOON, in_hosts_file=("10.0.0.1",))["name.hosts-file"].value == "10.0.0.1"
    assert "name.hosts-file" not in judged(SOON)


def test_an_entry_of_the_file_of_hosts_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """It is found by any of its names, and not in a comment."""
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n10.0.0.1\tother Server # old\n#10.0.0.2 server\n")
    monkeypatch.setattr(name, "HOSTS_FILE", hosts)
    resolve_to(monkeypatch, ("127.0.0.1", 443))

    assert NAME.measure(visit_to("https://server/")).dialled.in_hosts_file == ("10.0.0.1",)


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
def test_an_address_needs_no_name(host: str) -> None:
    """An IP literal is ok as it is."""
    measured = NAME.measure(visit_to(f"https://{host}/"))

    assert [finding.text for finding in judge(measured)] == [
        f"{host.strip('[]')} is an address, so no name is looked up"
    ]
    assert measured.dialled.addresses[0].where[1] == 443


def test_a_name_is_asked_for_three_times_and_in_each_family(monkeypatch: pytest.MonkeyPatch) -> None:
    """All addresses are measured, in the system's order; what has none in a family is no failure."""
    resolve_to(monkeypatch, ("127.0.0.1", 443), ("127.0.0.2", 443))
    visit = visit_to("https://somewhere/")
    measured = NAME.measure(visit)

    assert [str(one) for one in measured.dialled.addresses] == ["127.0.0.1:443", "127.0.0.2:443"]
    assert len(measured.dialled.lookups) == 3
    assert measured.dialled.of_ipv6.is_absent
    assert [row.outcome for row in visit.charts()[0].rows] == ["2 addresses"] * 3
    assert bad(judge(measured)) == []


def test_a_single_address_is_no_plural(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the rows of the page, which tell of each time that the name is asked for."""
    resolve_to(monkeypatch, ("127.0.0.1", 443))
    visit = visit_to("https://somewhere/")
    NAME.measure(visit)

    assert {row.outcome for row in visit.charts()[0].rows} == {"1 address"}


def test_a_name_that_nobody_knows_is_measured() -> None:
    """The resolver's no is a measured value."""
    (finding,) = judge(NAME.measure(visit_to("https://nowhere.invalid/")))

    assert finding.level is Level.FAIL
    assert "nowhere.invalid is not found (Name or service not known)" in finding.text


def test_a_resolver_that_never_answers_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is asked twice, each time for as long as a step may take."""
    over = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: over.wait(60) and [])
    try:
        measured = NAME.measure(visit_to("https://somewhere/", timeout=SHORT_TIMEOUT))
    finally:
        over.set()

    assert len(measured.dialled.lookups) == 2
    assert "no answer within 0.2 s" in next(judge(measured)).text


@pytest.mark.parametrize("error", [UnicodeError("label too long"), OSError("no descriptor is left")])
def test_what_is_no_name_or_cannot_be_asked_for_is_measured(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, error: Exception
) -> None:
    """A label has 63 letters at the most, and the resolver is a program like others."""

    def fail(*_: Any, **__: Any) -> None:
        raise error

    monkeypatch.setattr(socket, "getaddrinfo", fail)
    monkeypatch.setattr(name, "HOSTS_FILE", tmp_path / "missing")
    (finding,) = judge(NAME.measure(visit_to("https://somewhere/")))

    assert type(error).__name__ in finding.text


@pytest.mark.parametrize(
    ("proxy", "behind", "left"),
    [
        ("http://localhost:3128", None, "example.test"),
        ("socks5h://localhost:1080", None, "example.test"),
        ("socks5://localhost:1080", "example.test", None),
    ],
)
def test_through_a_proxy_its_name_counts(proxy: str, behind: str | None, left: str | None) -> None:
    """The proxy looks the server up, but for SOCKS where the URL says otherwise."""
    measured = NAME.measure(visit_to("https://example.test/", proxy=proxy))

    assert (measured.dialled.host, measured.dialled.whose) == ("localhost", "proxy")
    assert (measured.behind and measured.behind.host, measured.left_to_proxy) == (behind, left)
    assert bad(judge(measured)) == (["name.found"] if behind else [])
