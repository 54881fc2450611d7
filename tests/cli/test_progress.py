"""What is shown while the demo runs, and what a stream can show."""

import io
import os

import pytest

from resilient_transport.cli.demo.progress import shown
from resilient_transport.cli.terminal import Terminal, terminal_of


class Tty(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self):
        return True


def run(terminal):
    """What a stream gets while three starts are shown."""
    stream = io.StringIO()
    with shown("race", 3, stream, terminal) as tick:
        for _ in range(3):
            tick()
    return stream.getvalue()


def test_a_line_for_each_scenario():
    """Where no line can change, there is no control code, and nothing before the end."""
    said = run(Terminal())

    assert said.startswith("race: 3 starts, 0.")
    assert said.endswith(" s\n")
    assert said.count("\n") == 1
    assert said.isprintable() is False
    assert said[:-1].isprintable()


def test_a_line_that_changes():
    """It goes to the end, and leaves an empty line behind; a carriage return is its only code."""
    said = run(Terminal(moves=True, width=40)).split("\r")

    assert said[1:5] == [f"race: {number} of 3 starts" for number in range(4)]
    assert said[5:] == [" " * 39, ""]
    assert "".join(said).isprintable()


def test_a_line_that_changes_fits():
    """The last column stays free, since some terminals begin a new line there."""
    assert {len(text) for text in run(Terminal(moves=True, width=12)).split("\r")} == {0, 11}


def test_nothing_where_there_is_no_stream():
    """As when stderr is closed."""
    with shown("race", 1, None, Terminal()) as tick:
        tick()


@pytest.mark.parametrize(
    ("environment", "can"),
    [
        ({"TERM": "xterm"}, Terminal(80, bold=True, moves=True)),
        ({"TERM": "xterm", "COLUMNS": "40"}, Terminal(40, bold=True, moves=True)),
        ({"TERM": "xterm", "COLUMNS": "1"}, Terminal(20, bold=True, moves=True)),
        ({"TERM": "xterm", "COLUMNS": "wide"}, Terminal(80, bold=True, moves=True)),
        ({"TERM": "xterm", "NO_COLOR": "1"}, Terminal(80, bold=False, moves=True)),
        ({"TERM": "xterm", "NO_COLOR": ""}, Terminal(80, bold=True, moves=True)),
        ({"TERM": "dumb"}, Terminal(80, bold=False, moves=False)),
        ({}, Terminal(80, bold=False, moves=True)),
    ],
)
def test_what_a_terminal_can(environment, can):
    """TERM, NO_COLOR and COLUMNS are heard."""
    assert terminal_of(Tty(), environment) == can


@pytest.mark.parametrize("stream", [None, io.StringIO()], ids=["none", "file"])
def test_what_is_no_terminal_gets_plain_lines_of_80_columns(stream):
    """Whatever the environment says of the terminal."""
    assert terminal_of(stream, {"TERM": "xterm", "COLUMNS": "40"}) == Terminal(80)


def test_a_terminal_is_asked_how_wide_it_is():
    """Bold is wrapped around a text, or not."""
    terminal, pipe = os.openpty()
    os.close(terminal)
    with os.fdopen(pipe, "w") as stream:
        asked = terminal_of(stream, {"TERM": "xterm"})

    assert asked.width == 80
    assert Terminal(bold=True).emphasis("x") == "\x1b[1mx\x1b[0m"
    assert Terminal().emphasis("x") == "x"
