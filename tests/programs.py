"""Programs that tests run in a Python of their own."""

import subprocess
import sys
from pathlib import Path

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
    ours = clean_environment()
    if not measured:
        ours.pop("COVERAGE_PROCESS_CONFIG", None)
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**ours, **environment},
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
        check=check,
    )
