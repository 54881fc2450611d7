"""`doctor`: its arguments, exit statuses, consent, and where it writes what. Sections are made by hand."""

import io
import json
import sys
import warnings

import pytest
from urllib3.exceptions import InsecureRequestWarning

from resilient_transport.cli.doctor import doctor as subcommand
from resilient_transport.cli.doctor.finding import ok
from resilient_transport.cli.main import main
from tests.cli.doctor.sections import PAGE, Measured, refused, section, warned

WELL = section("tls")
WARNS = section("tls", warned())
FAILS = section("tls", refused("tls.one"))


@pytest.fixture
def doctor(monkeypatch, capsys):
    """Run `doctor` with these sections: its exit status, and what it wrote."""

    def run(*arguments, sections=(WELL,)):
        monkeypatch.setattr(subcommand, "SECTIONS", sections)
        try:
            status = main(["doctor", *arguments])
        except SystemExit as stopped:
            status = stopped.code
        return status, *capsys.readouterr()

    return run


@pytest.mark.parametrize(
    ("sections", "arguments", "status"),
    [
        ((WELL,), [], 0),
        ((WARNS,), [], 0),
        ((WARNS,), ["--fail-on", "failure"], 0),
        ((WARNS,), ["--fail-on", "warning"], 1),
        ((WELL,), ["--fail-on", "warning"], 0),
        ((FAILS,), [], 1),
        ((FAILS,), ["--json"], 1),
        ((FAILS,), ["--skip", "tls"], 0),
        ((FAILS, section("control")), ["--only", "control"], 0),
    ],
)
def test_the_exit_status(doctor, sections, arguments, status):
    """0 where nothing fails, 1 where something does; a warning counts where that is asked for."""
    assert doctor(PAGE, *arguments, sections=sections)[0] == status


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "name a page, such as https://host/path"),
        (["ftp://host.example/"], "the URL begins with https:// or http://"),
        (["https://"], "the URL cannot be used (InvalidURL)"),
        ([PAGE, "--key", "k.pem"], "--key belongs to a --cert"),
        ([PAGE, "--only", "tsl"], "there is no section or check 'tsl'; --list names them"),
        ([PAGE, "--skip", "tls.zero"], "there is no section or check 'tls.zero'"),
        ([PAGE, "--sizes", *[PAGE] * 7], "--sizes takes at most 6 pages"),
        ([PAGE, "--hold", "601"], "--hold takes at most 600 seconds"),
        ([PAGE, "--hold", "long"], "argument --hold: a number, not long"),
        ([PAGE, "--hold", "nan"], "argument --hold: more than 0 and at most 3600 seconds, not nan"),
        ([PAGE, "--timeout", "0"], "argument --timeout: more than 0 and at most 3600 seconds, not 0"),
        ([PAGE, "--burst", "17"], "argument --burst: 1 to 16, not 17"),
        ([PAGE, "--burst", "four"], "argument --burst: a number, not four"),
        ([PAGE, "--fail-on", "hint"], "argument --fail-on: invalid choice: 'hint'"),
        ([PAGE, "--session", "nowhere"], "--session names a module and a callable in it"),
        ([PAGE, "--session", "os:getcwd"], "--session os:getcwd gives a str, not a requests.Session"),
        ([PAGE, "--session", "no.such:thing"], "--session no.such:thing: ModuleNotFoundError"),
        (
            [PAGE, "--html", "/nowhere/page.html"],
            "--html '/nowhere/page.html' cannot be written: No such file",
        ),
        ([PAGE, "--har", "/"], "--har '/' cannot be written: it is a folder"),
        ([PAGE, "--har", "x", "--html", "x"], "--html and --har name the same file"),
    ],
)
def test_a_usage_error_names_the_argument(doctor, arguments, message):
    """Exit status 2; nothing is measured, nothing is written to stdout."""

    def measure(visit):
        raise AssertionError("it has begun")

    status, out, err = doctor(*arguments, "--json", sections=(section("tls", measure=measure),))

    assert (status, out) == (2, "")
    assert message in err
    assert "Traceback" not in err


def test_the_list_names_all(doctor):
    """Nothing is done."""
    status, out, err = doctor("--list", sections=(WARNS, section("control")))

    assert (status, err) == (0, "")
    assert out == (
        "tls: Tls\n"
        "  tls.two                         whether tls.two is well\n"
        "control: Control\n"
        "  control.one                     whether control.one is well\n"
    )


def test_it_says_what_it_will_do_before_it_does_it(doctor):
    """The page without its query, whose certificate, through which proxy, and how much at the most."""

    def measure(visit):
        print("measured", flush=True)

    url = "https://ada:hunter22@host.example/page?token=open-sesame"
    files = ("--cert", "c.pem", "--ca", "ca.pem", "--proxy", "http://ada:hunter22@proxy.example:3128")
    _, out, err = doctor(
        url, *files, sections=(section("tls", measure=measure), section("control", requests=300))
    )

    assert out.startswith(
        f"Examines {PAGE}\n"
        "  through the proxy http://proxy.example:3128\n"
        "  with the client certificate c.pem\n"
        "  trusting the authorities in ca.pem\n"
        "  looking at tls, control\n"
        "  with at most 200 requests (GET and HEAD), and 5 s for each step. "
        "Ctrl-C ends it, and shows what it has found.\n"
    )
    assert "hunter22" not in out + err
    assert "open-sesame" not in out + err
    assert err == "measured\n"


def test_json_has_stdout_for_itself(doctor):
    """All that people read goes to stderr, and what the program's factory prints."""

    def measure(visit):
        print("a word of the factory's")
        return Measured("tls")

    status, out, err = doctor(PAGE, "--json", sections=(section("tls", measure=measure),))

    assert status == 0
    assert json.loads(out)["sections"][0]["measured"] == {"name": "tls"}
    assert "a word of the factory's" in err
    assert "Verdict: Nothing is wrong in 1 check.\n" in err


def test_the_files_are_written(doctor, tmp_path):
    """With what was found."""
    html, har = tmp_path / "page.html", tmp_path / "calls.har"
    status, _, _ = doctor(PAGE, "--html", str(html), "--har", str(har), sections=(FAILS,))

    assert status == 1
    assert "nobody listens there" in html.read_text(encoding="utf-8")
    assert json.loads(har.read_text(encoding="utf-8"))["log"]["version"] == "1.2"


def test_a_file_that_cannot_be_written_any_more_is_told(doctor, tmp_path):
    """Then the exit status is not 0."""
    folder = tmp_path / "folder"
    folder.mkdir()
    status, _, err = doctor(
        PAGE, "--html", f"{folder}/page.html", sections=(section("tls", measure=lambda _: folder.rmdir()),)
    )

    assert status == 2
    assert f"doctor: --html '{folder}/page.html' cannot be written: No such file or directory\n" in err


def test_warnings_of_others_are_not_shown(doctor):
    """A page that nobody verifies is told of by a check."""

    def measure(visit):
        with warnings.catch_warnings(record=True) as told:
            warnings.warn("a page is not verified", InsecureRequestWarning, stacklevel=1)
        assert told == []

    assert doctor(PAGE, sections=(section("tls", measure=measure),))[0] == 0


class Place(io.StringIO):
    """A stream that is a terminal or is not; `closed` ones say so by an error."""

    def __init__(self, is_terminal, text=""):
        super().__init__(text)
        self._is_terminal = is_terminal

    def isatty(self):
        return self._is_terminal


BURST = section(
    "burst",
    ok("burst.one", "all went well"),
    idle_because=lambda visit: None if visit.options.burst else "not asked for",
)


@pytest.mark.parametrize(
    ("arguments", "stdin", "is_stderr_terminal", "asked", "told"),
    [
        (["--burst"], Place(True, "y\n"), True, "make 4 calls at once? [y/N] ", "ok"),
        (["--burst", "2"], Place(True, "YES\n"), True, "make 2 calls at once? [y/N] ", "ok"),
        (["--burst"], Place(True, "\n"), True, "make 4 calls at once? [y/N] ", "skipped"),
        (["--burst"], Place(True, "no\n"), True, "make 4 calls at once? [y/N] ", "skipped"),
        (["--burst"], Place(True, ""), True, "make 4 calls at once? [y/N] ", "skipped"),
        (["--burst", "--yes"], Place(True), True, "", "ok"),
        (["--burst"], Place(False), True, "", "ok"),
        (["--burst"], Place(True), False, "", "ok"),
        (["--burst"], None, True, "", "ok"),
        (["--burst", "--skip", "burst"], Place(True), True, "", None),
        ([], Place(True), True, "", "skipped"),
        (["--burst", "--sizes", PAGE], Place(True, "y\n"), True, "and a few requests for one page? ", "ok"),
        (["--sizes", PAGE, PAGE], Place(True, "n\n"), True, "few requests for each of 2 pages? ", "skipped"),
    ],
)  # fmt: skip
def test_it_asks_only_before_a_load_and_at_a_terminal(
    doctor, monkeypatch, arguments, stdin, is_stderr_terminal, asked, told
):
    """Where nobody sits, the option is enough. It asks on stderr, whatever stdout is."""
    err = Place(is_stderr_terminal)
    monkeypatch.setattr(sys, "stderr", err)
    monkeypatch.setattr(sys, "stdin", stdin)
    status, out, _ = doctor(PAGE, *arguments, "--json", sections=(BURST, section("sizes")))
    (burst, *_) = json.loads(out)["sections"]

    assert status == 0
    assert [found["level"] for found in burst["findings"]] == ([told] if told else [])
    assert ("[y/N]" in err.getvalue()) == bool(asked)
    assert asked in err.getvalue()


def test_an_interrupt_at_the_question_ends_it(doctor, monkeypatch):
    """Nothing was done yet."""

    class Interrupted(Place):
        def readline(self):
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stderr", Place(True))
    monkeypatch.setattr(sys, "stdin", Interrupted(True))
    status, out, _ = doctor(PAGE, "--burst", sections=(BURST,))

    assert status == 130
    assert "Verdict" not in out


class Gone(io.StringIO):
    """A stream that nobody reads any more, or that has no room."""

    def __init__(self, error):
        super().__init__()
        self.error = error

    def write(self, text):
        raise self.error


@pytest.mark.parametrize(
    ("error", "status"),
    [(BrokenPipeError(32, "Broken pipe"), 0), (OSError(28, "No space left on device"), 2)],
)
@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_a_reader_who_leaves_ends_nothing(doctor, monkeypatch, tmp_path, arguments, error, status):
    """As `head` does: the files are still written. A full disk is told of."""
    monkeypatch.setattr(sys, "stdout", Gone(error))
    html = tmp_path / "page.html"
    ended, _, err = doctor(PAGE, "--html", str(html), *arguments)

    assert ended == status
    assert html.exists()
    assert ("No space left" in err) == (status == 2)
