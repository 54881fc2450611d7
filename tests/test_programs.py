"""A program in a fork ends as one in a process of its own."""

import signal

import pytest

from tests.programs import run_python


@pytest.mark.parametrize(
    ("text", "status", "out", "err"),
    [
        ("import sys; print(sys.argv[1:], __name__)", 0, "['a', ''] __main__\n", ""),
        ("import os; print(os.environ['MARK'], len(os.environ) > 1)", 0, "set True\n", ""),
        ("import sys; print(sys.stdin.read() == ''); sys.exit('end')", 1, "True\n", "end\n"),
        ("import atexit; atexit.register(print, 'bye'); raise SystemExit(3)", 3, "bye\n", ""),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM, "", ""),
        ("1 / 0", 1, "", "ZeroDivisionError: division by zero\n"),
        ("import os; open('/dev/stderr', 'w').write('x'); os.write(2, b'y')", 0, "", "xy"),
        ("import requests, sys; print('resilient_transport' in sys.modules)", 0, "False\n", ""),
    ],
)
def test_a_fork_ends_as_a_process_of_its_own(text, status, out, err, forks):
    """Arguments, environment, output, exit status and signal; only the traceback begins elsewhere."""
    alone = run_python("-c", text, "a", "", check=False, measured=False, MARK="set")
    forked = forks.run(text, "a", "", MARK="set")

    assert (forked.returncode, forked.stdout) == (alone.returncode, alone.stdout) == (status, out)
    assert forked.stderr.splitlines()[-1:] == alone.stderr.splitlines()[-1:] == err.splitlines()


def test_what_a_fork_does_is_its_own(forks, our_forks):
    """The next one finds nothing of it, and each begins with what was imported for it."""
    forks.run("import json, os, resilient_transport; json.mark = os.environ['MARK'] = '1'")
    text = "import json, os, sys; print(hasattr(json, 'mark'), 'MARK' in os.environ, {!r} in sys.modules)"
    text = text.format("resilient_transport.adapter.adapter")

    assert forks.run(text).stdout.split() == ["False"] * 3
    assert our_forks.run(text).stdout.split() == ["False", "False", "True"]


def test_a_fork_has_the_environment_of_now(forks, monkeypatch):
    """And nothing of the one in which its parent was started."""
    monkeypatch.delenv("PATH")

    assert forks.run("import os; print('PATH' in os.environ)").stdout == "False\n"
