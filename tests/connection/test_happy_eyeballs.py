"""One of several addresses answers first: real sockets on loopback, some of which nobody answers."""

import errno
import socket
import time
from contextlib import ExitStack
from unittest import mock

import pytest

from resilient_transport.connection import happy_eyeballs
from resilient_transport.connection.happy_eyeballs import DELAY, Race
from resilient_transport.connection.resolver import interleaved
from resilient_transport.retry.deadline import Deadline
from tests.loopback import full_queue, has_ipv6
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

WELL, BLACK_HOLE, REFUSES = "127.0.0.1", "127.0.0.2", "127.0.0.3"


@pytest.fixture
def port():
    """A port at which one address listens, another has no room, and a third refuses."""
    with ExitStack() as stack:
        well = stack.enter_context(socket.create_server((WELL, 0)))
        port = well.getsockname()[1]
        full_queue(socket.AF_INET, stack, SHORT_TIMEOUT, BLACK_HOLE, port)
        yield port


class Told:
    """Makes sockets, and keeps what a race says of addresses."""

    def __init__(self, timeout=LONG_TIMEOUT):
        self.timeout = timeout
        self.made, self.failed = [], []
        #: Why no socket can be made for an address, the first time.
        self.refused = {}

    def make(self, address):
        """A socket with this time-out."""
        if address[4][0] in self.refused:
            raise self.refused.pop(address[4][0])
        sock = socket.socket(*address[:3])
        sock.settimeout(self.timeout)
        self.made.append((address[4][0], sock))
        return sock

    def fail(self, address, error):
        """An address has failed."""
        self.failed.append((address[0], type(error)))

    def asked(self):
        """The addresses in the order of their connects."""
        return [host for host, _ in self.made]

    def are_closed(self):
        """Whether all sockets are."""
        return all(sock.fileno() == -1 for _, sock in self.made)


def addresses(port, *hosts):
    """What a resolver finds."""
    return [one for host in hosts for one in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)]


def run(told, found, deadline=None, begun=None):
    """Run a race to its end."""
    race = Race(told.make, told.timeout, Deadline(deadline), told.fail)
    try:
        won = None if begun is None else race.finish(begun, begun_to(found))
        return race.run(found) if won is None else won
    finally:
        race.close()


def begun_to(found):
    """Where a connect that was begun goes to: to the first."""
    return found[0][4]


@pytest.mark.parametrize("timeout", [LONG_TIMEOUT, None])
@pytest.mark.parametrize("deadline", [LONG_TIMEOUT, None])
def test_a_black_hole_costs_a_quarter_of_a_second(port, timeout, deadline):
    """Then the next address is tried beside it, and taken; it has the time-out of any other."""
    told = Told(timeout)
    began = time.monotonic()
    with run(told, addresses(port, BLACK_HOLE, WELL), deadline) as sock:
        took = time.monotonic() - began
        peer, left = sock.getpeername(), sock.gettimeout()

    assert peer == (WELL, port)
    assert (left is None) == (timeout is None and deadline is None)
    assert DELAY <= took < LONG_TIMEOUT / 2
    assert told.failed == [(BLACK_HOLE, TimeoutError)]
    assert told.are_closed()


def test_without_the_next_address_it_costs_the_time_out(port):
    """The control: where there is no other, a black hole is waited for, and ends in the same error."""
    told = Told(timeout=3 * DELAY)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        run(told, addresses(port, BLACK_HOLE))

    assert time.monotonic() - began >= 3 * DELAY
    assert told.are_closed()


def test_an_address_that_answers_meets_no_other(port):
    """The second one is not tried, and nothing is polled."""
    told = Told()
    with run(told, addresses(port, WELL, BLACK_HOLE)) as sock:
        assert sock.getpeername() == (WELL, port)

    assert told.asked() == [WELL]
    assert told.failed == []


@pytest.mark.parametrize("hosts", [(REFUSES, WELL), (BLACK_HOLE, REFUSES, WELL), (REFUSES, REFUSES, WELL)])
def test_after_a_failure_the_next_begins_at_once(port, hosts, monkeypatch):
    """The delay, a long one here, passes once for each address that is silent, and for no other."""
    monkeypatch.setattr(happy_eyeballs, "DELAY", 1.0)
    told = Told()
    began = time.monotonic()
    with run(told, addresses(port, *hosts)) as sock:
        took = time.monotonic() - began
        assert sock.getpeername() == (WELL, port)

    assert took < 1.0 + hosts.count(BLACK_HOLE)
    assert told.asked() == list(hosts)
    assert (REFUSES, ConnectionRefusedError) in told.failed


def test_two_black_holes_cost_two_delays(port):
    """A third address is tried after half a second."""
    with ExitStack() as stack:
        full_queue(socket.AF_INET, stack, SHORT_TIMEOUT, "127.0.0.4", port)
        told = Told()
        began = time.monotonic()
        with run(told, addresses(port, BLACK_HOLE, "127.0.0.4", WELL)):
            took = time.monotonic() - began

    assert 2 * DELAY <= took < LONG_TIMEOUT / 2
    assert [host for host, _ in told.failed] == [BLACK_HOLE, "127.0.0.4"]


def test_when_all_fail_the_error_of_the_last_address_is_told(port):
    """As urllib3 tells it, whichever failed last, and every socket is closed."""
    told = Told(timeout=SHORT_TIMEOUT)
    with pytest.raises(ConnectionRefusedError):
        run(told, addresses(port, BLACK_HOLE, REFUSES))
    with pytest.raises(TimeoutError):
        run(told, addresses(port, REFUSES, BLACK_HOLE))
    with pytest.raises(OSError, match="empty list"):
        run(told, [])

    assert told.are_closed()


def test_a_silent_one_is_waited_for_while_others_fail(port):
    """Its own time-out holds, from when it was begun."""
    told = Told(timeout=2 * DELAY)
    with pytest.raises(ConnectionRefusedError):
        run(told, addresses(port, BLACK_HOLE, REFUSES))

    assert told.failed == [(REFUSES, ConnectionRefusedError), (BLACK_HOLE, TimeoutError)]


@pytest.mark.parametrize("deadline", [SHORT_TIMEOUT, 2 * DELAY])
def test_the_deadline_ends_it(port, deadline):
    """All that are silent then count as failed."""
    told = Told()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        run(told, addresses(port, BLACK_HOLE, BLACK_HOLE), deadline)

    assert time.monotonic() - began >= deadline
    assert {host for host, _ in told.failed} == {BLACK_HOLE}
    assert told.are_closed()


def test_a_socket_that_cannot_be_made_is_passed_over(port):
    """A family that this machine has not, for example."""
    told = Told()
    odd = (12345, socket.SOCK_STREAM, 6, "", ("odd", port))
    with run(told, [odd, *addresses(port, WELL)]) as sock:
        assert sock.getpeername() == (WELL, port)

    assert told.failed == []


@pytest.mark.parametrize("number", [errno.EADDRINUSE, errno.EMFILE])
def test_one_whose_socket_must_wait_is_tried_later(port, number):
    """A fixed source port is in use, or no descriptor is left, until a silent one is given up."""
    told = Told(timeout=2 * DELAY)
    told.refused[WELL] = OSError(number, "not now")
    with run(told, addresses(port, BLACK_HOLE, WELL)) as sock:
        assert sock.getpeername() == (WELL, port)

    assert told.failed == [(BLACK_HOLE, TimeoutError)]


def test_one_whose_socket_can_never_be_made_holds_nobody_up(port, monkeypatch):
    """An IPv4 source for an IPv6 address: the next one is tried at once. Nothing is held against it."""
    monkeypatch.setattr(happy_eyeballs, "DELAY", 1.0)
    told = Told()
    told.refused[REFUSES] = socket.gaierror(socket.EAI_ADDRFAMILY, "no such family")
    began = time.monotonic()
    with run(told, addresses(port, BLACK_HOLE, REFUSES, WELL)):
        took = time.monotonic() - began

    assert took < 2.0
    assert told.failed == [(BLACK_HOLE, TimeoutError)]


class Guarded(socket.socket):
    """Refuses an address, as an audit hook does."""

    __module__ = "socket"

    def connect_ex(self, address):
        """Connect, or raise."""
        if address[0] == REFUSES:
            raise PermissionError("not there")
        return super().connect_ex(address)


def test_a_connect_that_raises_ends_nothing(port, monkeypatch):
    """The address after it is tried."""
    monkeypatch.setattr(socket, "socket", Guarded)
    told = Told()
    with run(told, addresses(port, BLACK_HOLE, REFUSES, WELL)) as sock:
        assert sock.getpeername() == (WELL, port)

    assert (REFUSES, PermissionError) in told.failed


def test_a_time_out_that_comes_at_once_is_one(port, monkeypatch):
    """A test's double raises it for each address, and no address is reached past it."""
    monkeypatch.setattr(socket.socket, "connect", mock.Mock(side_effect=TimeoutError("timed out")))
    told = Told()
    with pytest.raises(TimeoutError):
        run(told, addresses(port, BLACK_HOLE, WELL))

    assert [host for host, _ in told.failed] == [BLACK_HOLE, WELL]
    assert told.are_closed()


def test_a_socket_that_has_never_begun_does_not_win(port, monkeypatch):
    """A poll says that it is ready, and it has no error."""
    monkeypatch.setattr(socket.socket, "connect_ex", lambda *_: errno.EINPROGRESS)
    told = Told()
    with pytest.raises(TimeoutError):
        run(told, addresses(port, BLACK_HOLE, WELL), deadline=3 * DELAY)

    assert (WELL, TimeoutError) in told.failed
    assert told.are_closed()


def test_an_interrupt_leaves_no_socket(port, monkeypatch):
    """Wherever it comes."""
    told = Told()

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(Race, "_ready", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(told, addresses(port, BLACK_HOLE, WELL))

    assert told.are_closed()


@pytest.mark.parametrize("selector", ["PollSelector", "SelectSelector"])
def test_either_way_to_wait_will_do(port, monkeypatch, selector):
    """Libraries with green threads leave only one of them."""
    if selector == "SelectSelector":
        monkeypatch.delattr(happy_eyeballs.selectors, "PollSelector")
    with run(Told(), addresses(port, BLACK_HOLE, WELL)) as sock:
        assert sock.getpeername() == (WELL, port)


class Negotiating(socket.socket):
    """As PySocks puts one in the place of `socket.socket`: its `connect` does more, and takes longer."""

    negotiated = False

    def connect(self, address):
        """Connect, and negotiate if there is time for that."""
        super().connect(address)
        if self.gettimeout() < 2 * DELAY:
            # The proxy says nothing meanwhile.
            self.recv(1)
        self.negotiated = True


@pytest.mark.parametrize("is_plain", [False, True])
def test_what_stands_in_for_a_socket_is_not_cut_short(port, monkeypatch, is_plain):
    """It has all of its time, as with urllib3; the control, taken for a plain one, is used half connected."""
    monkeypatch.setattr(socket, "socket", Negotiating)
    if is_plain:
        monkeypatch.setattr(happy_eyeballs, "only_connects", lambda kind: True)
    told = Told()
    with run(told, addresses(port, REFUSES, WELL, BLACK_HOLE)) as sock:
        assert sock.getpeername() == (WELL, port)

    assert sock.negotiated is not is_plain


@pytest.mark.skipif(not has_ipv6(), reason="no IPv6")
def test_the_other_family_answers(port):
    """The same where the black hole is of the family that comes first."""
    with ExitStack() as stack:
        listener = full_queue(socket.AF_INET6, stack, SHORT_TIMEOUT, "::1", port)
        told = Told()
        with run(told, addresses(listener.getsockname()[1], "::1", WELL)) as sock:
            assert sock.getpeername() == (WELL, port)

    assert told.failed == [("::1", TimeoutError)]


def begun(host, port):
    """A connect that was begun ahead."""
    sock = socket.socket()
    sock.setblocking(False)
    sock.connect_ex((host, port))
    return sock


def test_a_connect_that_was_begun_is_taken(port):
    """No address is asked besides."""
    told = Told()
    with run(told, addresses(port, WELL, BLACK_HOLE), begun=begun(WELL, port)) as sock:
        assert sock.getpeername() == (WELL, port)
        assert sock.gettimeout() == LONG_TIMEOUT

    assert told.asked() == []


def test_one_that_was_begun_into_a_black_hole_is_not_waited_for(port):
    """The others are tried beside it, and its own address is not tried twice."""
    told, sock = Told(), begun(BLACK_HOLE, port)
    with run(told, addresses(port, BLACK_HOLE, WELL), begun=sock) as won:
        assert won.getpeername() == (WELL, port)

    assert told.asked() == [WELL]
    assert told.failed == [(BLACK_HOLE, TimeoutError)]
    assert sock.fileno() == -1


FOUR, SIX = socket.AF_INET, socket.AF_INET6


@pytest.mark.parametrize(
    ("families", "first", "order"),
    [
        ("666444", None, [0, 3, 1, 4, 2, 5]),
        ("666444", FOUR, [3, 0, 4, 1, 5, 2]),
        ("4446", SIX, [3, 0, 1, 2]),
        ("4446", None, [0, 3, 1, 2]),
        ("444", SIX, [0, 1, 2]),
        ("", FOUR, []),
        ("4" * 64 + "6", SIX, [64, *range(64)]),
    ],
)
def test_families_take_turns(families, first, order):
    """RFC 8305 section 4: one black-holed family delays by one address, however many it has."""
    found = [
        (SIX if family == "6" else FOUR, socket.SOCK_STREAM, 6, "", (number, 443))
        for number, family in enumerate(families)
    ]

    assert [one[4][0] for one in interleaved(found, first)] == order


def test_an_address_that_is_named_twice_is_tried_once():
    """As a hosts file may do."""
    found = addresses(443, BLACK_HOLE, BLACK_HOLE, WELL, BLACK_HOLE)

    assert [one[4][0] for one in interleaved(found, None)] == [BLACK_HOLE, WELL]
