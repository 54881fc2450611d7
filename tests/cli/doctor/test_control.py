"""The control: whether it is the network or the client."""

import pytest

from resilient_transport.cli.doctor.finding import Level
from resilient_transport.cli.doctor.hints import MOUNT
from resilient_transport.cli.doctor.line import Trouble
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections.by_hand import CONTROL, ByHand, Measured, judge, measure
from resilient_transport.cli.doctor.sections.keep_alive import KEEP_ALIVE
from resilient_transport.cli.doctor.trouble import root_at
from resilient_transport.retry.causes import Cause
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from resilient_transport.waterfall.chart import Phase
from tests.cli.doctor.made_calls import lost, ours, whole
from tests.cli.doctor.visits import bad, found, visit_to
from tests.timeouts import SHORT_TIMEOUT

GOOD = ByHand(200, None)


def reset_at(phase, cause=Cause.RESET):
    """A request by hand that has failed."""
    return ByHand(None, Trouble(phase, cause, "ConnectionResetError: Connection reset by peer", 0.0))


def control_of(server, path="/words/30", **options):
    """What is measured, and what is found."""
    measured = measure(visit_to(server, path, **options))
    return measured, found(CONTROL, measured)


def test_a_healthy_server_gives_no_finding(server):
    """All three ways work, and nothing is warned of."""
    server.play(Script())

    measured, _ = control_of(server)

    assert bad(CONTROL, measured) == []
    assert measured.compare() == "Stock requests: 0 of 8 calls failed. This adapter: 0 of 8 calls failed."


@pytest.mark.parametrize(
    ("at", "how", "root"),
    [
        (Moment.HANDSHAKE, How.RST, Root.HANDSHAKE_RESET),
        (Moment.REQUEST, How.RST, Root.REQUEST_RESET),
        (Moment.HEAD, How.FIN, Root.REQUEST_RESET),
        (Moment.BODY, How.RST, Root.CUT_BODY),
        (Moment.BODY, How.CORRUPT, Root.DAMAGED),
    ],
)
def test_what_every_other_connection_meets_is_named(server, plain, at, how, root):
    """By hand the network shows its fault, with its step; whoever else fails is no cause of its own."""
    where = server if Fault(at, how).needs_tls else plain
    where.play(Script(tuple(Rule(Fault(at, how), first=1, skip=skip) for skip in (0, 2, 4))))

    _, findings = control_of(where)

    assert findings["control.by-hand"].root is root
    assert not findings["control.by-hand"].blocks
    assert findings["control.adapter"].level is Level.OK


@pytest.mark.slow
@pytest.mark.parametrize(
    ("at", "root"), [(Moment.CLIENT_HELLO, Root.HANDSHAKE_SILENT), (Moment.REQUEST, Root.SILENT)]
)
def test_a_silent_server_is_asked_only_a_few_times(server, at, root):
    """Two silences by hand, and one of each other way."""
    server.play(Script((Rule(Fault(at, How.STALL)),)))

    measured, findings = control_of(server, timeout=SHORT_TIMEOUT)

    assert [len(measured.by_hand), len(measured.stock), len(measured.ours)] == [2, 1, 1]
    assert findings["control.by-hand"].root is root
    assert findings["control.by-hand"].blocks


def test_a_cut_head_that_stock_takes_for_whole_is_told(plain):
    """The server ends in the middle of the head: stock gives status 200 and an empty body."""
    plain.play(Script((Rule(Fault(Moment.HEAD, How.FIN), probability=0.5),), seed=1))

    measured, findings = control_of(plain)

    assert all(call.error is None for call in measured.stock), "the control"
    assert findings["control.stock"].level is Level.FAIL
    assert "empty body" in findings["control.stock"].text


def test_a_status_that_is_repeated_is_asked_for_once_by_the_adapter(plain):
    """503 is told by all eight of stock; the adapter's repetitions of each would take seconds."""
    plain.play(Script())

    measured, findings = control_of(plain, "/status/503")

    assert [len(measured.stock), len(measured.ours)] == [8, 1]
    assert (findings["control.status"].level, findings["control.status"].root) == (Level.WARN, Root.STATUS)


def test_a_network_that_is_fine_is_said_to_be_fine():
    """By hand all works, and by stock so much fails that it cannot be chance."""
    findings = found(CONTROL, Measured((GOOD,) * 8, lost(6) + whole(2), ours(8)))

    assert findings["control.stock"].text.startswith("the network is fine, but stock requests fails")
    assert findings["control.stock"].hint == MOUNT
    assert findings["control.stock"].root is Root.REQUEST_RESET


@pytest.mark.parametrize("phase", [Phase.HANDSHAKE, Phase.FIRST_BYTE, Phase.BODY])
def test_one_failure_of_many_blames_nobody(phase):
    """One of eight may be chance: the network is not said to be fine, and the step names the root."""
    findings = found(CONTROL, Measured((GOOD,) * 8, lost(1, phase) + whole(7), ours(8)))

    assert "now and then" in findings["control.stock"].text
    assert findings["control.stock"].root is root_at(phase, Cause.RESET)


def test_one_reset_by_hand_is_the_networks():
    """Then stock's failure is no cause of its own."""
    by_hand = (reset_at(Phase.HANDSHAKE), *(GOOD,) * 7)

    findings = found(CONTROL, Measured(by_hand, lost(1) + whole(7), ours(8)))

    assert (findings["control.by-hand"].value, findings["control.by-hand"].blocks) == (
        "7 of 8 came whole",
        False,
    )
    assert findings["control.by-hand"].root is Root.HANDSHAKE_RESET
    assert findings["control.by-hand"].hint == MOUNT
    assert (findings["control.stock"].level, findings["control.stock"].root) == (Level.WARN, Root.OTHER)


@pytest.mark.parametrize(("failures", "of_adapter"), [(8, 0), (1, 1)])
def test_what_the_adapter_does_not_help_against_is_the_operators(failures, of_adapter):
    """Where nothing works by hand, or the adapter fails, too, to mount it is no advice."""
    by_hand = (*(reset_at(Phase.BODY),) * failures, *(GOOD,) * (8 - failures))

    findings = found(CONTROL, Measured(by_hand, lost(1) + whole(7), ours(8, failed=of_adapter)))

    assert findings["control.by-hand"].hint.startswith("ask the operator of the server")


def test_what_the_adapter_alone_fails_at_is_told():
    """The adapter is judged like stock."""
    findings = found(CONTROL, Measured((GOOD,) * 8, whole(8), ours(8, failed=8)))

    assert findings["control.adapter"].text.startswith("the network is fine, but this adapter fails")
    assert findings["control.adapter"].hint.startswith("--json")


def test_a_login_that_only_the_session_has_is_no_error():
    """By hand nobody shows a token: 401 counts only where the calls get it, too."""
    demanded = (ByHand(401, None),) * 8

    assert found(CONTROL, Measured(demanded, whole(8), ours(8)))["control.status"].level is Level.OK
    refused = found(CONTROL, Measured(demanded, whole(8, status=401), () or whole(8, status=401)))
    assert refused["control.status"].root is Root.STATUS
    assert "--session" in refused["control.status"].hint


@pytest.mark.parametrize(("status", "hint"), [(404, "path"), (429, "wait"), (500, "log"), (403, "--session")])
def test_each_status_has_a_hint(status, hint):
    """What to do depends on who has to act."""
    findings = found(
        CONTROL,
        Measured((ByHand(status, None),) * 8, whole(8, status=status), ours(1)[:0] + whole(1, status=status)),
    )

    assert hint in findings["control.status"].hint


def test_no_answer_at_all_has_no_status():
    """Nothing is said of statuses that nobody has seen."""
    assert (
        list(judge(Measured((reset_at(Phase.DIAL),), lost(1), ours(1, failed=1))))[-1].text
        == "no response came"
    )


@pytest.mark.parametrize(
    ("phase", "cause", "root"),
    [
        (Phase.NAME, Cause.NAME, Root.NAME),
        (Phase.DIAL, Cause.REFUSED, Root.REFUSED),
        (Phase.DIAL, Cause.TIMEOUT, Root.UNREACHABLE),
        (Phase.DIAL, Cause.RESET, Root.HANDSHAKE_RESET),
        (Phase.TUNNEL, Cause.DENIED, Root.PROXY_REFUSES),
        (Phase.TUNNEL, Cause.TIMEOUT, Root.PROXY_REFUSES),
        (Phase.HANDSHAKE, Cause.CERTIFICATE, Root.SERVER_CERTIFICATE_UNTRUSTED),
        (Phase.CONFIRM, Cause.CLIENT_CERTIFICATE, Root.CLIENT_CERTIFICATE_REFUSED),
        (Phase.FIRST_BYTE, Cause.UNPARSABLE, Root.GARBLED),
        (Phase.BODY, Cause.TIMEOUT, Root.SILENT),
    ],
)
def test_a_trouble_has_a_root(phase, cause, root):
    """Where the cause says enough it decides, elsewhere the step does."""
    assert root_at(phase, cause) is root


def test_a_server_that_was_silent_before_is_asked_once_in_each_way(plain):
    """The section before has shown it; more would only take time."""
    plain.play(Script((Rule(Fault(Moment.REQUEST, How.STALL)),)))
    visit = visit_to(plain, timeout=SHORT_TIMEOUT)
    visit.measured["keep-alive"] = KEEP_ALIVE.measure(visit)

    measured = measure(visit)

    assert [len(measured.by_hand), len(measured.stock), len(measured.ours)] == [1, 1, 1]
    assert found(CONTROL, measured)["control.by-hand"].root is Root.SILENT
