"""The memory of addresses that have failed: an order, by name, for a while."""

import socket

import pytest

from resilient_transport.connection import failed_addresses
from resilient_transport.connection.failed_addresses import FailedAddresses

NAME = "several.test"


def found(*hosts):
    """Addresses as `socket.getaddrinfo` gives them."""
    return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, 443)) for host in hosts]


@pytest.mark.parametrize(
    ("failed", "order"),
    [
        ("", "abc"),
        ("a", "bca"),
        ("b", "acb"),
        ("ab", "cab"),
        ("ba", "cba"),
        ("aba", "cba"),
        ("abc", "abc"),
        ("cba", "abc"),
        ("x", "abc"),
    ],
)
def test_the_order(failed, order):
    """Those that have not failed keep their order; the others follow, the latest last, unless all have."""
    addresses = FailedAddresses()
    for host in failed:
        addresses.add(NAME, (host, 443))

    assert [one[4][0] for one in addresses.in_order(NAME, found(*"abc"))] == list(order)


def test_few_are_remembered():
    """However many addresses a name has had."""
    addresses = FailedAddresses()
    for number in range(1000):
        addresses.add(NAME, (f"10.0.0.{number}", 443))

    assert len(addresses.of(NAME)) == failed_addresses.MOST
    addresses.clear()
    assert not addresses.of(NAME)


def test_all_that_have_failed_are_equals():
    """Once each of a name's addresses has failed, nothing is held against any of them."""
    addresses = FailedAddresses()
    for host in "cabx":
        addresses.add(NAME, (host, 443))

    assert list(addresses.in_order(NAME, found(*"abc"))) == found(*"abc")
    assert list(addresses.in_order(NAME, found(*"cab"))) == found(*"cab")
    assert len(addresses.of(NAME)) == 1


def test_one_that_has_worked_is_forgiven():
    """The others stay where they are."""
    addresses = FailedAddresses()
    for host in "ab":
        addresses.add(NAME, (host, 443))
    addresses.forgive(NAME, [("a", 443)])

    assert [one[4][0] for one in addresses.in_order(NAME, found(*"bac"))] == list("acb")


def test_a_failure_is_forgotten(monkeypatch):
    """After half a minute; the control: a moment sooner it counts."""
    now = [100.0]
    monkeypatch.setattr(failed_addresses, "monotonic", lambda: now[0])
    addresses = FailedAddresses()
    addresses.add(NAME, ("a", 443))
    now[0] = 129.9
    assert list(addresses.in_order(NAME, found(*"ab"))) == found(*"ba")
    assert ("a", 443) in addresses.of(NAME)

    now[0] = 130.0
    assert not addresses.of(NAME)
    assert ("a", 443) not in addresses.of(NAME)
    assert list(addresses.in_order(NAME, found(*"ab"))) == found(*"ab")


def test_what_fails_again_is_remembered_for_longer(monkeypatch):
    """Twice as long each time, up to ten minutes; failures that come at once count as one."""
    now = [1000.0]
    monkeypatch.setattr(failed_addresses, "monotonic", lambda: now[0])
    addresses = FailedAddresses()
    counted_for = []
    for _ in range(7):
        for _ in range(4):
            addresses.add(NAME, ("a", 443))
        began = now[0]
        while addresses.of(NAME):
            now[0] += 1.0
        counted_for.append(now[0] - began)

    assert counted_for == [30.0, 60.0, 120.0, 240.0, 480.0, 600.0, 600.0]


def test_what_was_well_for_long_begins_anew(monkeypatch):
    """One that fails an hour later is as good as one that has never failed."""
    now = [1000.0]
    monkeypatch.setattr(failed_addresses, "monotonic", lambda: now[0])
    addresses = FailedAddresses()
    addresses.add(NAME, ("a", 443))
    now[0] += 3600.0
    addresses.add(NAME, ("a", 443))
    now[0] += failed_addresses.FIRST

    assert addresses.of(NAME) == []


def test_names_do_not_share_it():
    """The same address under another name has not failed; the case of a name makes no difference."""
    addresses = FailedAddresses()
    addresses.add(NAME.upper(), ("a", 443))

    assert addresses.of("other.test") == []
    assert addresses.of(NAME) == [("a", 443)]
