"""Virtual environments for tools that cannot live beside each other.

Each lies on top of the project's own: what it has not got itself it finds there. So it takes a few seconds to
make, and is made once.
"""

import fcntl
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from contextlib import contextmanager
from dataclasses import dataclass

from resilient_transport.settings.environment import clean_environment
from tests.missing import missing
from tests.programs import ROOT
from tests.timeouts import HANG_TIMEOUT

#: Where they are kept, beside what else `.ci/run` keeps.
PLACE = ROOT / ".venv" / "neighbours"
#: Tools whose workers make calls; they lie in one environment, called "workers".
WORKERS = ("gunicorn>=23", "celery", "joblib")
#: Seconds that pip may take; a slow index is no failure of ours.
PATIENCE = 300.0
#: What is installed where tests share an environment. (locust is a program of gevent's.)
HOLDS = {
    "eventlet": ("eventlet",),
    "gevent": ("gevent", "locust"),
    "tools": (
        "betamax", "docker", "google-auth", "google-resumable-media", "pytest-httpserver",
        "requests-cache", "requests-futures", "requests-mock", "requests-oauthlib", "requests-ratelimiter",
        "sentry-sdk", "tenacity", "zeep",
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Environment:
    """One virtual environment."""

    #: Its interpreter.
    python: str

    @classmethod
    def of(cls, name, *arguments, **environment):
        """Return the environment of this name; make it, if it is not there.

        Args:
            name: a name for what is in it.
            arguments: what `pip install` is told.
            environment: what is set while it runs.
        """
        home = PLACE / f"{name}-{sysconfig.get_python_version()}"
        python = home / "bin" / "python"
        wanted = json.dumps([arguments, environment])
        with held(PLACE / f"{name}.lock"):
            stamp = home / "stamp"
            if not stamp.exists() or stamp.read_text() != wanted:
                shutil.rmtree(home, ignore_errors=True)
                made(home, python, arguments, environment)
                stamp.write_text(wanted)
        return cls(str(python))

    def run(self, *arguments, check=True, **environment):
        """Run Python with these arguments, from the root of the project."""
        return subprocess.run(
            [self.python, *arguments],
            cwd=ROOT,
            env={**clean_environment(), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore", **environment},
            capture_output=True,
            text=True,
            timeout=HANG_TIMEOUT,
            check=check,
        )


@contextmanager
def held(path):
    """Let no other process of this run make the same environment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def made(home, python, arguments, environment):
    """Make an environment; where the package cannot be had, skip the test, or fail it with CI=true."""
    venv.create(home, with_pip=False, symlinks=True)
    packages = next(home.glob("lib/python*/site-packages"))
    ours = sysconfig.get_path("purelib")
    (packages / "beneath.pth").write_text(f"{ours}\n")
    for command in commands(str(python)):
        installed = subprocess.run(
            [sys.executable, "-m", *command, *arguments],
            env={**os.environ, **environment},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if not installed.returncode:
            return
    shutil.rmtree(home, ignore_errors=True)
    why = f"pip cannot install {' '.join(arguments)}: {installed.stderr[-300:]}"
    missing(why)


def commands(python):
    """Return what installs into an environment, to be tried in their order.

    uv takes a tenth of pip's time. pip knows the indexes that are set for pip alone.
    """
    # Python compiles what is imported, which is little of it.
    with_pip = ["pip", "--python", python, "install", "--quiet", "--no-input", "--no-compile"]
    with_uv = ["uv", "pip", "install", "--quiet", "--python", python]
    return [with_uv, [*with_pip, "--disable-pip-version-check"]]
