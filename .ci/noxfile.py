"""The tests on each Python, with the lowest and with the newest dependencies that setup.cfg allows.

`.ci/run versions` runs this with the quick tests, and `nox -f .ci/noxfile.py` with all of them. `-p 3.12`
chooses a Python, `-t lowest` the dependencies, and what stands behind `--` goes to pytest. A Python that is
not on PATH is skipped, and named at the end; so is a shim that leads nowhere.
"""

import sys
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from tests.neighbours.allowed import lowest, pythons  # noqa: E402 - the project is not installed here

nox.needs_version = ">= 2025.10"
nox.options.envdir = str(ROOT / ".venv" / "nox")
nox.options.reuse_venv = "yes"
# Nothing is fetched from where interpreters come from, and CI has not got all of them.
nox.options.download_python = "never"
nox.options.error_on_missing_interpreters = False

NEWEST = ["--upgrade", "--upgrade-strategy", "eager"]


@nox.session(python=pythons())
@nox.parametrize(
    "dependencies",
    [nox.param(lowest(), id="lowest", tags=["lowest"]), nox.param(NEWEST, id="newest", tags=["newest"])],
)
def tests(session: nox.Session, dependencies: list[str]) -> None:
    """Install the package with its dependencies, and run the tests; pytest names the versions."""
    session.chdir(ROOT)
    session.install("--editable", ".[dev]", *dependencies)
    session.run("python", "-m", "pytest", *session.posargs)
