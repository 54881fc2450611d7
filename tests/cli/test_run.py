"""`run`: what it takes, what it refuses, when the adapter comes, and what `--summary` prints."""

import os
import re
import signal
import subprocess
import sys
import sysconfig

import pytest

from resilient_transport.cli.main import main
from resilient_transport.cli.run import launcher, report
from resilient_transport.cli.run.launcher import apart, options_of_python
from resilient_transport.settings.environment import clean_environment
from resilient_transport.telemetry.stats import OriginStats, Stats
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.cli.twice import BASE, RUN, started
from tests.timeouts import LONG_TIMEOUT

pytestmark = pytest.mark.slow

#: Prints the class of a new session's adapter.
ADAPTER = "print(type(requests.Session().get_adapter('https://x')).__name__)"
OURS, STOCK = "ResilientAdapter\n", "HTTPAdapter\n"
IN_BOTH_PROCESSES = pytest.mark.parametrize("options", [[], ["-E"]], ids=["exec", "same process"])


def under(code, *arguments, run=RUN, options=(), **environment):
    """Run code under `run`."""
    return started(*options, *run, "-c", code, *arguments, **environment)


@pytest.mark.parametrize(
    ("arguments", "ours", "program"),
    [
        (["x.py", "--help"], [], ["x.py", "--help"]),
        (["x.py", "--", "-x"], [], ["x.py", "--", "-x"]),
        (["--summary", "x.py", "--summary"], ["--summary"], ["x.py", "--summary"]),
        (["--children", "-m", "p", "--version"], ["--children"], ["-m", "p", "--version"]),
        (["-mp", "-h"], [], ["-mp", "-h"]),
        (["-c", "code", "-c"], [], ["-c", "code", "-c"]),
        (["-", "-h"], [], ["-", "-h"]),
        (["--summary", "--", "x.py", "--"], ["--summary"], ["x.py", "--"]),
        (["--help", "x.py"], ["--help"], ["x.py"]),
        ([], [], []),
    ],
)  # fmt: skip
def test_what_follows_the_program_is_the_programs(arguments, ours, program):
    """Whatever it looks like."""
    assert apart(arguments) == (ours, program)


@pytest.mark.parametrize(
    ("command", "options"),
    [
        ("python -m resilient_transport run -m x", []),
        ("python -X dev -W error -m resilient_transport run", ["-X", "dev", "-W", "error"]),
        ("python -Xdev -Werror -mresilient_transport run", ["-Xdev", "-Werror"]),
        ("python -bWerror -OO -ISm resilient_transport run", ["-bWerror", "-OO", "-IS"]),
        ("python -vW error -um resilient_transport run", ["-vW", "error", "-u"]),
        ("python --check-hash-based-pycs never -q -m m", ["--check-hash-based-pycs", "never", "-q"]),
        ("python -I /bin/resilient-transport run -u x.py", ["-I"]),
        ("python -i -c code -x", ["-i"]),
        ("python - -x", []),
        ("python -B", ["-B"]),
    ],
)
def test_options_of_python_are_told_from_the_rest(command, options):
    """As Python reads its command line, and whatever of `run`'s was joined to them."""
    assert options_of_python(command.split()) == options


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to run"),
        (["--summary"], "nothing to run"),
        (["-m"], "nothing to run"),
        (["-c"], "nothing to run"),
    ],
)
def test_nothing_to_run_is_a_usage_error(arguments, message, capsys):
    """Status 2, and what is missing."""
    assert main(["run", *arguments]) == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("option", "status", "said"),
    [
        ("--sumary", 2, "unrecognized arguments: --sumary"),
        ("-u", 2, "unrecognized arguments: -u"),
        ("--help", 0, "[--summary] [--children] PROGRAM"),
    ],
)
def test_options_before_the_program_are_runs(option, status, said, capsys):
    """An unknown one is refused, and no program is started."""
    with pytest.raises(SystemExit) as stopped:
        main(["run", option, "no_such_program.py"])

    assert stopped.value.code == status
    assert said in "".join(capsys.readouterr())


@pytest.mark.parametrize("option", ["-I", "-E", "-S"])
def test_children_need_the_environment(option):
    """Where Python does not read it, --children is refused with the reason."""
    places = os.pathsep.join([sysconfig.get_path("purelib"), *sys.path[1:]])
    ended = started(option, *RUN, "--children", "-c", "print(1)", PYTHONPATH=places)

    assert (ended.status, ended.out) == (2, "")
    assert "--children needs PYTHONPATH and site" in ended.err


@IN_BOTH_PROCESSES
def test_the_adapter_comes_with_requests(options):
    """Not before; and what importlib has written into the module is what it writes without."""
    code = (
        "import sys; print('resilient_transport.installation' in sys.modules)\n"
        "import importlib.util as util; kind = lambda spec: type(spec.loader).__name__\n"
        "util.find_spec('requests'); print('requests' in sys.modules)\n"
        "import requests.adapters as first, requests\n"
        "print(kind(requests.__spec__), requests.__loader__ is requests.__spec__.loader)\n"
        f"{ADAPTER}\nimport importlib; importlib.reload(requests); print(kind(requests.__spec__))"
    )
    without, ended = started(*options, "-c", code), under(code, options=options)

    assert ended.err == without.err == ""
    assert without.out == f"False\nFalse\nSourceFileLoader True\n{STOCK}SourceFileLoader\n"
    assert ended.out == without.out.replace(STOCK, OURS)


def test_threads_may_import_requests_at_once():
    """Each of them gets a module whose sessions have the adapter."""
    code = (
        "import threading\nline = threading.Barrier(8)\n"
        "def work():\n line.wait()\n import requests, json, http.client, decimal\n"
        " print(type(requests.Session().get_adapter('https://x')).__name__ + '\\n', end='')\n"
        "threads = [threading.Thread(target=work) for _ in range(8)]\n"
        "[one.start() for one in threads]; [one.join() for one in threads]"
    )
    ended = under(code)

    assert (ended.out, ended.err) == (OURS * 8, "")


def test_a_module_of_that_name_is_left_alone(tmp_path):
    """A program's own requests.py, or a folder of that name, is not the library."""
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "requests.py").write_text("print('mine')")
    (tmp_path / "folder" / "requests").mkdir(parents=True)
    file = under("import requests", PYTHONPATH=str(tmp_path / "file"))
    # Site-packages, where the library is, would come before it.
    where = (
        f"import sys; sys.path[:] = {[str(tmp_path / 'folder')]!r}; import requests; print(requests.__file__)"
    )
    folder = under(where)

    assert (file.status, file.out, file.err) == (0, "mine\n", "")
    assert (folder.status, folder.out, folder.err) == (0, "None\n", "")


def test_without_the_library_all_is_as_without():
    """A program that finds no requests gets Python's own error."""
    without, ended = (
        started(*run, "-c", "import sys; sys.path[:] = []; import requests") for run in ((), RUN)
    )

    assert "ModuleNotFoundError: No module named 'requests'" in without.err
    assert ended == without


def test_requests_may_fail_at_first():
    """An import that has failed is tried again, and brings the adapter then."""
    code = (
        "import sys; sys.modules['urllib3'] = None\n"
        "try:\n import requests\nexcept ImportError as error:\n print(error.name)\n"
        f"del sys.modules['urllib3']\nimport requests\n{ADAPTER}"
    )
    ended = under(code)

    assert ended.out == "urllib3\n" + OURS


def test_requests_may_be_there_already():
    """Something that comes before every program (a .pth file) has imported it."""
    code = (
        "import requests\nfrom resilient_transport.cli.run.startup.sitecustomize import watch\nwatch(set())"
    )
    ended = started("-c", f"{code}\n{ADAPTER}")

    assert (ended.out, ended.err) == (OURS, "")


def test_nothing_warns_where_warnings_are_errors():
    """In development mode, with the adapter installed and settings of the environment."""
    options = ["-X", "dev", "-W", "error"]
    ended = under(f"import requests; {ADAPTER}", options=options, RESILIENT_TRANSPORT_RETRIES="3")

    assert (ended.status, ended.out, ended.err) == (0, OURS, "")


def test_the_environments_settings_hold():
    """They are what tells such a program what to do."""
    code = "import requests; print(requests.Session().get_adapter('https://x').policy.retries)"
    ended = under(code, RESILIENT_TRANSPORT_RETRIES="3")

    assert (ended.out, ended.err) == ("3\n", "")


def test_a_setting_that_is_not_allowed_starts_nothing():
    """Status 2, and the sentence that names it."""
    ended = under("print(1)", RESILIENT_TRANSPORT_RETRIES="many")

    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("run: RESILIENT_TRANSPORT_RETRIES='many': allowed is ")


def test_a_folder_that_pythonpath_cannot_name_is_refused(monkeypatch, capsys):
    """Rather than that the program runs without the adapter."""
    monkeypatch.setattr(launcher, "FOLDER", os.pathsep.join(["/a", "b"]))

    assert main(["run", "no_such_program.py"]) == 2
    assert "PYTHONPATH cannot name /a" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("first", "why"),
    [
        (
            "import os; os.environ['RESILIENT_TRANSPORT_RETRIES'] = 'many'",
            "RESILIENT_TRANSPORT_RETRIES='many'",
        ),
        ("import urllib3.connection; urllib3.connection.HTTPConnection = object", "urllib3-future"),
    ],
    ids=["setting", "urllib3"],
)
def test_an_adapter_that_cannot_be_installed_is_no_secret(first, why):
    """The import of requests fails, and not as one that a program without requests would get along with."""
    ended = under(f"{first}\ntry:\n import requests\nexcept ImportError:\n print('without')")

    assert (ended.status, ended.out) == (1, "")
    assert "RuntimeError: resilient_transport run cannot install its adapter: " in ended.err
    assert why in ended.err.splitlines()[-1]


@IN_BOTH_PROCESSES
def test_the_process_is_that_which_was_started(options):
    """The number of the process is the program's, so that its signals reach the program."""
    code = (
        "import signal, sys, os\nsignal.signal(signal.SIGTERM, lambda *_: sys.exit(9))\n"
        "print(os.getpid(), flush=True)\nwhile True: signal.pause()"
    )
    command = [sys.executable, *options, *RUN, "-c", code]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=clean_environment()) as process:
        said = int(process.stdout.readline())
        process.send_signal(signal.SIGTERM)
        status = process.wait(LONG_TIMEOUT)

    assert (said, status) == (process.pid, 9)


def test_where_there_is_no_exec_the_status_is_handed_on(capfd):
    """On Windows the program is a process of its own; Ctrl-C is its affair."""
    before = signal.getsignal(signal.SIGINT)
    try:
        status = launcher._wait_for(["python", "-c", "print('there'); raise SystemExit(3)"], dict(os.environ))
        during = signal.getsignal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, before)

    assert (status, capfd.readouterr().out) == (3, "there\n")
    assert during is signal.SIG_IGN


FETCH = "import requests, sys; requests.get(sys.argv[1], verify=sys.argv[2], cert=sys.argv[3:5])\n"


def fetching(server, *options, after="", run=RUN, **environment):
    """Run a program that makes one call, and then something else."""
    material = [server.url, server.authority.ca_file, *server.authority.client]
    return under(FETCH + after, *material, run=(*run, *options), **environment)


@IN_BOTH_PROCESSES
def test_the_summary_has_a_line_for_each_origin(options, server):
    """Calls, failed, repeated, saved; on standard error, when the program has ended."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=2),)))
    more = (
        "print('end', file=sys.stderr)\n"
        "try: requests.get('http://127.0.0.1:1/')\nexcept requests.ConnectionError: pass\nsys.exit(4)"
    )
    ended = fetching(server, "--summary", after=more, run=(*options, *RUN))
    lines = ended.err.splitlines()

    assert ended.status == 4
    assert lines[0] == "end"
    assert sorted(lines[1:]) == [
        "resilient_transport: http://127.0.0.1:1: 1 calls, 1 failed, 5 repeated, 0 saved",
        f"resilient_transport: {server.url}: 1 calls, 0 failed, 2 repeated, 1 saved",
    ]


@pytest.mark.parametrize("code", ["pass", "import requests", "import requests; requests.Session()"])
def test_without_calls_there_is_no_summary(code):
    """A process that has made none says nothing."""
    ended = under(code, run=(*RUN, "--summary"))

    assert (ended.status, ended.err) == (0, "")


def test_without_the_option_there_is_no_summary(server):
    """The control: the same calls, and not a word."""
    server.play(Script())
    ended = fetching(server)

    assert (ended.status, ended.err) == (0, "")


@pytest.mark.parametrize("broken", ["sys.stderr.close()", "sys.stderr = None", "import os; os.close(2)"])
def test_a_summary_breaks_no_exit(broken, server):
    """Where it cannot be written, the program ends as it would have ended."""
    server.play(Script())
    ended = fetching(server, "--summary", after=f"{broken}; sys.exit(6)")

    assert ended.status == 6


def test_the_summary_names_what_was_left_alone():
    """An adapter of a class of the program's own is not ours, and the summary says so."""
    code = (
        "import requests\nclass Theirs(requests.adapters.HTTPAdapter): pass\n"
        "requests.Session().mount('https://', Theirs())"
    )
    ended = under(code, run=(*RUN, "--summary"))

    line = "resilient_transport: left as they are, with their own retries: 1 x __main__.Theirs\n"
    assert (ended.status, ended.err) == (0, line)


def test_a_forked_process_tells_its_number(server):
    """What the parent did is the parent's; a child that has made calls has lines of its own."""
    server.play(Script())
    fork = "import os\nchild = os.fork()\n" + FETCH + "if child: print(child); os.waitpid(child, 0)"
    # Python warns of a fork where threads are: the reaper of idle connections is one.
    ended = fetching(server, "--summary", after=fork, PYTHONWARNINGS="ignore")
    child = ended.out.strip()

    assert ended.err.splitlines() == [
        f"resilient_transport[{child}]: {server.url}: 1 calls, 0 failed, 0 repeated, 0 saved",
        f"resilient_transport: {server.url}: 2 calls, 0 failed, 0 repeated, 0 saved",
    ]


def test_the_lines_of_a_summary_are_of_the_figures():
    """Values in, text out."""
    figures = Stats(
        {
            "https://a": OriginStats(calls=9, failed_calls={"A": 1, "B": 2}, retries=4, recovered=5),
            "https://b": OriginStats(calls=1),
        },
        {"theirs.Adapter": 2},
    )

    assert list(report.lines(figures)) == [
        "https://a: 9 calls, 3 failed, 4 repeated, 5 saved",
        "https://b: 1 calls, 0 failed, 0 repeated, 0 saved",
        "left as they are, with their own retries: 2 x theirs.Adapter",
    ]


#: Starts a Python that runs this.
START = "import os, subprocess, sys; subprocess.run([sys.executable, '-c', {!r}], check=True)"
#: Starts one that prints the class of its adapter.
CHILD = START.format(f"import requests; {ADAPTER}")


@pytest.mark.parametrize(
    ("options", "said"), [(["--children"], OURS), ([], STOCK)], ids=["children", "control"]
)
def test_children_are_carried_along(options, said):
    """What the program starts, and what that starts."""
    ended = under(START.format(CHILD), run=(*RUN, *options))

    assert (ended.status, ended.out, ended.err) == (0, said, "")


def test_children_without_the_environment_are_not():
    """It is the environment that carries it."""
    bare = CHILD.replace("check=True", "check=True, env={})")[:-1]
    ended = under(bare, run=(*RUN, "--children"))

    assert (ended.status, ended.out) == (0, STOCK)


def test_children_find_their_own_sitecustomize(tmp_path):
    """Also a program's own PYTHONPATH, put in front of what is there, holds."""
    (tmp_path / "sitecustomize.py").write_text("print('theirs')")
    front = (
        f"import os; os.environ['PYTHONPATH'] = {str(tmp_path)!r} + os.pathsep + os.environ['PYTHONPATH']\n"
    )
    behind = f"import os; os.environ['PYTHONPATH'] += os.pathsep + {str(tmp_path)!r}\n"
    first = under(front + CHILD, run=(*RUN, "--children"))
    last = under(behind + CHILD, run=(*RUN, "--children"))

    # In front it is the one that Python finds, and has not been told of ours.
    assert first.out == "theirs\n" + STOCK
    assert last.out == "theirs\n" + OURS


def test_run_may_run_run():
    """Within --children, too: the words of both hold, and what was put in is put in once."""
    code = "import os, sys\nprint(sys.path, *map(os.environ.get, ['PYTHONPATH', '_RESILIENT_TRANSPORT_RUN']))"
    inner = f"import subprocess, sys; subprocess.run([sys.executable, *{list(RUN)!r}, '-c', {code!r}])"
    nested, carried = under(inner), under(inner, run=(*RUN, "--children"))

    assert nested == under(code)
    assert nested.out.endswith("None None\n")
    assert carried.out.startswith(nested.out.removesuffix("None None\n"))
    assert re.search(rf"\S+startup children pid=\d+\n{re.escape(sys.prefix)}\n$", carried.out)


def test_a_python_of_another_environment_goes_without(tmp_path):
    """It is told where it does not have the package, and works as before."""
    purelib = sysconfig.get_path("purelib")
    code = (
        f"import os, subprocess, sys; os.environ['PYTHONPATH'] += os.pathsep + {purelib!r}\n"
        f"subprocess.run([{BASE!r}, '-c', {f'import requests; {ADAPTER}'!r}], check=True)"
    )
    ended = under(code, run=(*RUN, "--children"), cwd=tmp_path)

    assert (ended.status, ended.out) == (0, STOCK)
    assert re.fullmatch(r"resilient_transport run: \S+ has no such package, and goes without\n", ended.err)


def test_children_tell_their_numbers_in_the_summary(server):
    """One line for each process that has made calls."""
    server.play(Script())
    child = (
        "import subprocess\nwith subprocess.Popen([sys.executable, '-c', "
        f"{FETCH!r}, *sys.argv[1:]]) as child: print(child.pid)"
    )
    ended = fetching(server, "--summary", "--children", after=child)

    assert ended.err.splitlines() == [
        f"resilient_transport[{ended.out.strip()}]: {server.url}: 1 calls, 0 failed, 0 repeated, 0 saved",
        f"resilient_transport: {server.url}: 1 calls, 0 failed, 0 repeated, 0 saved",
    ]
