"""`python -m resilient_transport demo`: arguments, exit status, what is printed."""

import io
import json
import os
import subprocess
import sys

import pytest

from resilient_transport.cli.demo import nursery, subcommand
from resilient_transport.cli.demo.transports import OURS, TRANSPORTS
from resilient_transport.cli.main import main
from resilient_transport.cli.terminal import tell
from tests.cli.cells import STOCK, cell, outcome
from tests.programs import run_python
from tests.timeouts import LONG_TIMEOUT

pytestmark = pytest.mark.slow

SMALL = ["demo", "--rounds", "3", "--scenario", "race", "--scenario", "resets", "--seed", "1"]
LOST = cell(outcome("GET", "ConnectionError", "request"))


@pytest.fixture(autouse=True)
def unmeasured(monkeypatch):
    """Let coverage see nothing of the processes that the demo starts: `test_starts` runs the same."""
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)


@pytest.fixture
def played(monkeypatch):
    """Put these cells in the place of a run."""

    def play(*cells):
        monkeypatch.setattr(subcommand, "play", lambda *_, **__: list(cells))

    return play


def test_the_adapter_passes_where_stock_fails(capsys, monkeypatch, tmp_path):
    """A real run, in JSON and as a page. Somebody's CA bundle in the environment must not matter."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem")
    monkeypatch.setenv("RESILIENT_TRANSPORT_RETRIES", "0")
    path = tmp_path / "page.html"
    status = main([*SMALL, "--json", "--html", str(path)])
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    failed = {(each["scenario"], each["transport"]): each["starts_failed"] for each in result["cells"]}

    assert status == 0
    assert result["ok"] is True
    assert result["broken_promises"] == []
    assert list(failed) == [(scenario, name) for scenario in ("race", "resets") for name in TRANSPORTS]
    assert failed["race", OURS] == failed["resets", OURS] == 0
    assert failed["race", STOCK] == 3
    assert failed["resets", STOCK] > 0
    told = [line.split(",")[0] for line in printed.err.splitlines()[-4:]]
    assert told == ["race: 9 starts", "resets: 9 starts", "", f"The page is in {path}"]
    assert "race: ResilientAdapter" in path.read_text(encoding="utf-8")


def test_the_environment_would_matter(capsys, monkeypatch):
    """The control: with the bundle left in the environment nothing works, and the demo says so."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/bundle.pem")
    monkeypatch.setattr(nursery, "clean_environment", lambda: dict(os.environ))
    status = main(["demo", "--rounds", "1", "--scenario", "words-1"])

    assert status == 2
    assert "without any fault, stock requests met OSError" in capsys.readouterr().err


@pytest.mark.parametrize(("cells", "status"), [([cell()], 0), ([LOST], 1), ([LOST, cell()], 1)])
def test_the_exit_status_is_the_verdict(cells, status, played, capsys):
    """1 as soon as one request is lost that may be repeated."""
    played(*cells)

    assert main(["demo"]) == status
    assert ("FAILED" in capsys.readouterr().out) is bool(status)


def test_json_says_what_is_wrong(played, capsys):
    """The sentences are those of the table."""
    played(LOST)
    status = main(["demo", "--json", "--seed", "7"])
    result = json.loads(capsys.readouterr().out)

    assert status == 1
    assert (result["ok"], result["seed"]) == (False, 7)
    assert result["broken_promises"] == [
        "lost GET-1 under race (ConnectionError, stage request, 0 attempts), which may be repeated"
    ]


def test_the_verdict_comes_first(played, capsys):
    """Then the table, on stdout; what it is about is on stderr, before anything is played."""
    played(LOST)
    main(["demo"])
    out, err = capsys.readouterr()

    assert out.startswith("FAILED: ResilientAdapter lost GET-1 under race")
    assert ["ResilientAdapter", "1/1", "0/0", "0", "0", "1/1", "4", "-"] in [
        line.split() for line in out.splitlines()
    ]
    assert err.startswith(
        "A program starts, and sends four requests at once (2 GET, 2 POST) over mutual\nTLS."
    )


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "it is a folder"),
        ("nowhere/page.html", "No such file or directory"),
        ("page.html/x.html", "Not a directory"),
        ("fd/page.html", "No such file or directory"),
        ("a\0b", "null"),
    ],
)
def test_where_no_page_can_be_written_nothing_is_played(name, why, capsys, tmp_path, monkeypatch):
    """It is said at once, not after half a minute."""
    (tmp_path / "page.html").touch()
    # A folder in which nobody may make a file.
    (tmp_path / "fd").symlink_to("/proc/self/fd")
    monkeypatch.setattr(subcommand, "play", None)
    status = main(["demo", "--html", str(tmp_path / name)])

    assert status == 2
    assert why in capsys.readouterr().err


def test_a_page_that_cannot_be_written_is_told(played, capsys):
    """After the table, which is worth having."""
    played(cell())
    status = main(["demo", "--html", "/dev/full"])
    out, err = capsys.readouterr()

    assert status == 2
    assert "No POST ran twice." in out
    assert err.endswith("demo: --html /dev/full: No space left on device\n")


def test_without_stderr_stdout_is_the_result_alone(played, capsys, monkeypatch):
    """As when a program closes its standard error."""
    played(cell())
    monkeypatch.setattr(sys, "stderr", None)
    main(["demo", "--json"])

    assert json.loads(capsys.readouterr().out)["ok"] is True


def test_without_stdout_there_is_the_status(played, monkeypatch):
    """It is the verdict's."""
    played(LOST)
    monkeypatch.setattr(sys, "stdout", None)

    assert main(["demo"]) == 1


def test_what_stdout_cannot_write_is_spelled_out(capfd, monkeypatch):
    """Nothing that is printed needs more than ASCII, but who knows."""
    ascii_only = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    tell(ascii_only, "caf\xe9")

    assert ascii_only.buffer.getvalue() == b"caf\\xe9\n"


@pytest.mark.slow
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_nobody_need_read_to_the_end(stream):
    """As with `| head` and `2>&1 | head`: no traceback, and the status is the verdict's."""
    code = (
        "import sys; from resilient_transport.cli.terminal import tell\n"
        f"for _ in range(2): tell(sys.{stream}, 'x' * 1000000)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        left, other = process.stdout, process.stderr
        if stream == "stderr":
            left, other = other, left
        left.read(1)
        left.close()
        said = other.read()

    assert said == ""
    assert process.returncode == 0


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_where_there_is_no_room(played, capsys, monkeypatch, name):
    """A result that cannot be written is no result; what else is said is worth no error."""
    played(cell())
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, name, full)
        status = main(["demo"])
    out, err = capsys.readouterr()

    if name == "stderr":
        assert (status, "ResilientAdapter" in out, err) == (0, True, "")
    else:
        assert (status, out) == (2, "")
        assert err.endswith("demo: the result cannot be written: No space left on device\n")


def test_without_trustme_it_says_what_to_install(capsys, monkeypatch):
    """The cure is in the message."""
    monkeypatch.setitem(sys.modules, "trustme", None)
    status = main(["demo"])

    assert status == 2
    assert "pip install '.[demo]' in a clone" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "the following arguments are required: COMMAND"),
        (["demo", "--rounds", "0"], "1 or more, not 0"),
        (["demo", "--rounds", "many"], "invalid"),
        (["demo", "--scenario", "flood"], "choose from"),
    ],
)
def test_bad_arguments_are_refused(arguments, message, capsys):
    """With status 2 and a reason, before anything is started."""
    with pytest.raises(SystemExit) as stopped:
        main(arguments)

    assert stopped.value.code == 2
    assert message in capsys.readouterr().err


def test_what_keeps_it_from_playing_is_told(monkeypatch, capsys):
    """In a sentence, and not by a traceback."""

    def fail(*_, **__):
        raise RuntimeError("the fault server ended with status -9")

    monkeypatch.setattr(subcommand, "play", fail)

    assert main(["demo"]) == 2
    assert capsys.readouterr().err.endswith("demo: the fault server ended with status -9\n")


@pytest.mark.parametrize("extra", [["trustme", "cryptography", "_cffi_backend"], []], ids=["cli", "none"])
def test_it_needs_what_its_extra_installs(extra):
    """And nothing of the other extras: `.ci/run demo` installs `[demo]` alone. Without that it cannot run."""
    code = (
        "import sys\n"
        "class Missing:\n"
        "    def find_spec(name, path=None, target=None):\n"
        "        if name.partition('.')[0] not in {*sys.stdlib_module_names, *sys.argv[1:]}:\n"
        "            raise ModuleNotFoundError(name)\n"
        "sys.meta_path.insert(0, Missing)\n"
        "from resilient_transport.cli.demo import comparison, subcommand, zygote\n"
        "from resilient_transport.testing import Authority, FaultServer\n"
        "FaultServer(authority=Authority()).close()\n"
    )
    needs = ["resilient_transport", "requests", "urllib3", "backoff", "certifi", "idna", "charset_normalizer"]
    done = run_python("-c", code, *needs, *extra, measured=False, check=False)

    assert (done.returncode == 0) is bool(extra)
    assert ("pip install trustme" in done.stderr) is (not extra)


def test_an_interrupt_is_a_status(monkeypatch):
    """Where a program calls `main` itself, and signals are its own: no exception goes past us."""

    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(subcommand, "play", interrupt)

    assert main(["demo"]) == 130


def test_the_package_can_be_run():
    """`python -m resilient_transport --help` lists the commands; to import that module runs nothing."""
    import resilient_transport.__main__  # noqa: F401

    command = [sys.executable, "-m", "resilient_transport", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LONG_TIMEOUT, check=False)

    assert done.returncode == 0
    assert "demo" in done.stdout
