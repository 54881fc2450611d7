"""The same program twice: as Python runs it, and under `run`."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from resilient_transport.settings.environment import clean_environment
from tests.timeouts import HANG_TIMEOUT

#: A module that can be run in this place, too.
RUN = ("-m", "resilient_transport", "run")
#: The interpreter outside of the virtual environment.
BASE = os.path.realpath(sys.executable)
LOOK = str(Path(__file__).with_name("look.py"))


@dataclass(frozen=True)
class End:
    """How a program has ended, and what it said."""

    #: Its exit status; minus the number of the signal that has ended it.
    status: int
    #: Standard output.
    out: str
    #: Standard error.
    err: str

    @property
    def seen(self):
        """What `look.py` has seen."""
        return json.loads(self.out)


def started(*arguments, python=sys.executable, cwd=None, text=None, **environment):
    """Run Python with these arguments; a variable that is None is taken out of the environment."""
    variables = {**clean_environment(), **environment}
    done = subprocess.run(
        [python, *arguments],
        cwd=cwd,
        env={name: value for name, value in variables.items() if value is not None},
        input=text or "",
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
        check=False,
    )
    # An address tells nothing.
    return End(done.returncode, done.stdout, re.sub(r" at 0x\w+", "", done.stderr))


def twice(*program, options=(), run=RUN, **kwargs):
    """Run a program without `run`, and with it.

    Args:
        program: its name and its arguments, as Python takes them.
        options: those of Python.
        run: what Python is told, besides, to run it.
        kwargs: as for `started`.
    """
    return started(*options, *program, **kwargs), started(*options, *run, *program, **kwargs)
