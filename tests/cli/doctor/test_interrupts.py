"""Ctrl-C and SIGTERM: a real process, struck where it says it is. Nothing is timed."""

import json
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest

from resilient_transport.cli.doctor.examination import INTERRUPTED
from resilient_transport.cli.doctor.interrupts import Interrupts
from resilient_transport.settings.environment import clean_environment
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.cli.doctor.sections import PAGE
from tests.programs import ROOT
from tests.timeouts import HANG_TIMEOUT, LONG_TIMEOUT

MODULE = "tests.cli.doctor.interruptible"


@contextmanager
def started(*arguments):
    """A process that runs this, with its output to be read."""
    process = subprocess.Popen(
        [sys.executable, "-m", *arguments], cwd=ROOT, env=clean_environment(), text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        try:
            yield process
        finally:
            process.kill()


def reach(process, place):
    """Read its stderr until it says where it is, and return that."""
    lines = []
    for line in process.stderr:
        lines.append(line)
        if line == f"at {place}\n":
            return lines
    raise AssertionError("".join(lines))


def struck(place, *arguments, by=(signal.SIGINT,)):
    """Its exit status, stdout and stderr, once it was struck at that place."""
    with started(MODULE, place, PAGE, *arguments) as process:
        said = reach(process, "section" if place == "conclusion" else place)
        for number, each in enumerate(by):
            if number:
                said += reach(process, "conclusion")
            process.send_signal(each)
        out, err = process.communicate(timeout=HANG_TIMEOUT)
        return process.returncode, out, "".join(said) + err


@pytest.mark.slow
@pytest.mark.parametrize(("place", "by"), [("section", signal.SIGINT), ("pool", signal.SIGTERM)])
def test_it_ends_with_what_it_has(tmp_path, place, by):
    """Wherever it is, and whatever its threads wait for: findings, the verdict, the files; no traceback."""
    html = tmp_path / "page.html"
    status, out, err = struck(place, "--json", "--html", str(html), by=(by,))
    found = json.loads(out)
    levels = {one["check"]: one["level"] for each in found["sections"] for one in each["findings"]}

    assert status == 130
    assert found["interrupted"] is True
    assert levels == {"name.one": "ok", "tls.one": "skipped", "control.one": "skipped"}
    assert "Verdict: Interrupted; so far: nothing is wrong in 1 check.\n" in err
    assert "Not looked at: tls, control.\n" in err
    assert "Traceback" not in err
    assert "an exception" not in err
    assert "Interrupted; so far" in html.read_text(encoding="utf-8")


@pytest.mark.slow
def test_a_second_one_ends_it_at_once():
    """Although it was busy with its end."""
    status, out, err = struck("conclusion", by=(signal.SIGINT, signal.SIGINT))

    assert status == 130
    assert "Verdict" not in out
    assert "Traceback" not in err


@pytest.mark.slow
def test_calls_that_wait_for_a_server_hold_nothing_back(fault_server_factory):
    """In the midst of a handshake that would last for minutes."""
    script = Script((Rule(Fault(Moment.CLIENT_HELLO, How.STALL, seconds=60)),))
    server = fault_server_factory(script, client_auth="none")
    with started(
        "resilient_transport", "doctor", server.url, "--ca", server.authority.ca_file, "--timeout", "600",
        "--only", "control",
    ) as process:  # fmt: skip
        server.wait_for(lambda counts: counts.accepts > 0, LONG_TIMEOUT)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=HANG_TIMEOUT)

    assert process.returncode == 130
    assert "Verdict: Interrupted; so far: no check has run.\n" in out
    assert err == ""


def test_a_signal_is_news_and_nothing_else():
    """The handler raises nothing; who handled it before does so again."""
    before = signal.getsignal(signal.SIGINT)
    with Interrupts(lambda: None) as interrupts:
        signal.raise_signal(signal.SIGINT)
        told = interrupts.news.get(timeout=LONG_TIMEOUT)

    assert told is INTERRUPTED
    assert signal.getsignal(signal.SIGINT) is before


def test_what_is_ignored_stays_ignored():
    """As a shell starts a program in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Interrupts(lambda: None) as interrupts:
            signal.raise_signal(signal.SIGINT)

            assert interrupts.news.empty()
    finally:
        signal.signal(signal.SIGINT, before)


def test_another_thread_leaves_signals_alone():
    """Python lets only the main thread handle them."""
    seen = []

    def enter():
        with Interrupts(lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()

    assert seen == [signal.getsignal(signal.SIGINT)]
