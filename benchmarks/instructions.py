"""How many machine instructions a call takes: a count, which repeats where times don't.

A tool that counts runs a worker that makes a few calls, and one that makes more. What they differ by is what
the calls between take: no start, import or handshake is in it.
"""

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from benchmarks.sites import Site
from benchmarks.workers import Worker

#: Calls of the two workers.
FEW, MANY = 10, 50


def by_perf(place: Path) -> list[str]:
    """Return the command for perf, which asks the processor."""
    return ["perf", "stat", "-x", ",", "-o", str(place), "-e", "instructions:u", "--"]


def by_callgrind(place: Path) -> list[str]:
    """Return the command for valgrind, which interprets the program."""
    return [
        "valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", f"--log-file={place}",
    ]  # fmt: skip


#: The tools, the quickest first, and where in their words the count is.
TOOLS: Final[Sequence[tuple[Callable[[Path], list[str]], str]]] = (
    (by_perf, r"^(\d+),,instructions"),
    (by_callgrind, r"Collected\s*:\s*(\d+)"),
)


def counted(said: str, pattern: str) -> int | None:
    """Return the count that a tool has told, None if it could not count."""
    found = re.search(pattern, said, re.MULTILINE)
    return int(found.group(1)) if found else None


@functools.cache
def tool() -> tuple[Callable[[Path], list[str]], str] | None:
    """Return the first tool that is there and counts; a virtual machine may hide its counters from perf."""
    for command, pattern in TOOLS:
        with tempfile.NamedTemporaryFile() as place:
            run = command(Path(place.name))
            if shutil.which(run[0]) is None:
                continue
            subprocess.run([*run, "true"], capture_output=True, check=False)
            if counted(Path(place.name).read_text(), pattern):
                return command, pattern
    return None


def per_call(contestants: Sequence[str], site: Site, order: dict[str, Any]) -> dict[str, float]:
    """Return the instructions of one call of each; what runs beside them changes no count."""
    runs = [(name, times) for name in contestants for times in (FEW, MANY)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        found = threads.map(lambda run: _of_all(run[0], site, {**order, "times": run[1]}), runs)
        counts = dict(zip(runs, found, strict=True))
    return {name: (counts[name, MANY] - counts[name, FEW]) / (MANY - FEW) for name in contestants}


def _of_all(contestant: str, site: Site, order: dict[str, Any]) -> int:
    command, pattern = tool()
    with tempfile.NamedTemporaryFile() as place:
        with Worker(contestant, site, command(Path(place.name))) as worker:
            worker.do("calls", **order)
        said = Path(place.name).read_text()
    found = counted(said, pattern)
    assert found, said
    return found
