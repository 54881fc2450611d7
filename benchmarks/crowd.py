"""A crowd that waits at a gate for a slow leader: how fast it is let in, and what it holds meanwhile."""

import math
import threading
import time
import tracemalloc
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from unittest import mock

from resilient_transport.connection.trace import Trace
from resilient_transport.gate import gate
from resilient_transport.gate.caller import Caller
from resilient_transport.gate.permit import Permit
from resilient_transport.gate.waiter import Waiter
from resilient_transport.pool.shared_pool import SharedPool

#: How many wait.
CROWD: Final = 1000
_STACK: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Crowd:
    """What was measured of one."""

    #: Seconds from the leader's success until the last was let in.
    released_in: float
    #: Bytes that Python holds for each that waits, besides its thread.
    held: float


def measure() -> Crowd:
    """Let a crowd wait, and then in."""
    # However long it takes to start the threads, nobody is let in meanwhile.
    with mock.patch.object(gate, "STALLED", math.inf):
        released_in, held = _at_a_gate()
    return Crowd(released_in, held - _at_a_lock())


#: What is to be reached: seconds, and bytes.
RELEASED_IN, HELD = 0.1, 2000


def said(crowds: Sequence[Crowd]) -> str:
    """Return what is told of them."""
    return "\n\n".join(map(_sentence, crowds))


def _sentence(crowd: Crowd) -> str:
    good = crowd.released_in <= RELEASED_IN and crowd.held <= HELD
    return (
        f"Of {CROWD} threads that wait at the gate, the last is let in {crowd.released_in * 1e3:.0f} ms "
        f"after the leader's success; each holds {crowd.held:.0f} bytes, besides its thread. To reach are "
        f"{RELEASED_IN * 1e3:.0f} ms and {HELD} bytes: {'yes' if good else '**no**'}."
    )


def _at_a_gate() -> tuple[float, float]:
    pool, times = SharedPool("crowd"), [0.0]

    def come() -> Any:
        return pool._wait(Waiter(lambda item: True, Caller(lambda: True)), None, Trace())

    def use(granted: Any) -> None:
        # Its call is over at once: what it has is the next one's.
        if isinstance(granted, Permit):
            granted.succeeded()
        pool.gate.offer(Trace())  # type: ignore[arg-type]

    def wait() -> None:
        granted = come()
        times.append(time.perf_counter())
        use(granted)

    leader = come()
    threads, held = _started(wait, lambda: pool.gate.waiting() == CROWD)
    began = time.perf_counter()
    use(leader)
    for thread in threads:
        thread.join()
    return max(times) - began, held


def _at_a_lock() -> float:
    lock, waiting = threading.Lock(), []
    lock.acquire()

    def wait() -> None:
        waiting.append(1)
        with lock:
            pass

    threads, held = _started(wait, lambda: len(waiting) == CROWD)
    lock.release()
    for thread in threads:
        thread.join()
    return held


def _started(work: Callable[[], None], all_wait: Callable[[], bool]) -> tuple[list[threading.Thread], float]:
    """Start threads; return them when they wait, and how many bytes each of them holds."""
    before = threading.stack_size(_STACK)
    tracemalloc.start()
    try:
        threads = [threading.Thread(target=work, daemon=True) for _ in range(CROWD)]
        for thread in threads:
            thread.start()
        while not all_wait():
            time.sleep(0.01)
        return threads, tracemalloc.get_traced_memory()[0] / CROWD
    finally:
        tracemalloc.stop()
        threading.stack_size(before)
