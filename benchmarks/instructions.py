"""How many machine instructions a call takes: a count, which repeats where times don't.

One worker makes a few calls while a tool counts, another one makes more. What they differ by is what the
calls between take: no start, import or handshake is in it.
"""

import functools
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from benchmarks.sites import Site
from benchmarks.workers import Worker

#: Calls of the two workers.
FEW, MANY = 10, 60


@dataclass(frozen=True, slots=True)
class Counter:
    """A tool that counts the instructions of a program it runs."""

    #: Returns the command that runs a program, and writes what it has counted to a file.
    command: Callable[[Path], Sequence[str]]
    #: Where in that file the count is.
    pattern: str
    #: The command that has it begin or end to count in a process; without one it counts all.
    switch: Callable[[bool, int], Sequence[str]] | None = None

    def count(self, place: Path) -> int | None:
        """Return what it has counted, None if it could not."""
        found = re.search(self.pattern, place.read_text(), re.MULTILINE)
        return int(found.group(1)) if found else None

    def turn(self, on: bool, process: int) -> None:
        """Begin or end to count."""
        if self.switch:
            subprocess.run(
                self.switch(on, process), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=True
            )


#: perf asks the processor. valgrind interprets the program, and does so slowly only while it counts.
COUNTERS: Final = (
    Counter(
        lambda place: ("perf", "stat", "-x", ",", "-o", str(place), "-e", "instructions:u", "--"),
        r"^(\d+),,instructions",
    ),
    Counter(
        lambda place: (
            "valgrind", "--tool=callgrind", "--instr-atstart=no", "--callgrind-out-file=/dev/null",
            f"--log-file={place}",
        ),
        r"Collected\s*:\s*(\d+)",
        lambda on, process: ("callgrind_control", "-i", "on" if on else "off", str(process)),
    ),
)  # fmt: skip


@functools.cache
def counter() -> Counter | None:
    """Return the first tool that is there and counts; a virtual machine may hide its counters from perf."""
    for tool in COUNTERS:
        with tempfile.NamedTemporaryFile() as place:
            command = tool.command(Path(place.name))
            if shutil.which(command[0]) is None:
                continue
            subprocess.run([*command, "true"], capture_output=True, check=False)
            if tool.count(Path(place.name)) is not None:
                return tool
    return None


def per_call(contestants: Sequence[str], site: Site, order: dict[str, Any]) -> dict[str, float]:
    """Return the instructions of one call of each; what runs beside them changes no count."""
    runs = [(name, times) for name in contestants for times in (FEW, MANY)]
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        counts = threads.map(lambda run: _counted(run[0], site, {**order, "times": run[1]}), runs)
        found = dict(zip(runs, counts, strict=True))
    return {name: (found[name, MANY] - found[name, FEW]) / (MANY - FEW) for name in contestants}


def _counted(contestant: str, site: Site, order: dict[str, Any]) -> int:
    tool = counter()
    with tempfile.NamedTemporaryFile() as place:
        with Worker(contestant, site, tool.command(Path(place.name))) as worker:
            worker.do("calls", **{**order, "times": FEW})
            tool.turn(True, worker.pid)
            worker.do("calls", **order)
            tool.turn(False, worker.pid)
        found = tool.count(Path(place.name))
        assert found, Path(place.name).read_text()
    return found
