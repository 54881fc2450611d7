"""The end of the pipe that gives orders: processes of contestants, fresh ones and ones that stay."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from benchmarks.contestants import NIQUESTS
from benchmarks.rounds import Action, Sample
from benchmarks.sites import Site
from resilient_transport.settings.environment import clean_environment
from tests.neighbours.environments import Environment

_ROOT: Final = Path(__file__).resolve().parents[1]


class Worker:
    """A process that works for one contestant, from construction to `close`."""

    def __init__(self, contestant: str, site: Site, command: Iterable[str] = ()) -> None:
        """Start it.

        Args:
            contestant: whose it is.
            site: whose CA it trusts, and which certificate it shows.
            command: a program that runs it and its arguments, such as one that counts instructions.
        """
        self._process = subprocess.Popen(
            [
                *command,
                interpreter(contestant),
                "-m",
                "benchmarks.worker",
                contestant,
                site.ca_file,
                *site.cert,
            ],
            cwd=_ROOT,
            env={**clean_environment(), "PYTHONPATH": str(_ROOT), "NETRC": os.devnull, "PYTHONHASHSEED": "0"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    def do(self, what: str, **how: Any) -> Sample:
        """Give an order of `work.py`; return its sample."""
        self._process.stdin.write(json.dumps({"do": what, **how}) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError(f"a worker ended with status {self._process.wait()}: it has said why above")
        return json.loads(answer)

    def close(self) -> None:
        """Let it end, and wait for that."""
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait()

    def __enter__(self) -> "Worker":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def fresh(contestant: str, site: Site, what: str, command: Iterable[str] = (), **how: Any) -> Sample:
    """Give one order to a process that was made for it, and that a command runs, if any."""
    with Worker(contestant, site, command) as worker:
        return worker.do(what, **how)


@contextmanager
def staying(contestants: Iterable[str], site: Site) -> Iterator[dict[str, Worker]]:
    """Give a process to each contestant that can be had here; they end with the block."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(Worker(name, site)) for name in available(contestants)}


def orders(workers: Mapping[str, Worker], what: str, **how: Any) -> dict[str, Action]:
    """Return the same order for each of them, as actions for `alternate`."""
    return {name: functools.partial(worker.do, what, **how) for name, worker in workers.items()}


def available(contestants: Iterable[str]) -> list[str]:
    """Return those that can be had here."""
    return [name for name in contestants if name not in absent()]


@functools.cache
def absent() -> Mapping[str, str]:
    """Say who cannot be had here, and why."""
    try:
        interpreter(NIQUESTS)
    except pytest.skip.Exception as why:
        return {NIQUESTS: " ".join(str(why).split())}
    return {}


@functools.cache
def interpreter(contestant: str) -> str:
    """Return the Python of a contestant: niquests brings a urllib3 that takes urllib3's place."""
    return Environment.of("niquests", "niquests").python if contestant == NIQUESTS else sys.executable
