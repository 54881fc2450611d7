"""All transports side by side, through one scenario after the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack

from ...testing import Authority
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
) -> list[Cell]:
    """Play each scenario with every transport.

    Args:
        scenarios: in their order.
        rounds: how many starts each transport makes in each.
        seed: where the servers' random draws begin.
        shown: shows how far a scenario is.

    Raises:
        NotTrustworthy: calls failed although nothing was made to fail.
        ImportError: trustme is missing.
    """
    cells: list[Cell] = []
    with ExitStack() as stack:
        authority = Authority()
        lanes = [stack.enter_context(Lane(transport, authority)) for transport in TRANSPORTS]
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
