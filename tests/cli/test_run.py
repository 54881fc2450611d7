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
from resilient_transport.cli.run.startup.resilient_transport_hook import FOLDER, VARIABLE
from resilient_transport.settings.environment import clean_environment
from resilient_transport.telemetry.stats import OriginStats, Stats
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.cli.twice import BASE, RUN, End, started
from tests.programs import forks_with
from tests.timeouts import LONG_TIMEOUT

pytestmark = pytest.mark.slow

#: Prints the class of a new session's adapter.
ADAPTER = "print(type(requests.Session().get_adapter('https://x')).__name__)"
OURS, STOCK = "ResilientAdapter\n", "HTTPAdapter\n"
IN_BOTH_PROCESSES = pytest.mark.parametrize("options", [[], ["-E"]], ids=["exec", "same process"])


def under(code, *arguments, run=RUN, options=(), **environment):
    """Run code under `run`."""
    return started(*options, *run, "-c", code, *arguments, **environment)


#: Begins as Python begins a program that `run` has told it to start: its arguments are the words, the program
#: and what that is given.
BEGIN = f"""
import os, sys
os.environ["PYTHONPATH"] = {FOLDER!r}
os.environ[{VARIABLE!r}] = f"pid={{os.getpid()}} {{sys.argv.pop(1)}}\\n{{sys.prefix}}"
sys.path.insert(0, {FOLDER!r})
sys.modules.pop("sitecustomize", None)  # Debian's Python has one
try:
    import sitecustomize
except ImportError:
    "There is no other."
exec(compile(sys.argv.pop(1), "<string>", "exec"))
"""


@pytest.fixture(scope="module")
def begun():
    """Return what runs code as `under` does, in a fork: without what starts it, which other tests are about.

    What requests imports is there already.
    """
    with forks_with("urllib3", "idna", "certifi", "charset_normalizer", "http.cookies") as forks:

        def run(code, *arguments, words="", **environment):
            ended = forks.run(BEGIN, words, code, *arguments, **environment)
            return End(ended.returncode, ended.stdout, ended.stderr)

        yield run


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
        (["--", "-x.py", "-y"], [], ["--", "-x.py", "-y"]),
        (["--", "-m", "p"], [], ["-m", "p"]),
        (["--", "-"], [], ["-"]),
        (["--html", "a.html", "x.py", "--har"], ["--html", "a.html"], ["x.py", "--har"]),
        (["--html=a b", "--har", "-m", "-m", "p"], ["--html=a b", "--har", "-m"], ["-m", "p"]),
        (["--summary", "--har"], ["--summary", "--har"], []),
        (["--"], [], []),
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
        (["--html", "page.html"], "nothing to run"),
        (["--html", "x.py", "y.py"], "--html is followed by the file that is written, and 'x.py' is none"),
        (["--har=", "x.py"], "--har is followed by the file that is written, and '' is none"),
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
        ("--help", 0, "[--summary] [--html FILE] [--har FILE] [--children] PROGRAM"),
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


#: How a program may use this package before it uses requests.
FIRST = (
    "from resilient_transport import ResilientAdapter",
    "import resilient_transport.exceptions",
    "import resilient_transport.adapter.takeover",
    "import resilient_transport; resilient_transport.stats()",
)


@pytest.mark.parametrize("first", FIRST)
def test_a_program_may_import_this_package_first(first, begun, forks):
    """What has the adapter installed does not come in the middle of its modules."""
    code = f"{first}\nimport requests\n{ADAPTER}"
    without, ended = forks.run(code), begun(code)

    assert (without.stdout, without.stderr) == (STOCK, "")
    assert ended == End(0, OURS, "")


@IN_BOTH_PROCESSES
def test_a_program_that_run_starts_may_import_it_first(options):
    """Also where `run` itself has imported some of its modules."""
    assert under(f"{FIRST[0]}\nimport requests\n{ADAPTER}", options=options) == End(0, OURS, "")


def test_pytest_may_run_under_it(tmp_path):
    """Its plugin of this package comes before all else."""
    (tmp_path / "test_one.py").write_text(f"import requests\ndef test_one():\n    {ADAPTER}")
    slow = ["-p", "no:cacheprovider", "-p", "no:httpbin", "-p", "no:hypothesispytest"]
    ended = started(*RUN, "-m", "pytest", "-sq", *slow, cwd=tmp_path)

    assert ended.status == 0
    assert OURS in ended.out


#: One thread imports requests; when it runs the file that is named, another uses this package, until it has
#: ended or waits for a module of the first.
TWO_THREADS = """
import sys, threading

def use():
    import resilient_transport
    print(type(resilient_transport.stats()).__name__)

def waits():
    frame = sys._current_frames().get(other.ident)
    return frame and frame.f_code.co_name == "acquire"

def look(event, arguments):
    if event == "exec" and arguments[0].co_filename.endswith(sys.argv[1]) and not other.ident:
        other.start()
        while other.is_alive() and not waits():
            pass

other = threading.Thread(target=use)
sys.addaudithook(look)
import requests
other.join()
"""


@pytest.mark.parametrize(
    "meets",
    ["requests/__init__.py", "requests/api.py", "transport/__init__.py", "public_names.py", "adapter.py"],
)
def test_another_thread_may_use_this_package_meanwhile(meets, begun):
    """Each of them gets modules that are whole."""
    ended = begun(f"{TWO_THREADS}{ADAPTER}", meets)

    assert (ended.status, ended.out, ended.err) == (0, "Stats\n" + OURS, "")


@pytest.mark.parametrize("meets", ["requests.sessions", "resilient_transport.adapter.takeover"])
def test_an_import_that_was_interrupted_is_made_again(meets, begun):
    """Ctrl-C in the middle of it, in requests' modules or in ours, which the program survives."""
    code = (
        "import sys\nclass Once:\n done = False\n def find_spec(self, name, path=None, target=None):\n"
        f"  if name == {meets!r} and not self.done: self.done = True; raise KeyboardInterrupt\n"
        "sys.meta_path.insert(0, Once())\ntry: import requests\nexcept KeyboardInterrupt: print('again')\n"
        f"import requests\n{ADAPTER}"
    )
    ended = begun(code)

    assert (ended.out, ended.err) == ("again\n" + OURS, "")


def test_threads_may_import_requests_at_once(begun):
    """Each of them gets a module whose sessions have the adapter."""
    code = (
        "import threading\nline = threading.Barrier(8)\n"
        "def work():\n line.wait()\n import requests, json, http.client, decimal\n"
        " print(type(requests.Session().get_adapter('https://x')).__name__ + '\\n', end='')\n"
        "threads = [threading.Thread(target=work) for _ in range(8)]\n"
        "[one.start() for one in threads]; [one.join() for one in threads]"
    )
    ended = begun(code)

    assert (ended.out, ended.err) == (OURS * 8, "")


def test_a_module_of_that_name_is_left_alone(tmp_path, begun):
    """A program's own requests.py, or a folder of that name, is not the library."""
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / "requests.py").write_text("print('mine')")
    (tmp_path / "folder" / "requests").mkdir(parents=True)
    # Site-packages, where the library is, would come before the folder.
    where = "import sys; sys.path[:] = [sys.argv[1]]; import requests; print(requests.__file__)"
    file, folder = (begun(where, str(tmp_path / name)) for name in ("file", "folder"))

    assert file == End(0, f"mine\n{tmp_path / 'file' / 'requests.py'}\n", "")
    assert folder == End(0, "None\n", "")


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


def test_requests_may_be_there_already(forks):
    """Something that comes before every program (a .pth file) has imported it."""
    hook = "resilient_transport.cli.run.startup.resilient_transport_hook"
    code = f"import requests\nfrom {hook} import watch\nwatch(set())"
    ended = forks.run(f"{code}\n{ADAPTER}")

    assert (ended.stdout, ended.stderr) == (OURS, "")


def test_the_environments_settings_hold_and_nothing_warns():
    """They are what tells such a program what to do; in development mode, where warnings are errors."""
    options = ["-X", "dev", "-W", "error"]
    code = f"import requests; {ADAPTER}; print(requests.Session().get_adapter('https://x').policy.retries)"
    ended = under(code, options=options, RESILIENT_TRANSPORT_RETRIES="3")

    assert ended == End(0, OURS + "3\n", "")


@IN_BOTH_PROCESSES
def test_a_setting_that_is_not_allowed_starts_nothing(options):
    """Status 2, and the sentence that names it."""
    ended = under("print(1)", options=options, RESILIENT_TRANSPORT_RETRIES="many")

    assert (ended.status, ended.out) == (2, "")
    assert ended.err.startswith("run: RESILIENT_TRANSPORT_RETRIES='many': allowed is ")


@IN_BOTH_PROCESSES
def test_what_is_no_setting_is_told_at_the_start(options):
    """Once, and not to the program, where a warning may be an error."""
    code = f"import requests; {ADAPTER}"
    ended = under(code, options=[*options, "-Werror"], RESILIENT_TRANSPORT_RETRYS="3")

    assert (ended.status, ended.out) == (0, OURS)
    assert ended.err == (
        "run: RESILIENT_TRANSPORT_RETRYS is no setting and does nothing; the nearest is "
        "RESILIENT_TRANSPORT_RETRIES\n"
    )


def test_a_programs_own_installation_is_no_disagreement(begun):
    """`run` has no settings that could differ; a second one of the program's has, and is told."""
    install = "import warnings; warnings.simplefilter('error'); import resilient_transport as r\n"
    install += "print(r.install(max_retries=2)); import requests\n"
    one, two = begun(install + ADAPTER), begun(install + "r.install(max_retries=3)")

    assert (one.status, one.err) == (0, "")
    assert one.out == f"<Installation of ResilientAdapter at <string>:2, active>\n{OURS}"
    assert two.err.splitlines()[-1].startswith("RuntimeWarning: install() at <string>:3 differs")


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
def test_an_adapter_that_cannot_be_installed_is_no_secret(first, why, begun):
    """The import of requests fails, and not as one that a program without requests would get along with."""
    ended = begun(f"{first}\ntry:\n import requests\nexcept ImportError:\n print('without')")

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


def material(server):
    """What a program needs to make that call."""
    return [server.url, server.authority.ca_file, *server.authority.client]


@IN_BOTH_PROCESSES
def test_the_summary_has_a_line_for_each_origin(options, server):
    """Calls, failed, repeated, saved; on standard error, when the program has ended."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=2),)))
    more = (
        "print('end', file=sys.stderr)\n"
        "try: requests.get('http://127.0.0.1:1/')\nexcept requests.ConnectionError: pass\nsys.exit(4)"
    )
    ended = under(FETCH + more, *material(server), run=(*options, *RUN, "--summary"))
    lines = ended.err.splitlines()

    assert ended.status == 4
    assert lines[0] == "end"
    assert sorted(lines[1:]) == [
        "resilient_transport: http://127.0.0.1:1: 1 calls, 1 failed, 5 repeated, 0 saved",
        f"resilient_transport: {server.url}: 1 calls, 0 failed, 2 repeated, 1 saved",
    ]


@pytest.mark.parametrize("code", ["pass", "import requests", "import requests; requests.Session()"])
def test_without_calls_there_is_no_summary(code, begun):
    """A process that has made none says nothing."""
    ended = begun(code, words="summary")

    assert (ended.status, ended.err) == (0, "")


def test_without_the_option_there_is_no_summary(server, begun):
    """The control: the same calls, and not a word."""
    server.play(Script())
    ended = begun(FETCH, *material(server))

    assert (ended.status, ended.err) == (0, "")


@pytest.mark.parametrize("broken", ["sys.stderr.close()", "sys.stderr = None", "import os; os.close(2)"])
def test_a_summary_breaks_no_exit(broken, server, begun):
    """Where it cannot be written, the program ends as it would have ended."""
    server.play(Script())
    ended = begun(f"{FETCH}{broken}; sys.exit(6)", *material(server), words="summary")

    assert ended.status == 6


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize(
    ("more", "status"),
    [("", 0), ("try: print('x', file=sys.stderr)\nexcept OSError: pass", 120)],
    ids=["summary", "control"],
)
def test_a_summary_that_cannot_be_written_changes_no_status(more, status, server, begun):
    """The control is a program that has written something itself, and loses it at exit."""
    server.play(Script())
    full = "import os; os.dup2(os.open('/dev/full', os.O_WRONLY), 2)\n"
    ended = begun(full + FETCH + more, *material(server), words="summary")

    assert ended.status == status


def test_calls_at_exit_are_in_the_summary(server, begun):
    """Also those of a handler that was there before requests was."""
    server.play(Script())
    at_exit = f"import atexit\n@atexit.register\ndef last():\n import requests\n {FETCH}"
    ended = begun(at_exit + FETCH, *material(server), words="summary")

    assert ended.err == f"resilient_transport: {server.url}: 2 calls, 0 failed, 0 repeated, 0 saved\n"


def test_the_summary_names_what_was_left_alone(begun):
    """An adapter of a class of the program's own is not ours, and the summary says so."""
    code = (
        "import requests\nclass Theirs(requests.adapters.HTTPAdapter): pass\n"
        "requests.Session().mount('https://', Theirs())"
    )
    ended = begun(code, words="summary")

    line = "resilient_transport: left as they are, with their own retries: 1 x __main__.Theirs\n"
    assert (ended.status, ended.err) == (0, line)


def test_a_forked_process_without_calls_tells_nothing(begun):
    """What was left alone is the parent's, and told by it once."""
    code = (
        "import os, requests\nclass Theirs(requests.adapters.HTTPAdapter): pass\n"
        "requests.Session().mount('https://', Theirs())\nif child := os.fork(): os.waitpid(child, 0)"
    )
    ended = begun(code, words="summary")

    assert ended.err.count("left as they are") == 1


def test_a_forked_process_tells_its_number(server, begun):
    """What the parent did is the parent's; a child that has made calls has lines of its own."""
    server.play(Script())
    # Python warns of a fork where threads are: the reaper of idle connections is one.
    fork = "import os, warnings\nwarnings.simplefilter('ignore')\nchild = os.fork()\n"
    code = FETCH + fork + FETCH + "if child: print(child); os.waitpid(child, 0)"
    ended = begun(code, *material(server), words="summary")
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
    places = os.pathsep.join(["", str(tmp_path / "old"), sysconfig.get_path("purelib")])
    code = (
        f"import os, subprocess, sys; os.environ['PYTHONPATH'] += {places!r}\n"
        f"subprocess.run([{BASE!r}, '-c', {f'import requests; {ADAPTER}'!r}], check=True)"
    )
    ended = under(code, run=(*RUN, "--children"), cwd=tmp_path)
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "resilient_transport.py").write_text("raise ValueError('too old')")
    unusable = under(code, run=(*RUN, "--children"), cwd=tmp_path)
    line = r"resilient_transport run: \S+ cannot use this package, and goes without: "

    assert (ended.status, ended.out) == (unusable.status, unusable.out) == (0, STOCK)
    assert re.fullmatch(line + r"No module named \S+\n", ended.err)
    assert re.fullmatch(line + r"too old\n", unusable.err)


@pytest.mark.parametrize("name", ["python2.7", "python3.6", "python3.7", "python3.9"])
def test_an_old_python_goes_without(name, tmp_path):
    """It starts as before, and the `sitecustomize` that was there runs."""
    try:
        # What is on PATH may be a stand-in for one that is not installed.
        subprocess.run([name, "-c", ""], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip(f"needs {name}")
    (tmp_path / "sitecustomize.py").write_text("print('theirs')")
    code = f"import subprocess; subprocess.check_call([{name!r}, '-c', 'print(1)'])"
    ended = under(code, run=(*RUN, "--children"), PYTHONPATH=str(tmp_path), PYTHONDONTWRITEBYTECODE="1")

    # The launcher's, the program's, and the child's.
    assert (ended.status, ended.out, ended.err) == (0, "theirs\n" * 3 + "1\n", "")


def test_children_tell_their_numbers_in_the_summary(server):
    """One line for each process that has made calls."""
    server.play(Script())
    child = (
        "import subprocess\nwith subprocess.Popen([sys.executable, '-c', "
        f"{FETCH!r}, *sys.argv[1:]]) as child: print(child.pid)"
    )
    ended = under(FETCH + child, *material(server), run=(*RUN, "--summary", "--children"))

    assert ended.err.splitlines() == [
        f"resilient_transport[{ended.out.strip()}]: {server.url}: 1 calls, 0 failed, 0 repeated, 0 saved",
        f"resilient_transport: {server.url}: 1 calls, 0 failed, 0 repeated, 0 saved",
    ]
