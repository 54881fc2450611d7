"""All transports side by side, through one scenario after the other."""

from __future__ import annotations

import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path

from ...testing import Authority
from ..interrupt import on_interrupt
from .cell import Cell
from .lane import Lane
from .progress import Tick
from .scenarios import Scenario
from .transports import TRANSPORTS


def play(
    scenarios: Sequence[Scenario],
    rounds: int,
    seed: int,
    shown: Callable[[Scenario], AbstractContextManager[Tick]],
    in_detail: bool = False,
) -> list[Cell]:
    """Play each scenario with every transport.

    Args:
        scenarios: in their order.
        rounds: how many starts each transport makes in each.
        seed: where the servers' random draws begin.
        shown: shows how far a scenario is.
        in_detail: let each attempt be told, with the times of its stages.

    Raises:
        NotTrustworthy: calls failed although nothing was made to fail.
        ImportError: trustme is missing.
    """
    cells: list[Cell] = []
    with ExitStack() as stack:
        authority = Authority(stack.enter_context(_directory()))
        lanes = [stack.enter_context(Lane(transport, authority, in_detail)) for transport in TRANSPORTS]
        for lane in lanes:
            # Before it has its first order, the process ends by itself when this one does.
            stack.enter_context(on_interrupt(lane.kill))
        threads = stack.enter_context(ThreadPoolExecutor(len(lanes)))
        for lane in lanes:
            # However this ends: the threads are waited for before the lanes are closed.
            stack.callback(lane.stop)
        for scenario in scenarios:
            digest = lanes[0].reference(scenario)
            with shown(scenario) as tick:
                jobs = [threads.submit(lane.play, scenario, rounds, seed, digest, tick) for lane in lanes]
                cells += [job.result() for job in jobs]
    return cells


@contextmanager
def _directory() -> Iterator[Path]:
    """A temporary directory that is gone afterwards, however this ends."""
    # Its name is known before it is there, so that an interrupt in between leaves none behind.
    path = Path(tempfile.gettempdir(), f"resilient-transport-demo-{secrets.token_hex(8)}")
    remove = partial(shutil.rmtree, path, ignore_errors=True)
    with on_interrupt(remove):
        try:
            path.mkdir(mode=0o700)
            yield path
        finally:
            remove()
