"""A program that has just started and makes four calls at once; run by `test_burst` as a fresh process.

Its argument is an order as JSON, its output a sample. Starting the interpreter and importing is not in it,
making sessions and adapters is. Each call has a session of its own, as it is in a program whose plugins do
not know each other.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from benchmarks.contestants import session_of
from benchmarks.rounds import timed
from resilient_transport.settings.environment import clean_environment
from tests.timeouts import LONG_TIMEOUT

METHODS: Final = ("GET", "GET", "POST", "POST")
_ROOT: Final = Path(__file__).resolve().parents[1]


def in_fresh_process(contestant: str, url: str, ca_file: str, cert: tuple[str, str]) -> dict[str, float]:
    """Let a new interpreter run the burst; return its CPU and wall time."""
    order = {"contestant": contestant, "url": url, "ca_file": ca_file, "cert": cert}
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.burst", json.dumps(order)],
        cwd=_ROOT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        check=True,
    )
    sample: dict[str, float] = json.loads(done.stdout)
    return sample


def burst(order: Mapping[str, Any]) -> dict[str, float]:
    """Make the calls; raise if one of them was not answered with 200."""
    with ExitStack() as stack:

        def call(method: str) -> None:
            session = stack.enter_context(
                session_of(order["contestant"], order["ca_file"], tuple(order["cert"]))
            )
            body = b"{}" if method == "POST" else None
            session.request(method, order["url"], data=body, timeout=LONG_TIMEOUT).raise_for_status()

        threads = stack.enter_context(ThreadPoolExecutor(len(METHODS)))
        return timed(lambda: list(threads.map(call, METHODS)))


if __name__ == "__main__":
    print(json.dumps(burst(json.loads(sys.argv[1]))))
