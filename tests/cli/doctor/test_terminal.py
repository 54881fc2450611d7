"""What is written to a terminal: a real one, of several kinds and widths, in this process."""

import os
import re
import sys
import threading
from contextlib import contextmanager

import pytest

from resilient_transport.cli.doctor import doctor as subcommand
from resilient_transport.cli.doctor.finding import fail, ok
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.main import main
from tests.cli.doctor.sections import PAGE, section

pty = pytest.importorskip("pty", reason="pseudo-terminals are Unix's")

HINT = "openssl s_client -connect host.example:443 </dev/null | openssl x509 -noout -dates -subject -issuer"
SUBJECT = "CN=\x1b]0;gotcha\x07[blink]Zoë √"
SECTIONS = (
    section("name", ok("name.one", "the name has two addresses, one of each family", "2 in 3 ms")),
    section(
        "tls", fail("tls.expiry", f"the certificate of {SUBJECT} has expired", HINT, "3 days ago", Root.OTHER)
    ),
    section("control", needs=("tls",)),
)
#: What moves the cursor, colours, or sets a title.
ESCAPE = "\x1b"


@contextmanager
def terminal(width, encoding="utf-8"):
    """A terminal as a stream, and a function that returns all that was written to it."""
    ours, theirs = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    pieces = []

    def read():
        # Linux says by an error that nobody writes any more.
        try:
            while piece := os.read(ours, 65536):
                pieces.append(piece)
        except OSError:
            pass

    reader = threading.Thread(target=read)
    reader.start()
    stream = open(theirs, "w", encoding=encoding)  # noqa: SIM115 - `written` closes it first

    def written():
        stream.close()
        reader.join()
        return b"".join(pieces).decode(encoding).replace("\r\n", "\n")

    try:
        yield stream, written
    finally:
        stream.close()
        reader.join()
        os.close(ours)


@pytest.fixture
def shown(monkeypatch):
    """What `doctor` writes to a terminal of this width, encoding and environment."""

    def show(width=80, encoding="utf-8", has_rich=True, arguments=(), **environment):
        for name in ("NO_COLOR", "COLUMNS"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("TERM", "xterm-256color")
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        if not has_rich:
            monkeypatch.setitem(sys.modules, "rich", None)
        monkeypatch.setattr(subcommand, "SECTIONS", SECTIONS)
        with terminal(width, encoding) as (stream, written):
            with monkeypatch.context() as patch:
                patch.setattr(sys, "stdout", stream)
                assert main(["doctor", PAGE, *arguments]) == 1
            return written()

    return show


PLAIN_60 = f"""\
Examines {PAGE}
  looking at name, tls, control
  with at most 9 requests (GET and HEAD), or 200 if some are
    repeated, and 5 s for each step. Ctrl-C ends it, and
    shows what it has found.

Name
  √ name.one: the name has two addresses, one of each family
    [2 in 3 ms]

Tls
  × tls.expiry: the certificate of
    CN=\\x1b]0;gotcha\\x07[blink]Zoë √ has expired [3 days
    ago]
      {HINT}

- control: skipped (needs tls)

Verdict: The certificate of CN=\\x1b]0;gotcha\\x07[blink]Zoë √
  has expired (3 days ago).
To do first:
    {HINT}
The same request with curl:
    curl -v --http1.1 -o /dev/null --max-time 30 --noproxy '*' {PAGE}
"""


def without_the_time(text):
    """All but the last sentence, which says how long it took."""
    before, _, last = text.partition("Checks: 1 ok, 1 failed, 1 skipped; 0")
    assert last.count("\n") in (1, 2)
    return before


@pytest.mark.parametrize("how", [{"has_rich": False}, {"NO_COLOR": "1"}], ids=["without rich", "NO_COLOR"])
def test_a_plain_one(shown, how):
    """Without rich, and where nobody wants colours: no control sequence at all."""
    assert without_the_time(shown(60, **how)) == PLAIN_60


def test_a_dumb_one(shown):
    """ASCII, whatever its encoding says; no control sequence."""
    text = shown(60, TERM="dumb")

    assert text.isascii()
    assert ESCAPE not in text
    assert "\n  FAIL tls.expiry: the certificate of" in text
    assert "Zo\\xeb \\u221a" in text.replace("\n       ", " ")


def test_one_of_ascii(shown):
    """With colours; what it cannot show is escaped."""
    text = shown(80, "ascii")

    assert "FAIL" in text
    assert "Zo\\xeb \\u221a" in text


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_a_narrow_and_a_wide_one(shown, width):
    """No line is wider but what is copied, which is whole, on one line."""
    lines = without_the_time(shown(width, NO_COLOR="1")).splitlines()
    wide = [line.strip() for line in lines if len(line) > width]

    assert sum(line.strip() == HINT for line in lines) == 2
    assert [line for line in wide if line != HINT and not line.startswith("curl ")] == []


def test_columns_count_more_than_the_terminal(shown):
    """As the user has set them."""
    assert without_the_time(shown(200, NO_COLOR="1", COLUMNS="60")) == PLAIN_60


def settled(text):
    """What stands on the terminal in the end, without colours: a line that was drawn over is gone."""
    lines = []
    for line in text.split("\n"):
        drawn = re.split(r"\r|\x1b\[2K|\x1b\[1A", line)[-1]
        lines.append(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawn).rstrip())
    return lines


def test_one_in_colours(shown):
    """rich draws the same lines; colours say how bad it is; the cursor is back; markup of others is text."""
    text = shown(60)
    lines = settled(text)

    assert [line for line in PLAIN_60.splitlines() if line and line not in lines] == []
    assert "\x1b[1;31m  × \x1b[0m" in text
    assert "\x1b[32m  √ \x1b[0m" in text
    assert text.count("\x1b[?25l") == text.count("\x1b[?25h") > 0
    assert "\x1b]0;" not in text


def test_json_is_for_stdout_and_colours_for_stderr(shown, monkeypatch):
    """A terminal that gets JSON gets nothing else."""
    text = shown(40, arguments=["--json"])

    assert text.startswith('{\n  "schema": 1,\n')
    assert text.endswith("\n}\n")
    assert ESCAPE not in text


def test_a_pipe_gets_whole_lines(monkeypatch, capsys):
    """However narrow the terminal beside it is: one line for each check, so that they can be searched."""
    monkeypatch.setattr(subcommand, "SECTIONS", SECTIONS)
    monkeypatch.setenv("COLUMNS", "40")
    main(["doctor", PAGE])
    lines = capsys.readouterr().out.splitlines()

    assert "  √ name.one: the name has two addresses, one of each family [2 in 3 ms]" in lines
    assert "Verdict: The certificate of CN=\\x1b]0;gotcha\\x07[blink]Zoë √ has expired (3 days ago)." in lines
