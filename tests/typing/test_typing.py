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
from tests.programs import ROOT, run_python
from tests.timeouts import HANG_TIMEOUT
from tests.typing.accepted import wrap

HERE = Path(__file__).parent


def complaints(name, version):
    """Return the lines of a file that mypy complains about, and the last line that it says.

    What it has to say of the package itself is another matter, and depends on the urllib3 that is installed.
    """
    options = ["--strict", "--follow-imports=silent", "--python-version", version]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, str(HERE / name)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
        check=False,
    )
    told = re.findall(rf"^\S*{name}:(\d+): error: ", done.stdout, re.MULTILINE)
    return sorted({int(line) for line in told}), done.stdout.strip().splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize("version", ["3.10", "3.13"])
def test_mypy_accepts_what_is_allowed(version):
    """Sets, lists and tuples; arguments of the adapter by their names, wherever they are passed on."""
    assert complaints("accepted.py", version) == ([], "Success: no issues found in 1 source file")


def refused_lines():
    """Return the lines that a type checker has to refuse."""
    lines = (HERE / "refused.py").read_text().splitlines()
    return [number for number, line in enumerate(lines, 1) if line.endswith("# refused")]


@pytest.mark.slow
def test_mypy_refuses_what_is_wrong():
    """Each typo and each value of another type, and nothing else in the file."""
    found, _ = complaints("refused.py", "3.10")

    assert len(refused_lines()) == 21
    assert found == refused_lines()


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


@pytest.mark.parametrize("function", [mount, install])
def test_nothing_more_is_installed_for_that(function):
    """`typing_extensions` is for type checkers alone."""
    text = (
        "import sys; sys.modules['typing_extensions'] = None; import inspect, resilient_transport as ours; "
    )
    text += f"print(inspect.signature(ours.{function.__name__}))"

    assert "**settings" in run_python("-c", text).stdout


def test_help_explains_every_field_of_a_policy():
    """`help(RetryPolicy)` has a line for each field, in their order."""
    section = inspect.getdoc(RetryPolicy).split("\nArgs:\n")[1].split("\nRaises:\n")[0]
    told = re.findall(r"^    (\w+): ", section, re.MULTILINE)

    assert told == [field.name for field in fields(RetryPolicy)]


def test_help_explains_every_argument_of_an_override():
    """The same for `help(override)`."""
    assert all(f"{name}: " in override.__doc__ for name in inspect.signature(override).parameters)
