"""What `run` puts into the environment, and what waits for the import of requests: values in, values out."""

import atexit
import importlib.util
import os
import sys

import pytest
import requests

from resilient_transport import ResilientAdapter, uninstall
from resilient_transport.cli.run import report
from resilient_transport.cli.run.startup import sitecustomize
from resilient_transport.cli.run.startup.sitecustomize import (
    FOLDER,
    VARIABLE,
    Finder,
    environment_with,
    take_out,
    watch,
)
from resilient_transport.telemetry.stats import OriginStats, Stats


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


def test_the_finder_calls_when_requests_has_run():
    """Once; the loader is the real one again then, and in its place meanwhile it answers as that does."""
    called = []
    finder = Finder(lambda: called.append(1))
    spec = finder.find_spec("requests")
    asked = spec.loader.get_filename("requests"), spec.loader.is_package("requests"), list(called)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    assert asked == (requests.__file__, True, [])
    assert module.get.__module__ == "requests.api"
    assert type(module.__loader__) is type(module.__spec__.loader) is type(requests.__loader__)
    assert called == [1]
    assert finder.find_spec("requests") is None


def test_other_modules_are_none_of_its_business():
    """It answers for nothing else."""
    assert Finder(lambda: None).find_spec("json") is None


def test_a_call_that_fails_is_made_again():
    """The next import of requests tries once more, and the first error is told."""
    calls = []

    def fail():
        calls.append(1)
        raise RuntimeError("no")

    finder = Finder(fail)
    for _ in range(2):
        spec = finder.find_spec("requests")
        with pytest.raises(RuntimeError, match="no"):
            spec.loader.exec_module(importlib.util.module_from_spec(spec))

    assert len(calls) == 2


@pytest.fixture
def at_exit(monkeypatch):
    """Return a list of what was to be called at exit; end with stock requests."""
    registered = []
    monkeypatch.setattr(atexit, "register", lambda *call: registered.append(call))
    yield registered
    uninstall()


def test_what_watches_installs(at_exit, monkeypatch):
    """At once, where requests is imported already; what goes wrong is no ImportError."""
    watch({"summary", "pid=1"})
    adapter = requests.Session().get_adapter("https://x")
    monkeypatch.setenv("RESILIENT_TRANSPORT_RETRIES", "many")

    assert isinstance(adapter, ResilientAdapter)
    assert len(at_exit) == 1
    with pytest.raises(RuntimeError, match="cannot install its adapter: RESILIENT_TRANSPORT_RETRIES='many'"):
        watch(set())


@pytest.mark.parametrize("is_main", [True, False], ids=["started by run", "another"])
def test_a_summary_is_printed_of_what_was_counted(is_main, at_exit, monkeypatch, capsys):
    """The process that was started has no number, every other has."""
    pid, name = (os.getpid(), "") if is_main else (1, f"[{os.getpid()}]")
    monkeypatch.setattr(report, "stats", lambda: Stats({"https://a": OriginStats(calls=1)}))
    report.print_at_exit({f"pid={pid}"})
    ((call, *arguments),) = at_exit
    call(*arguments)

    line = "https://a: 1 calls, 0 failed, 0 repeated, 0 saved"
    assert capsys.readouterr().err == f"resilient_transport{name}: {line}\n"


def test_an_environment_without_the_package_is_told(monkeypatch, capsys):
    """Another Python's: one line, and no error; the same in this one would be one."""
    monkeypatch.setitem(sys.modules, "resilient_transport", None)
    watch(set(), prefix="/another")

    assert "has no such package, and goes without" in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="resilient_transport"):
        watch(set())


def test_the_package_is_found_beside_the_hook(monkeypatch):
    """Wherever the program looks for its modules; a folder without it is told."""
    ours = sys.modules["resilient_transport"]
    monkeypatch.setitem(sys.modules, "resilient_transport", ours)
    sitecustomize._load_package()
    found = sys.modules["resilient_transport"]
    monkeypatch.setattr(sitecustomize, "_PARENT", "/nowhere")

    assert found is not ours
    assert found.__file__ == ours.__file__
    with pytest.raises(ImportError, match="no resilient_transport in /nowhere any more"):
        sitecustomize._load_package()
