"""`run --html` and `--har`: what is written when a program ends."""

import json
import re
import sys

import pytest

from resilient_transport.cli.command import UNUSABLE
from resilient_transport.cli.main import main
from resilient_transport.cli.run.launcher import word_for
from resilient_transport.cli.run.startup import resilient_transport_hook as hook
from tests.cli.twice import RUN, started

pytestmark = pytest.mark.slow

#: Makes a call that is refused, and ends with status 3.
CALLS = """
import requests, sys
try:
    requests.get("http://127.0.0.1:1/words?key=s3cret")
except requests.ConnectionError:
    sys.exit(3)
"""
#: What keeps that short.
ONCE = {"RESILIENT_TRANSPORT_RETRIES": "0"}
#: The same, where coverage sees nothing new.
UNMEASURED = {**ONCE, "COVERAGE_PROCESS_CONFIG": None}


def urls(path):
    """The URLs of a HAR."""
    log = json.loads(path.read_text(encoding="utf-8"))["log"]
    return [entry["request"]["url"] for entry in log["entries"]]


@pytest.mark.parametrize("options", [[], ["-E"]], ids=["exec", "same process"])
def test_files_are_written_at_exit(tmp_path, options):
    """Where the program was started, whichever directory it goes to; its exit status is its own."""
    files = ["--html", "a page.html", f"--har={tmp_path / 'calls.har'}"]
    code = "import os; os.chdir('/')" + CALLS
    end = started(*options, *RUN, *files, "-c", code, cwd=tmp_path, **ONCE)
    page = (tmp_path / "a page.html").read_text(encoding="utf-8")

    assert (end.status, end.out, end.err) == (3, "", "")
    assert "1 call: in 1 an attempt failed, and 1 of these ended so." in page
    assert "GET http://127.0.0.1:1/words" in page
    assert "s3cret" not in page
    assert set(urls(tmp_path / "calls.har")) == {"http://127.0.0.1:1/words"}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a page.html", "calls.har"]


def test_a_traceback_ends_a_program_as_well(tmp_path):
    """The page is there, and the traceback is the program's."""
    path = tmp_path / "page.html"
    end = started(*RUN, "--html", str(path), "-c", "import requests; 1 / 0", **UNMEASURED)

    assert (end.status, "ZeroDivisionError" in end.err) == (1, True)
    assert "0 calls." in path.read_text(encoding="utf-8")


def test_a_file_that_cannot_be_written_is_told(tmp_path):
    """In one line; the exit status stays what it was, and the other file is written."""
    wrong, right = tmp_path / "none" / "page.html", tmp_path / "calls.har"
    end = started(*RUN, "--html", str(wrong), "--har", str(right), "-c", CALLS, **ONCE)

    assert end.status == 3
    assert end.err == f"resilient_transport: {wrong} cannot be written: No such file or directory\n"
    assert right.exists()


def test_children_have_files_of_their_own(tmp_path):
    """With the number of the process."""
    child = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {CALLS!r}])\n"
    files = ["--children", "--html", str(tmp_path / "page.html")]
    end = started(*RUN, *files, "-c", child + CALLS, **UNMEASURED)
    names = sorted(path.name for path in tmp_path.iterdir())

    assert (end.status, end.err) == (3, "")
    assert len(names) == 2
    assert all(re.fullmatch(r"page\.\d+\.html", name) for name in names)
    assert all("1 call: in 1" in path.read_text(encoding="utf-8") for path in tmp_path.iterdir())


def test_a_fork_leaves_its_parents_file_alone(tmp_path):
    """It writes one of its own, with its number; one that has made no call writes none."""
    forks = "import os, requests, sys\nif not os.fork(): sys.exit()\nos.wait()\nif os.fork(): os.wait()\n"
    started(*RUN, "--har", str(tmp_path / "calls.har"), "-c", forks + CALLS, **ONCE)
    names = sorted(path.name for path in tmp_path.iterdir())

    assert len(names) == 2
    assert names[1] == "calls.har"
    assert re.fullmatch(r"calls\.\d+\.har", names[0])
    assert all(len(urls(path)) == 1 for path in tmp_path.iterdir())


@pytest.mark.parametrize("path", ["a b\n=.html", "\u00e9\udcff.html", "/"])
def test_any_path_fits_into_a_word(path, monkeypatch, tmp_path):
    """It comes out as it went in, but from the root."""
    monkeypatch.chdir(tmp_path)
    word = word_for("html", path)

    assert len(word.split()) == 1
    assert hook.path_in({"summary", word}, "html") == str(tmp_path / path)
    assert hook.path_in({"summary", word}, "har") is None


def test_what_is_named_anew_takes_the_place(monkeypatch):
    """A `run` in a program of `run --children` keeps what it does not say otherwise."""
    outer = hook.environment_with({"children", "summary", "html=01", "har=02", "pid=7"})
    monkeypatch.setattr(hook.os, "environ", outer)
    inner = hook.take_out(hook.environment_with({"html=03"}))

    assert {word for word in inner if not word.startswith("pid=")} == {
        "children",
        "summary",
        "html=03",
        "har=02",
    }


def test_the_hook_reads_words_of_another_python():
    """The word is hexadecimal: whichever Python reads it, and whatever its locale."""
    end = started(
        "-c",
        f"import sys; sys.path.insert(0, {hook.FOLDER!r}); import resilient_transport_hook as h; "
        "print(ascii(h.path_in({'html=2fc3a9'}, 'html')))",
        python=sys.executable,
    )

    assert end.out.strip() == ascii("/\u00e9")


@pytest.mark.skipif(sys.platform == "win32", reason="the working directory cannot be removed there")
def test_a_path_that_leads_nowhere_is_refused(tmp_path, monkeypatch, capsys):
    """Where there is no working directory any more: in a sentence, and the program does not run."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    status = main(["run", "--html", "page.html", "-c", "1 / 0"])

    assert status == UNUSABLE
    assert capsys.readouterr().err == "run: --html 'page.html' leads nowhere: No such file or directory\n"
