"""Who checks types sees a wrong name and a wrong value before the program runs."""

import inspect
import json
import re
import subprocess
import sys
import typing
from dataclasses import fields
from pathlib import Path

import pytest

import resilient_transport
from resilient_transport import (
    AdapterArguments,
    Attempt,
    Breaker,
    ResilientAdapter,
    RetryPolicy,
    install,
    mount,
    override,
)
from tests.neighbours.conftest import no_hang_timeout
from tests.neighbours.environments import Environment
from tests.programs import ROOT
from tests.timeouts import HANG_TIMEOUT
from tests.typing.accepted import wrap

HERE = Path(__file__).parent


#: This Python's, for which mypy knows the package: `.ci/run check` asks with the same options. And another.
VERSIONS = [(), ("--python-version", "3.13" if sys.version_info < (3, 11) else "3.10")]


def complaints(version):
    """Return the lines of each file that mypy complains about, and the last line that it says.

    What it has to say of the package itself is another matter, and depends on the urllib3 that is installed.
    """
    files = [str(HERE / name) for name in ("accepted.py", "refused.py")]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", *version, *files],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
        check=False,
    )
    told = set(re.findall(r"^\S*\b(accepted|refused)\.py:(\d+): error: ", done.stdout, re.MULTILINE))
    found = {
        name: sorted(int(line) for file, line in told if file == name) for name in ("accepted", "refused")
    }
    return found, done.stdout.strip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS, ids=["this Python", "another"])
def test_mypy_accepts_what_is_allowed_and_refuses_what_is_wrong(version):
    """Sets, lists and tuples, and arguments by their names; but no typo, and no value of another type."""
    found, last = complaints(version)

    assert len(refused_lines()) == 21
    assert found == {"accepted": [], "refused": refused_lines()}
    assert last.endswith("(checked 2 source files)")


def refused_lines():
    """Return the lines that a type checker has to refuse."""
    lines = (HERE / "refused.py").read_text().splitlines()
    return [number for number, line in enumerate(lines, 1) if line.endswith("# refused")]


@pytest.fixture(scope="module")
def pyright(request):
    """Return an environment with basedpyright: pyright, and the node that it needs, from no other place."""
    with no_hang_timeout(request.config):
        return Environment.of("pyright", "basedpyright>=1.31")


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_pyright_says_the_same(pyright, version, tmp_path):
    """Strictly, it accepts what is allowed, and refuses the same lines as mypy; that is the control."""
    files = [str(HERE / name) for name in ("accepted.py", "refused.py")]
    settings = {"include": files, "extraPaths": [str(ROOT)], "typeCheckingMode": "strict"}
    project = tmp_path / "pyrightconfig.json"
    project.write_text(json.dumps({**settings, "pythonVersion": version}), encoding="utf-8")
    options = ["--pythonpath", sys.executable, "--project", str(project), "--outputjson"]
    told = json.loads(pyright.run("-m", "basedpyright", *options, check=False).stdout)
    errors = [each for each in told["generalDiagnostics"] if each["severity"] == "error"]
    found = {(Path(each["file"]).name, each["range"]["start"]["line"] + 1) for each in errors}

    assert told["summary"]["filesAnalyzed"] == 2
    assert found == {("refused.py", line) for line in refused_lines()}


@pytest.mark.parametrize("line", (HERE / "refused.py").read_text().splitlines()[11:])
def test_the_same_is_refused_at_run_time(line):
    """The control: the types refuse nothing that would have worked."""
    with pytest.raises((TypeError, ValueError)):
        eval(line.strip(), dict(vars(resilient_transport), session=None))


def test_the_arguments_are_the_constructors():
    """What `mount` and `install` pass on has the constructor's names and types."""
    signature = inspect.signature(ResilientAdapter.__init__).parameters
    constructor = {name: one.annotation for name, one in signature.items() if name != "self"}
    passed_on = {name: one.__forward_arg__ for name, one in AdapterArguments.__annotations__.items()}

    assert passed_on == constructor


@pytest.mark.skipif(sys.version_info < (3, 11), reason="there is no typing.Unpack")
@pytest.mark.parametrize("function", [mount, install, wrap])
def test_hints_can_be_read_at_run_time(function):
    """As tools do that make forms or commands of them; also those of who passes arguments on."""
    assert "AdapterArguments" in repr(typing.get_type_hints(function)["settings"])


@pytest.mark.parametrize("of", [AdapterArguments, Attempt, Breaker, RetryPolicy, override.__init__])
def test_all_hints_can_be_read(of):
    """The rest of what is public."""
    assert typing.get_type_hints(of)


@pytest.mark.parametrize("statuses", [range(500, 503), [500, 501, 502], (500, 501, 502), {500, 501, 502}])
def test_statuses_are_a_set_at_last(statuses):
    """What the types accept is what works."""
    policy = RetryPolicy(statuses=statuses, retry_after_statuses=statuses)

    assert policy.statuses == policy.retry_after_statuses == {500, 501, 502}


def test_nothing_more_is_installed_for_that(forks):
    """`typing_extensions` is for type checkers alone."""
    text = "import inspect, sys; sys.modules['typing_extensions'] = None\n"
    text += "import resilient_transport as ours\n"
    text += "print(*(inspect.signature(function) for function in (ours.mount, ours.install)), sep='\\n')"

    assert ["**settings" in line for line in forks.run(text).stdout.splitlines()] == [True, True]


def test_help_explains_every_field_of_a_policy():
    """`help(RetryPolicy)` has a line for each field, in their order."""
    section = inspect.getdoc(RetryPolicy).split("\nArgs:\n")[1].split("\nRaises:\n")[0]
    told = re.findall(r"^    (\w+): ", section, re.MULTILINE)

    assert told == [field.name for field in fields(RetryPolicy)]


def test_help_explains_every_argument_of_an_override():
    """The same for `help(override)`."""
    assert all(f"{name}: " in override.__doc__ for name in inspect.signature(override).parameters)
