"""What is shown while the demo runs."""

import io
import sys

from resilient_transport.cli.demo.progress import has_rich, shown


class Terminal(io.StringIO):
    """A stream that says it is one."""

    def isatty(self):
        return True


def run(stream):
    """Show three starts."""
    with shown("a race", 3, stream) as tick:
        for _ in range(3):
            tick()
    return stream.getvalue()


def test_a_line_for_each_scenario():
    """Where there is no terminal, nothing moves."""
    assert run(io.StringIO()).startswith("a race: 3 starts, 0.")


def test_a_bar_on_a_terminal(monkeypatch):
    """With rich it moves to the end; without it, it is the line again."""
    monkeypatch.setenv("TERM", "xterm")
    bar = run(Terminal())
    monkeypatch.setitem(sys.modules, "rich", None)

    assert "100%" in bar
    assert not has_rich()
    assert run(Terminal()).startswith("a race: 3 starts, 0.")
