"""The server's side of the control channel, and how its process begins and ends."""

import io
import json
import os
import runpy
import signal
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from resilient_transport.testing import Script, ServerOptions
from resilient_transport.testing import engine as package
from resilient_transport.testing.engine import control, launch
from tests.programs import ROOT, run_python

OPENING = {"options": asdict(ServerOptions(tls=False)), "script": Script().to_plain(), "material": None}
LAUNCH = str(Path(package.__file__).with_name("launch.py"))


class Ended(BaseException):
    """Stands for the end of a process."""


@pytest.fixture
def process(monkeypatch):
    """Make this process look like the server's: a parent that asks nothing, an end that can be seen."""

    def end(status):
        raise Ended(status)

    handled = []
    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(signal, "signal", lambda *what: handled.append(what))
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    monkeypatch.setattr(sys, "path", list(sys.path))
    return handled


def serve(*questions):
    """Ask these; return the answers."""
    answers = io.StringIO()
    control.serve(io.StringIO("".join(json.dumps(each) + "\n" for each in questions)), answers)
    return [json.loads(line) for line in answers.getvalue().splitlines()]


def test_every_question_has_one_answer():
    """In order, one line each."""
    first, *others = serve(OPENING, {"do": "counts"}, {"do": "executions"}, {"do": "close_idle"})

    assert first["port"] > 0
    assert (others[0]["accepts"], others[1:]) == (0, [{"executions": []}, {"ended": 0}])


def test_nobody_asks():
    """Then nobody is served."""
    assert serve() == []


def test_a_bad_opening_is_answered_with_the_reason():
    """The parent raises it."""
    wrong = {**OPENING, "options": {**OPENING["options"], "host": "::2"}}

    assert serve(wrong) == [{"error": "ValueError: host must be one of 127.0.0.1, ::1, got '::2'"}]


def test_the_process_ends_when_its_parent_has_gone(process):
    """Its interrupt is ignored, and it ends without finalisation."""
    with pytest.raises(Ended):
        control.main()

    assert process == [(signal.SIGINT, signal.SIG_IGN)]


def test_a_parent_that_stopped_listening_is_no_error(process, monkeypatch):
    """The answer has nowhere to go."""

    class Closed(io.StringIO):
        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(OPENING) + "\n"))
    monkeypatch.setattr(sys, "stdout", Closed())

    with pytest.raises(Ended):
        control.main()


def test_the_launcher_finds_the_library(process, monkeypatch):
    """Last of all: what lies beside the library stands for nothing of the standard library's."""
    monkeypatch.setattr(sys, "path", ["first"])
    launch.find_library()

    assert sys.path == ["first", str(Path(package.__file__).parents[3])]


#: What a server's process has imported.
IMPORTED = """
import sys
sys.path.append({root!r})
import resilient_transport.testing.engine.control
print(sorted({{"requests", "urllib3", "resilient_transport.public_names"}} & set(sys.modules)))
{then}
print(sorted({{"requests", "urllib3", "resilient_transport.public_names"}} & set(sys.modules)))
"""


def test_a_server_imports_nothing_else_of_the_library():
    """It starts without requests; the control asks for a public name."""
    program = IMPORTED.format(root=str(ROOT), then="from resilient_transport import stats")
    said = run_python("-I", "-c", program).stdout.splitlines()

    assert said == ["[]", "['requests', 'resilient_transport.public_names', 'urllib3']"]


def test_the_launcher_starts_the_server(process):
    """As a script."""
    with pytest.raises(Ended):
        runpy.run_path(LAUNCH, run_name="__main__")
