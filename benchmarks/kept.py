"""Rounds of calls over connections that are there already."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from benchmarks.quantities import CPU
from benchmarks.rounds import Comparison, Sample
from benchmarks.sites import Site
from benchmarks.workers import Worker

#: Calls of each contestant in a round.
CALLS: Final = 20


def compared(
    title: str,
    site: Site,
    workers: Mapping[str, Worker],
    compare: Callable[..., Comparison],
    rounds: int,
    order: Mapping[str, Any],
    connections: int = 1,
) -> Comparison:
    """Give each worker the same order in every round; none may open more connections than it needs.

    Args:
        title: what the table says.
        site: who is called.
        workers: who calls.
        compare: the fixture.
        rounds: how many.
        order: for `calls`; with `threads` for `calls_of_threads`.
        connections: how many each may open in all.
    """
    site.new_connections()
    what = "calls_of_threads" if "threads" in order else "calls"
    actions = {
        name: partial(_cpu, worker, what, {"times": CALLS, **order}) for name, worker in workers.items()
    }
    comparison = compare(title, site.name, actions, rounds)
    assert site.new_connections() <= connections * len(workers)
    return comparison


def _cpu(worker: Worker, what: str, order: Mapping[str, Any]) -> Sample:
    """Measure CPU alone: what the clock says is mostly the server's."""
    return {CPU: worker.do(what, **order)[CPU]}
