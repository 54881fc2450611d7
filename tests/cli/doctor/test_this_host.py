"""The doctor's section on this host."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from resilient_transport.cli.doctor.finding import Finding, Level
from resilient_transport.cli.doctor.program_calls import OURS, STOCK, Call
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections import this_host
from resilient_transport.cli.doctor.sections.this_host import SIZES, THIS_HOST, Measured, judge
from resilient_transport.events.attempt import Attempts
from resilient_transport.retry.causes import Cause
from resilient_transport.testing import Fault, FaultServer, Moment, Rule, Script, authority
from tests.cli.doctor.visiting import bad, by_check, dead_port, visit_to
from tests.timeouts import LONG_TIMEOUT


def call(transport: str, error: str | None = None, body: int = 1000) -> tuple[Call, int]:
    """Return a call that should have brought a thousand bytes."""
    status = None if error else 200
    return Call(transport, status, error, Cause.RESET if error else None, Attempts([]), 0.01, body), 1000


MEASURED = Measured("", True, 4, (), (call(STOCK),) * 4, (call(OURS),) * 4)


def judged(**fields: Any) -> dict[str, Finding]:
    """Judge a machine that is fine, but for these fields; findings by the second half of their checks."""
    found = by_check(judge(replace(MEASURED, **fields)))
    return {check.partition(".")[2]: finding for check, finding in found.items()}


def measured(monkeypatch: pytest.MonkeyPatch, server: Callable[[], FaultServer] | None = None) -> Measured:
    """Measure this machine, with another server, for a page of a server that must not be asked."""
    if server is not None:
        monkeypatch.setattr(this_host, "_server", server)
    page = f"https://localhost:{dead_port()}/"
    # Pages of sizes are that server's, too.
    visit = visit_to(page, cert="/nonexistent", sizes=(f"{page}1", f"{page}2"), timeout=LONG_TIMEOUT)
    found = THIS_HOST.measure(visit)

    assert isinstance(found, Measured)
    assert (visit.budget.connections, visit.budget.requests) == (0, 0)
    return found


def test_values() -> None:
    """Each way is judged by itself; a short body is a fault, too."""
    assert bad(judged().values()) == []
    assert judged()["stock"].value == "4 of 4 came whole"
    assert judged(troubles=("handshake: X",))["by-hand"].root is Root.THIS_HOST
    assert judged(stock=(call(STOCK), call(STOCK, "OSError: X")))["stock"].value == "1 of 2 came whole"
    assert "status 200, 999 bytes" in judged(ours=(call(OURS, body=999),))["adapter"].text
    assert "without TLS" in judged(is_tls=False)["by-hand"].text
    assert judged(has_proxy=True)["proxy"].level is Level.OK
    assert judged(has_proxy=True, by_proxy="ProxyError")["proxy"].level is Level.WARN
    assert {one.level for one in judged(unavailable="no server").values()} == {Level.SKIPPED}


@pytest.mark.slow
def test_a_machine_that_is_fine(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page's server is not asked, and a proxy of the environment's that spares loopback is not either."""
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{dead_port()}")
    monkeypatch.setenv("NO_PROXY", "localhost")
    monkeypatch.setattr(this_host, "TRIALS", 1)
    found = measured(monkeypatch)

    assert bad(judge(found)) == []
    assert found.is_tls
    assert not found.has_proxy
    assert [found.by_hand, len(found.stock), len(found.ours)] == [len(SIZES)] * 3


def test_something_that_interferes_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Here it is the server itself, which cuts each body; and nobody can make certificates."""
    monkeypatch.setattr(this_host, "TRIALS", 1)
    monkeypatch.setattr(this_host, "SIZES", (1000,))
    script = Script((Rule(Fault(Moment.BODY, after_bytes=10), on_request=None),))
    found = measured(monkeypatch, lambda: FaultServer(script, tls=False))

    assert not found.is_tls
    assert [one.root for one in judge(found)] == [Root.THIS_HOST] * 2 + [None]


def test_a_proxy_that_stands_before_loopback_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """If it breaks calls to it. The compared calls do without it; without trustme, there is no TLS."""
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{dead_port()}")
    monkeypatch.setattr(this_host, "TRIALS", 1)
    monkeypatch.setattr(this_host, "SIZES", (1000,))

    def none() -> Any:
        raise ImportError("no trustme")

    monkeypatch.setattr(authority, "_import_trustme", none)
    monkeypatch.setattr(authority, "_shared", {})
    found = measured(monkeypatch)

    assert not found.is_tls
    assert bad(judge(found)) == ["this-host.proxy"]


def test_where_no_server_can_be_started_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that allows no other process is none that interferes."""

    def none() -> FaultServer:
        raise PermissionError("no")

    found = measured(monkeypatch, none)

    assert {one.text for one in judge(found)} == {"skipped (no server can be started here: PermissionError)"}
