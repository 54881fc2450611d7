"""What `run` puts into the environment, and what waits for the import of requests: values in, values out."""

import ast
import atexit
import importlib.util
import io
import os
import sys
from pathlib import Path

import pytest
import requests

from resilient_transport import ResilientAdapter, uninstall
from resilient_transport.cli.run import report
from resilient_transport.cli.run.startup import resilient_transport_hook as hook
from resilient_transport.cli.run.startup.resilient_transport_hook import (
    FOLDER,
    VARIABLE,
    Finder,
    environment_with,
    take_out,
    watch,
)
from resilient_transport.telemetry.stats import OriginStats, Stats
from tests.programs import ROOT


@pytest.mark.parametrize("before", [None, "", "/a", os.pathsep, f"{os.pathsep}/a", f"/a{os.pathsep}"])
@pytest.mark.parametrize("words", [set(), {"children", "summary"}])
def test_what_is_put_in_is_taken_out(before, words, monkeypatch):
    """PYTHONPATH is as it was, unset and empty told apart; and the words are those that were told."""
    monkeypatch.delenv("PYTHONPATH", raising=False)
    if before is not None:
        monkeypatch.setenv("PYTHONPATH", before)
    environment = environment_with(words)
    first = environment["PYTHONPATH"].split(os.pathsep)[0]
    told = take_out(environment)

    assert first == FOLDER
    assert told - {"empty"} == {*words, f"pid={os.getpid()}"}
    assert environment == dict(os.environ)
    assert (take_out(environment), environment) == (set(), dict(os.environ))


def test_what_a_program_has_added_meanwhile_stays(monkeypatch):
    """Only our folder goes, wherever it stands by then."""
    monkeypatch.setenv("PYTHONPATH", "/a")
    environment = environment_with({"children"})
    environment["PYTHONPATH"] = os.pathsep.join(["/mine", environment["PYTHONPATH"], "/last"])
    take_out(environment)

    assert environment["PYTHONPATH"] == os.pathsep.join(["/mine", "/a", "/last"])


def test_words_are_handed_down(monkeypatch):
    """Within a program that was started with --children."""
    for name, value in environment_with({"children", "summary"}).items():
        monkeypatch.setenv(name, value)
    inner = environment_with(set())

    assert inner["PYTHONPATH"].split(os.pathsep).count(FOLDER) == 1
    assert set(inner[VARIABLE].split()) >= {"children", "summary"}


@pytest.mark.parametrize(
    ("name", "oldest"), [("sitecustomize", (3, 4)), ("resilient_transport_hook", (3, 8))]
)
def test_what_runs_in_another_python_is_written_for_it(name, oldest):
    """The first file tells old ones from new ones, and so has to be readable for all of them."""
    text = Path(FOLDER, f"{name}.py").read_text()

    assert ast.parse(text, feature_version=oldest).body


def test_newer_syntax_would_be_seen():
    """The control: the second file, for a Python that reads the first one only."""
    with pytest.raises(SyntaxError):
        ast.parse(Path(hook.__file__).read_text(), feature_version=(3, 4))


@pytest.fixture
def finders(monkeypatch):
    """Return the finders of this process, which are as before when the test ends."""
    copied = list(sys.meta_path)
    monkeypatch.setattr(sys, "meta_path", copied)
    return copied


def first(finders, then, parent=None):
    """Return a finder that is asked before all others."""
    finders.insert(0, Finder(then, parent))
    return finders[0]


def test_the_finder_calls_when_requests_has_run(finders):
    """Once; the loader is the real one again then, and in its place meanwhile it answers as that does."""
    called = []
    finder = first(finders, lambda: called.append(1))
    spec = finder.find_spec("requests")
    asked = spec.loader.get_filename("requests"), spec.loader.is_package("requests"), list(called)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert asked == (requests.__file__, True, [])
    assert module.get.__module__ == "requests.api"
    assert type(module.__loader__) is type(module.__spec__.loader) is type(requests.__loader__)
    assert called == [1]
    assert finder.find_spec("requests") is None


def test_other_modules_are_none_of_its_business(finders):
    """It answers for nothing else."""
    assert first(finders, lambda: None).find_spec("json") is None


def test_only_those_behind_it_are_asked(finders):
    """One in front that hands on to those behind is not asked in turn, which would have no end."""
    asked = []

    class Front:
        def find_spec(self, *call):
            asked.append(call)
            return finder.find_spec(*call)

    finder = first(finders, lambda: None)
    finders.insert(0, Front())
    found = importlib.util.find_spec("requests.nothing"), Front().find_spec("requests", None, None)

    assert len(asked) == 2
    assert found[0] is None
    assert found[1].origin == requests.__file__


def test_a_finder_that_was_taken_out_finds_nothing(finders):
    """It does not know whom to ask, and what asks it may be one of them."""
    finder = first(finders, lambda: None)
    finders.remove(finder)

    assert finder.find_spec("requests") is None


def test_a_call_that_fails_is_made_again(finders):
    """The next import of requests tries once more, and the first error is told."""
    calls = []

    def fail():
        calls.append(1)
        raise RuntimeError("no")

    finder = first(finders, fail)
    for _ in range(2):
        spec = finder.find_spec("requests")
        with pytest.raises(RuntimeError, match="no"):
            spec.loader.exec_module(importlib.util.module_from_spec(spec))

    assert len(calls) == 2


@pytest.fixture
def at_exit(monkeypatch, finders):
    """Return a list of what was to be called at exit; end with stock requests."""
    registered = []
    monkeypatch.setattr(atexit, "register", lambda *call: registered.append(call))
    yield registered
    uninstall()


def test_what_watches_installs(at_exit, monkeypatch):
    """At once, where requests is imported already; what goes wrong is no ImportError."""
    watch({"summary", "pid=1"})
    adapter = requests.Session().get_adapter("https://x")
    ((at_the_end,),) = at_exit
    at_the_end()
    monkeypatch.setenv("RESILIENT_TRANSPORT_RETRIES", "many")

    assert isinstance(adapter, ResilientAdapter)
    with pytest.raises(RuntimeError, match="cannot install its adapter: RESILIENT_TRANSPORT_RETRIES='many'"):
        watch(set())


@pytest.mark.parametrize("is_main", [True, False], ids=["started by run", "another"])
def test_a_summary_is_printed_of_what_was_counted(is_main, monkeypatch, capfd):
    """The process that was started has no number, every other has."""
    pid, name = (os.getpid(), "") if is_main else (1, f"[{os.getpid()}]")
    monkeypatch.setattr(report, "stats", lambda: Stats({"https://a": OriginStats(calls=1)}))
    report.printer({f"pid={pid}"})()

    line = "https://a: 1 calls, 0 failed, 0 repeated, 0 saved"
    assert capfd.readouterr().err == f"resilient_transport{name}: {line}\n"


@pytest.mark.parametrize("left", [{"theirs.Adapter": 1}, {}])
def test_without_a_descriptor_a_summary_is_written_to_the_stream(left, monkeypatch):
    """A program may have put another stream in the place of one that is closed, or none."""
    stream = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", None)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(report, "stats", lambda: Stats({}, left))
    report.printer(set())()

    assert stream.getvalue().count("1 x theirs.Adapter\n") == len(left)


@pytest.mark.parametrize(
    "broken", [{"resilient_transport": None}, {"resilient_transport.public_names": None}], ids=str
)
def test_an_environment_that_cannot_use_the_package_is_told(broken, finders, monkeypatch, capsys):
    """Another Python's: one line, and no error; the same in this one would be one."""
    for name, module in broken.items():
        monkeypatch.setitem(sys.modules, name, module)
    watch(set(), prefix="/another")

    assert "cannot use this package, and goes without" in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="resilient_transport"):
        watch(set())


def test_the_package_is_found_beside_the_hook(finders):
    """Wherever the program looks for its modules; another environment's is where that one looks."""
    beside = first(finders, lambda: None, str(ROOT)).find_spec("resilient_transport")
    finders.clear()
    found = first(finders, lambda: None).find_spec("resilient_transport")

    assert beside.origin == str(ROOT / "resilient_transport" / "__init__.py")
    assert found is None
