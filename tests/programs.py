"""Programs that tests run in a Python of their own."""

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

import resilient_transport
from resilient_transport.settings.environment import clean_environment
from tests.timeouts import HANG_TIMEOUT

ROOT = Path(resilient_transport.__file__).parents[1]


def run_python(
    *arguments: str, check: bool = True, measured: bool = True, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run Python with these arguments; return how that ended and what it said.

    Args:
        arguments: those of the interpreter.
        check: whether an ending other than 0 is an error.
        measured: whether coverage sees what it runs, which makes a busy program take half as long again.
        environment: what is set besides this process's own, without certificates and proxies.
    """
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**environment_of_programs(measured), **environment},
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
        check=check,
    )


def environment_of_programs(measured: bool) -> dict[str, str]:
    """Return this process's own, without certificates and proxies, and perhaps without coverage."""
    ours = clean_environment()
    if not measured:
        ours.pop("COVERAGE_PROCESS_CONFIG", None)
    return ours


class Forks:
    """A Python that is started once, and runs programs in forks of itself: to start and to import takes long.

    A program begins with the modules that this Python has imported. What a variable of the environment tells
    Python when it starts is not told to it, and coverage does not see what it runs.
    """

    def __init__(self, process: "subprocess.Popen[str]", folder: Path) -> None:
        self._process = process
        self._files = [folder / "out", folder / "err"]

    def run(self, text: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run a program; return how that ended and what it said.

        Args:
            text: the program.
            arguments: its own.
            environment: what is set besides this process's own, without certificates and proxies.
        """
        for file in self._files:
            file.write_bytes(b"")
        order = {
            "text": text,
            "arguments": arguments,
            "environment": {**environment_of_programs(measured=False), **environment},
            "files": list(map(str, self._files)),
        }
        print(json.dumps(order), file=self._process.stdin, flush=True)
        status = int(self._process.stdout.readline())
        return subprocess.CompletedProcess(text, status, *(file.read_text() for file in self._files))


@contextmanager
def forks_with(*modules: str) -> Iterator[Forks]:
    """Start a Python that has imported these modules, and end it."""
    with (
        TemporaryDirectory() as folder,
        subprocess.Popen(
            [sys.executable, "-m", "tests.forking", *modules],
            cwd=ROOT,
            env=environment_of_programs(measured=False),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        yield Forks(process, Path(folder))


@pytest.fixture(scope="session")
def forks() -> Iterator[Forks]:
    """Return a Python that has imported requests, and nothing of this package."""
    with forks_with("requests") as forks:
        yield forks


@pytest.fixture(scope="session")
def our_forks() -> Iterator[Forks]:
    """Return a Python that has imported requests and this package."""
    with forks_with("requests", "resilient_transport.public_names") as forks:
        yield forks
