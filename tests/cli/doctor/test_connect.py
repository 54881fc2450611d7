"""The doctor's section on the connect."""

import socket
from contextlib import ExitStack

import pytest

from resilient_transport.cli.doctor.addresses import Address
from resilient_transport.cli.doctor.finding import Finding, Level
from resilient_transport.cli.doctor.line import Line
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections import every_address as connect
from resilient_transport.cli.doctor.sections.every_address import CONNECT, Measured, Try, judge
from resilient_transport.cli.doctor.sections.name import NAME
from resilient_transport.retry.causes import Cause
from resilient_transport.waterfall.chart import Phase
from tests.cli.doctor.visiting import bad, by_check, dead_port, listening, resolve_to, visit_to
from tests.loopback import full_queue, has_ipv6
from tests.timeouts import SHORT_TIMEOUT

V4 = Address(socket.AF_INET, ("192.0.2.1", 443))
OTHER = Address(socket.AF_INET, ("192.0.2.2", 443))
V6 = Address(socket.AF_INET6, ("2001:db8::1", 443, 0, 0))
THERE = Try(V4, 0.01)


def judged(*tries: Try, whose: str = "server") -> dict[str, Finding]:
    """Judge what came of addresses."""
    return by_check(judge(Measured(tries, whose, "example.test", 443)))


def failed(address: Address, cause: Cause, seconds: float = 0.01) -> Try:
    """Return an address that does not answer."""
    return Try(address, seconds, cause, cause.name.lower())


def test_addresses_that_answer_are_ok() -> None:
    """The first in the system's order is named."""
    told = judged(THERE, Try(V6, 0.02))

    assert bad(told.values()) == []
    assert told["connect.addresses"].value == "192.0.2.1:443 10.0 ms, [2001:db8::1]:443 20.0 ms"
    assert told["connect.first"].text == "the system tries 192.0.2.1:443 first"


@pytest.mark.parametrize(
    ("causes", "whose", "root", "word"),
    [
        ((Cause.REFUSED, Cause.REFUSED), "server", Root.REFUSED, "refused"),
        ((Cause.TIMEOUT, Cause.TIMEOUT), "server", Root.UNREACHABLE, "silent"),
        ((Cause.REFUSED, Cause.TIMEOUT), "server", Root.UNREACHABLE, "silent"),
        ((Cause.UNREACHABLE, Cause.UNREACHABLE), "server", Root.UNREACHABLE, "unreachable"),
        ((Cause.LOCAL, Cause.LOCAL), "server", Root.THIS_HOST, "this machine does not permit"),
        ((Cause.REFUSED, Cause.REFUSED), "proxy", Root.PROXY_UNREACHABLE, "refused"),
        ((Cause.TIMEOUT, Cause.TIMEOUT), "proxy", Root.PROXY_UNREACHABLE, "silent"),
    ],
)
def test_where_no_address_answers_the_cause_is_named(
    causes: tuple[Cause, Cause], whose: str, root: Root, word: str
) -> None:
    """Nothing else can be tried then."""
    (found,) = judged(failed(V4, causes[0]), failed(OTHER, causes[1]), whose=whose).values()

    assert (found.level, found.root, found.blocks) == (Level.FAIL, root, True)
    assert word in found.text


def test_a_host_that_is_a_command_is_none_in_a_hint() -> None:
    """A hint is typed into a shell, and a host may come from anywhere."""
    (found,) = judge(Measured((failed(V4, Cause.REFUSED),), "server", "a;reboot", 443))

    assert found.hint.startswith("nc -vz 'a;reboot' 443")


def test_one_address_of_several_that_is_silent_is_warned_of() -> None:
    """The warning names it, and what it costs a client that tries one after the other."""
    found = judged(failed(V6, Cause.TIMEOUT, 5.0), THERE)["connect.addresses"]

    assert (found.level, found.root) == (Level.WARN, Root.SOME_ADDRESS)
    assert "1 of 2 addresses of example.test do not answer: [2001:db8::1]:443" in found.text
    assert "waits there for its whole connect time-out" in found.text
    assert found.hint == "export RESILIENT_TRANSPORT_DNS_ORDER=ipv4first"


def test_one_address_that_refuses_is_warned_of_and_costs_no_time() -> None:
    """If another of its family answers, no order of addresses helps: somebody has to mend it."""
    found = judged(failed(OTHER, Cause.REFUSED), THERE)["connect.addresses"]

    assert (found.level, found.root) == (Level.WARN, Root.SOME_ADDRESS)
    assert "time-out" not in found.text
    assert "repair 192.0.2.2" in found.hint


def test_a_machine_without_ipv6_hides_no_cause() -> None:
    """That an address of IPv6 cannot be tried here says nothing of the server."""
    no_ipv6 = failed(V6, Cause.LOCAL)

    assert judged(no_ipv6, failed(V4, Cause.REFUSED))["connect.addresses"].root is Root.REFUSED
    assert judged(no_ipv6, failed(V4, Cause.TIMEOUT))["connect.addresses"].root is Root.UNREACHABLE
    assert judged(no_ipv6)["connect.addresses"].root is Root.THIS_HOST


@pytest.mark.parametrize(
    "harmless",
    [
        failed(V6, Cause.UNREACHABLE),
        failed(V6, Cause.LOCAL),
        failed(Address(socket.AF_INET6, ("::1", 443, 0, 0)), Cause.REFUSED),
    ],
)
def test_what_costs_no_client_anything_is_no_warning(harmless: Try) -> None:
    """Many machines have no IPv6, and many servers of this machine listen at 127.0.0.1 only."""
    assert bad(judged(harmless, THERE).values()) == []


def test_a_connect_that_takes_a_second_is_warned_of() -> None:
    """So long it takes only if a packet is lost."""
    assert judged(Try(V4, 1.02))["connect.time"].level is Level.WARN
    assert judged(Try(V4, 0.3))["connect.time"].level is Level.OK


def test_each_address_is_tried_on_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """One answers, one refuses, one is silent: each is measured, at once, in the resolver's order."""
    with ExitStack() as stack:
        host, port = listening(stack)
        full = full_queue(socket.AF_INET, stack, SHORT_TIMEOUT, "127.0.0.2", port)
        resolve_to(monkeypatch, full.getsockname(), ("127.0.0.3", port), (host, port))
        visit = visit_to(f"http://somewhere:{port}/", timeout=SHORT_TIMEOUT)
        measured = CONNECT.measure(visit)

    assert [one.cause for one in measured.tries] == [Cause.TIMEOUT, Cause.REFUSED, None]
    assert [one.address.host for one in measured.tries] == ["127.0.0.2", "127.0.0.3", "127.0.0.1"]
    assert len(visit.charts()[0].rows) == 3
    assert visit.budget.connections == 3
    assert "127.0.0.2" in by_check(judge(measured))["connect.addresses"].text
    assert visit.line().address == (socket.AF_INET, ("127.0.0.1", port))


def test_calls_wait_less_where_one_address_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stock waits there each time. Where all answer, calls have the time that each step has."""
    with ExitStack() as stack:
        host, port = listening(stack)
        resolve_to(monkeypatch, (host, port))
        alone = visit_to(f"http://somewhere:{port}/", timeout=300)
        CONNECT.measure(alone)
        resolve_to(monkeypatch, ("127.0.0.3", port), (host, port))
        beside = visit_to(f"http://somewhere:{port}/", timeout=300)
        CONNECT.measure(beside)

    assert alone.connect_timeout == 300
    assert 1 <= beside.connect_timeout < 300


def test_a_black_hole_is_silent() -> None:
    """A port whose queue is full answers nobody."""
    with ExitStack() as stack:
        port = full_queue(socket.AF_INET, stack, SHORT_TIMEOUT).getsockname()[1]
        (found,) = judge(CONNECT.measure(visit_to(f"https://127.0.0.1:{port}/", timeout=SHORT_TIMEOUT)))

    assert found.root is Root.UNREACHABLE


def test_a_port_where_nobody_listens_refuses() -> None:
    """The control: a port where somebody listens gives no finding of that kind."""
    (found,) = judge(CONNECT.measure(visit_to(f"https://127.0.0.1:{dead_port()}/")))
    with ExitStack() as stack:
        told = list(judge(CONNECT.measure(visit_to(f"https://127.0.0.1:{listening(stack)[1]}/"))))

    assert found.root is Root.REFUSED
    assert "has refused the connection" in found.text
    assert bad(told) == []


def test_the_addresses_are_those_that_the_name_has(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the section on the name has found is not asked for again, and no more than eight are tried."""
    with ExitStack() as stack:
        _, port = listening(stack)
        resolve_to(monkeypatch, *[(f"127.0.0.{number}", port) for number in range(1, 12)])
        visit = visit_to(f"http://somewhere:{port}/")
        visit.measured["name"] = NAME.measure(visit)
        monkeypatch.setattr(connect, "look_up", None)
        measured = CONNECT.measure(visit)

    assert len(measured.tries) == 8
    assert by_check(judge(measured))["connect.first"].value == "3 more were not tried"


def test_an_address_of_ipv6_is_tried() -> None:
    """A literal with brackets is an address as any other."""
    if not has_ipv6():
        pytest.skip("this machine has no loopback of IPv6")
    with ExitStack() as stack:
        port = listening(stack, "127.0.0.1")[1]
        listener = stack.enter_context(socket.create_server(("::1", 0), family=socket.AF_INET6))
        there = CONNECT.measure(visit_to(f"https://[::1]:{listener.getsockname()[1]}/"))
        refused = CONNECT.measure(visit_to(f"https://[::1]:{port}/"))

    assert bad(judge(there)) == []
    assert next(judge(refused)).root is Root.REFUSED


def test_without_an_address_it_is_skipped() -> None:
    """Where `--only connect` leaves the name out, and there is none."""
    (found,) = judge(CONNECT.measure(visit_to("https://nowhere.invalid/")))

    assert found.level is Level.SKIPPED


def test_a_connection_that_is_reset_at_once_was_made(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody listens there: what resets it is told by who makes more of them. The control: a refusal."""
    errors = [ConnectionResetError(), ConnectionRefusedError()]

    def dial(line: Line) -> None:
        with line.step(Phase.DIAL):
            raise errors.pop(0)

    monkeypatch.setattr(Line, "dial", dial)
    made = [CONNECT.measure(visit_to("http://127.0.0.1:9/")).tries[0].cause for _ in range(2)]

    assert made == [None, Cause.REFUSED]
