"""A program under `run` sees, says and ends what it sees, says and ends without it."""

import os
import re
import signal
import sys
import sysconfig
import zipapp
from dataclasses import replace
from pathlib import Path

import pytest

from tests.cli.look import told
from tests.cli.twice import BASE, LOOK, RUN, started, twice
from tests.programs import ROOT

pytestmark = pytest.mark.slow

#: What finds the package where Python does not look for it by itself.
PLACES = os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])
#: How a program may be named; what is in braces is made by `ground`.
PROGRAMS = {
    "script": [LOOK],
    "relative": ["look.py"],
    "module": ["-m", "look"],
    "joined": ["-mlook"],
    "package": ["-m", "package"],
    "folder": ["package"],
    "archive": ["look.pyz"],
    "code": ["-c", "import look, json; print(json.dumps(look.told()))"],
    "bytecode": ["look.pyc"],
}
#: Those of the program; each would mean something to `run`, or to argparse.
ARGUMENTS = ["--help", "--summary", "--", "-x", "", "-m", "a b"]


IN_BOTH_PROCESSES = pytest.mark.parametrize("options", [[], ["-E"]], ids=["exec", "same process"])


@pytest.fixture
def ground(tmp_path):
    """Return a folder with the program in each of its forms."""
    import py_compile

    source = Path(LOOK).read_text()
    (tmp_path / "look.py").write_text(source)
    (tmp_path / "package").mkdir()
    (tmp_path / "package" / "__init__.py").touch()
    (tmp_path / "package" / "__main__.py").write_text(source)
    zipapp.create_archive(tmp_path / "package", tmp_path / "look.pyz")
    py_compile.compile(LOOK, tmp_path / "look.pyc")
    return tmp_path


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_sees_what_it_sees_without(name, ground):
    """Arguments, path, `__main__`, flags, environment, signals, descriptors, modules: in each form."""
    without, under = twice(*PROGRAMS[name], *ARGUMENTS, cwd=ground)

    assert without.seen["argv"][1:] == ARGUMENTS
    assert "requests" not in without.seen["modules"]
    assert under == without


def test_a_program_from_standard_input(ground):
    """What is read there is the program's."""
    without, under = twice("-", "x", cwd=ground, text=Path(LOOK).read_text())

    assert without.seen["argv"] == ["-", "x"]
    assert under == without


def test_a_difference_would_be_seen():
    """The control: the program that is compared tells of another variable, and of another module."""
    without = started(LOOK)

    assert started(LOOK, MARK="1").seen["environ"] != without.seen["environ"]
    assert {"pytest", "requests"} & set(told()["modules"])


@pytest.mark.parametrize(
    "options",
    [
        ["-X", "dev", "-W", "error"],
        ["-Xdev", "-Werror"],
        ["-bbu"],
        ["-OO", "-B", "-s"],
        ["-vW", "error"],
        ["--check-hash-based-pycs", "always", "-q"],
        pytest.param(
            ["-P"], marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="since Python 3.11")
        ),
    ],
    ids=" ".join,
)
def test_options_of_python_are_kept(options):
    """Flags, warnings and development mode are those that Python was given; and nothing warns."""
    without, under = twice(LOOK, "-x", options=options)

    assert under.seen == without.seen
    assert under.status == without.status == 0
    assert "-vW" in options or (under.err == without.err == "")


@pytest.mark.parametrize("run", [RUN, ("-mresilient_transport", "run"), ("-bum", *RUN[1:])], ids=" ".join)
def test_however_run_is_spelled(run):
    """The options of Python that stand before -m are the program's, also where they are joined to it."""
    without, under = twice(LOOK, options=["-s"], run=run)
    joined = started("-bu", "-s", LOOK)

    assert under.seen == (without.seen if "-bum" not in run else started("-s", "-bu", LOOK).seen)
    assert joined.seen["flags"] != without.seen["flags"]


def test_the_console_script_is_the_same():
    """`resilient-transport run` has the exit status of the program, and passes on its arguments."""
    script = str(Path(sys.executable).with_name("resilient-transport"))
    without, under = twice(LOOK, "--version", run=[script, "run"])

    assert under == without
    assert started(script, "run", "-c", "raise SystemExit(7)").status == 7
    assert started(script, "run").status == 2


@pytest.mark.parametrize("before", [None, "", "{0}", ":{0}", "{0}:", ":", "{0}:/nowhere"])
def test_pythonpath_is_as_it_was(before, ground):
    """Unset, empty, or with the empty entries that mean the working directory."""
    path = None if before is None else before.format(ground).replace(":", os.pathsep)
    without, under = twice(LOOK, PYTHONPATH=path)

    assert under == without


@pytest.mark.parametrize(
    "locale", ["", "LC_CTYPE=C.UTF-8", "LC_ALL=C", "PYTHONUTF8=1", "PYTHONCOERCECLOCALE=0"]
)
def test_the_locale_is_as_it_was(locale):
    """Where Python takes a C locale for UTF-8, it does so for the program, too (PEP 538 and 540)."""
    none = {"LANG": None, "LC_ALL": None, "LC_CTYPE": None}
    name, _, value = locale.partition("=")
    without, under = twice(LOOK, **none | ({name: value} if name else {}))

    assert under == without


CHAINED = "def f(): raise ValueError('no')\ntry: f()\nexcept ValueError as e: raise KeyError(1) from e"


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("raise SystemExit(3)", 3),
        ("raise SystemExit('so it ends')", 1),
        (CHAINED, 1),
        ("this is no Python", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", -signal.SIGTERM),
        ("import os, signal; os.kill(os.getpid(), signal.SIGINT)", -signal.SIGINT),
        ("import warnings\ndef f(): warnings.warn('old', DeprecationWarning, stacklevel=2)\nf()", 0),
        ("import atexit\n@atexit.register\ndef f(): print('end'); 1 / 0", 0),
        ("import sys\nsys.excepthook = lambda *_: print('mine', _[0])\n1 / 0", 1),
        ("import threading\nthreading.Thread(target=lambda: 1 / 0, name='T').start()", 0),
    ],
)  # fmt: skip
@IN_BOTH_PROCESSES
def test_a_program_ends_as_it_ends_without(code, status, options, tmp_path):
    """Exit status, signal, traceback and warnings."""
    (tmp_path / "ending.py").write_text(code)
    without, under = twice("ending.py", options=options, cwd=tmp_path)

    assert without.status == status
    assert under == without


@IN_BOTH_PROCESSES
@pytest.mark.parametrize("program", [["-m", "ending"], ["-c", CHAINED]], ids=["module", "code"])
def test_a_traceback_is_the_same_in_each_form(program, options, tmp_path):
    """It begins where Python's begins, and shows nothing of `run`."""
    (tmp_path / "ending.py").write_text(CHAINED)
    without, under = twice(*program, options=options, cwd=tmp_path)

    assert without.err.endswith("\nKeyError: 1\n")
    if options and program[0] == "-c" and sys.version_info >= (3, 13):
        # Since then Python shows the lines of -c, too.
        without = replace(without, err=re.sub(r"^    .*\n", "", without.err, flags=re.MULTILINE))
    assert under == without


@IN_BOTH_PROCESSES
def test_a_script_whose_name_begins_with_a_dash(options, ground):
    """Behind two dashes, as Python takes it."""
    (ground / "-x.py").write_text((ground / "look.py").read_text())
    without, under = twice("--", "-x.py", "-y", options=options, cwd=ground)

    assert without.seen["argv"] == under.seen["argv"] == ["-x.py", "-y"]
    assert without.seen["orig_argv"] == under.seen["orig_argv"]
    assert under.status == without.status == 0


@IN_BOTH_PROCESSES
@pytest.mark.parametrize("text", ["raise ValueError(1)", "import nowhere", "def f(:"])
def test_a_requests_that_fails_fails_as_without(text, options, tmp_path):
    """Its traceback shows nothing of what waits for it."""
    (tmp_path / "requests").mkdir()
    (tmp_path / "requests" / "__init__.py").write_text(text)
    (tmp_path / "main.py").write_text("import requests")
    without, under = twice("main.py", options=options, cwd=tmp_path)

    assert without.err
    assert under == without


@IN_BOTH_PROCESSES
@pytest.mark.parametrize("program", [["nowhere.py"], ["-m", "nowhere"], ["empty"]], ids=" ".join)
def test_a_program_that_is_not_there(program, options, tmp_path):
    """Python's own words and status."""
    (tmp_path / "empty").mkdir()
    without, under = twice(*program, options=options, cwd=tmp_path)

    assert without.status in (1, 2)
    assert under == without


@pytest.mark.parametrize(
    ("option", "name"),
    [
        *(("-E", name) for name in PROGRAMS),
        ("-I", "relative"),
        ("-I", "archive"),
        ("-S", "script"),
        ("-S", "module"),
    ],
)
def test_where_python_looks_for_no_sitecustomize(option, name, ground):
    """The program runs in the process of `run`: all is the same, but for modules that are there already."""
    places = {} if option == "-I" else {"PYTHONPATH": PLACES}
    without, under = twice(*PROGRAMS[name], *ARGUMENTS, options=[option], cwd=ground, **places)
    more = set(under.seen["modules"]) - set(without.seen["modules"])
    seen = [{key: value for key, value in end.seen.items() if key != "modules"} for end in (without, under)]

    assert seen[1] == seen[0]
    assert not more & {"requests", "urllib3"}
    assert (under.status, under.err) == (without.status, without.err) == (0, "")


def test_a_sitecustomize_that_was_there_is_there(tmp_path):
    """It does what it does, and is the module of that name; and usercustomize comes after it."""
    (tmp_path / "sitecustomize.py").write_text("import os; os.environ['SITE'] = __name__; print('site')")
    (tmp_path / "usercustomize.py").write_text("import sys; print('user', 'sitecustomize' in sys.modules)")
    code = "import sys, os; print(sys.modules['sitecustomize'].__file__, os.environ['SITE'])"
    # A virtual environment has no place of the user's own.
    python, places = BASE, os.pathsep.join([str(tmp_path), PLACES])
    without, under = twice("-c", code, python=python, PYTHONPATH=places, HOME=str(tmp_path))
    launcher = "site\nuser True\n"

    assert without.out == launcher + f"{tmp_path / 'sitecustomize.py'} sitecustomize\n"
    # `run` is a Python of its own, so that both are done there, too.
    assert (under.status, under.out) == (without.status, launcher + without.out)


@pytest.mark.parametrize("text", ["raise ValueError('mine')", "import nowhere", "raise SystemExit(4)"])
def test_a_sitecustomize_that_fails_fails_as_without(text, tmp_path):
    """Python says so, and goes on or not."""
    (tmp_path / "sitecustomize.py").write_text(text)
    without, under = twice("-c", "print(1)", PYTHONPATH=str(tmp_path))

    assert without.err
    assert (under.status, under.out) == (without.status, without.out)
    assert under.err.splitlines()[-1] == without.err.splitlines()[-1]


SPAWNS = """
import multiprocessing, os, sys

def work(number):
    print(number, sys.argv, sys.path, sorted(os.environ.items()), "requests" in sys.modules, flush=True)

if __name__ == "__main__":
    context = multiprocessing.get_context({0!r})
    one = context.Process(target=work, args=(7,))
    one.start()
    one.join()
    raise SystemExit(one.exitcode)
"""


@pytest.mark.parametrize("method", ["spawn", "fork", "forkserver"])
def test_multiprocessing_works_as_without(method, tmp_path):
    """Its workers find the module `__main__`, and have the same environment."""
    (tmp_path / "spawns.py").write_text(SPAWNS.format(method))
    without, under = twice("spawns.py", cwd=tmp_path)

    assert without.out.startswith("7 ")
    assert under == without
