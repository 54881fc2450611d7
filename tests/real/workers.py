"""Several processes that make calls at the same time, as `tests/real/shared_worker.py` says."""

import json
import subprocess
import sys
from typing import Any

from resilient_transport.settings.environment import clean_environment
from tests.programs import ROOT
from tests.timeouts import LONG_TIMEOUT


class Workers:
    """So many processes; leave the block to end them."""

    def __init__(self, number: int) -> None:
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tests.real.shared_worker"],
                cwd=ROOT,
                env=clean_environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for _ in range(number)
        ]

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            # The end of its input is its own.
            process.communicate(timeout=LONG_TIMEOUT)

    def tell(self, which: int, **command: Any) -> None:
        """Have one of them do something."""
        pipe = self.processes[which].stdin
        assert pipe is not None
        pipe.write(json.dumps(command) + "\n")
        pipe.flush()

    def hear(self, which: int) -> Any:
        """Return what came of the command that it was told first."""
        pipe = self.processes[which].stdout
        assert pipe is not None
        return json.loads(pipe.readline())

    def one(self, which: int, **command: Any) -> Any:
        """Have one of them do something; return what came of it."""
        self.tell(which, **command)
        return self.hear(which)

    def all(self, **command: Any) -> list[Any]:
        """Have all of them do the same at the same time; return what came of it, for each."""
        for which in range(len(self.processes)):
            self.tell(which, **command)
        return [self.hear(which) for which in range(len(self.processes))]
