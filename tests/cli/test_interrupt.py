"""Ctrl-C ends the demo at once, with status 130, without a word, and with all its processes."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from resilient_transport.cli import interrupt
from resilient_transport.settings.environment import clean_environment
from tests.programs import ROOT
from tests.timeouts import LONG_TIMEOUT

PROGRAM = str(Path(__file__).with_name("interrupted.py"))

needs_groups = pytest.mark.skipif(not hasattr(os, "killpg"), reason="there are no process groups")


def interrupted(point, folder):
    """Interrupt the demo at a point. It returns when no process has stderr any more: when all have ended."""
    environment = {**clean_environment(), "TMPDIR": str(folder)}
    environment.pop("COVERAGE_PROCESS_CONFIG", None)
    return subprocess.run(
        [sys.executable, PROGRAM, point, "--rounds", "1", "--scenario", "race"],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        # As a shell does it: the program is a process group.
        start_new_session=True,
        timeout=10 * LONG_TIMEOUT,
        check=False,
    )


@needs_groups
@pytest.mark.slow
@pytest.mark.parametrize(
    "point",
    [
        "import resilient_transport.cli.main",
        "import requests",
        # A server is being started, and a process; that has an order; a thread plays; all ends; it prints.
        "call testing/server.py _material",
        "return cli/demo/nursery.py _new",
        "return cli/demo/nursery.py _hand_over",
        "return cli/demo/lane.py play",
        "call cli/demo/nursery.py close",
        "return cli/demo/table.py report",
    ],
)
def test_ctrl_c_is_quiet(point, tmp_path):
    """The status that shells expect, no traceback of any process, no file and no process left."""
    done = interrupted(point, tmp_path)

    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


@needs_groups
def test_python_itself_is_not_quiet(tmp_path):
    """The control: without our handler the same interrupt is told at length."""
    done = interrupted("-import requests", tmp_path)

    assert done.returncode != 130
    assert "Traceback" in done.stderr


@pytest.fixture
def ended(monkeypatch):
    """Put the process's end and its handlers in a list each."""
    statuses, handlers = [], {}
    monkeypatch.setattr(os, "_exit", statuses.append)
    monkeypatch.setattr(signal, "signal", handlers.__setitem__)
    return statuses, handlers


@pytest.mark.parametrize(("number", "status"), [(2, 130), (15, 143), (1, 129)])
def test_what_ends_it_is_the_status(number, status, ended):
    """Duties are done, the newest first, whatever they raise; from then on signals are passed over."""
    statuses, handlers = ended
    done = []
    with (
        interrupt.on_interrupt(lambda: done.append("old")),
        interrupt.on_interrupt(lambda: 1 / 0),
        interrupt.on_interrupt(lambda: done.append("new")),
    ):
        interrupt._end(number, None)
    interrupt._end(number, None)

    assert statuses == [status] * 2
    assert set(handlers.values()) == {signal.SIG_IGN}
    assert done == ["new", "old"]


def test_what_is_ignored_stays_so(ended, monkeypatch):
    """As under nohup, or in the background of a script."""
    _, handlers = ended
    ignored = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}
    monkeypatch.setattr(signal, "getsignal", lambda number: ignored.get(number, signal.SIG_IGN))
    interrupt.end_quietly()

    assert handlers == dict.fromkeys(ignored, interrupt._end)
