"""What a worker can be told to do for its contestant; each order returns a sample."""

import gc
import time
import tracemalloc
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from functools import partial
from typing import Any, Final

from benchmarks.clients import Client, load, maker
from benchmarks.contestants import OURS, WARMED
from benchmarks.quantities import COMPLETED, CPU, MEMORY, WALL
from benchmarks.rounds import timed


class Work:
    """What an order may use: whose it is, and what stays between orders."""

    def __init__(self, contestant: str, ca_file: str, cert: Sequence[str]) -> None:
        load(contestant)
        self.contestant = contestant
        self.make = partial(maker, contestant, ca_file, tuple(cert))
        self._stack = ExitStack()
        self._client: Client | None = None
        self._threads: ThreadPoolExecutor | None = None

    @property
    def client(self) -> Client:
        """A client whose connections stay."""
        self._client = self._client or self._stack.enter_context(closing(self.make()()))
        return self._client

    def threads(self, most: int) -> ThreadPoolExecutor:
        """Threads that stay, always as many."""
        self._threads = self._threads or self._stack.enter_context(ThreadPoolExecutor(most))
        return self._threads

    def close(self) -> None:
        """Close what has stayed."""
        self._stack.close()


def calls(
    work: Work, url: str, times: int, method: str = "GET", body: str | None = None, prepared: bool = False
) -> dict[str, float]:
    """Make calls one after the other over a kept connection; return what one of them takes."""
    call = _call(work, url, method, body, prepared)
    gc.collect()
    return timed(call, times)


def calls_of_threads(work: Work, url: str, times: int, threads: int) -> dict[str, float]:
    """Make GETs in so many threads that share a client; return what one takes, all threads counted."""
    call = _call(work, url, "GET", None, False)
    run = partial(_repeat, call, times // threads)
    gc.collect()
    sample = timed(lambda: list(work.threads(threads).map(lambda _: run(), range(threads))))
    return {quantity: value / times for quantity, value in sample.items()}


def burst(
    work: Work, url: str, methods: Sequence[str], shared: bool = False, warm: int = 0
) -> dict[str, float]:
    """Make calls at once, each with a client of its own, or all with one.

    Making the clients is in it. Who is warmed has so many connections before that.
    """
    with ExitStack() as stack:
        if work.contestant == WARMED:
            _warm(stack.enter_context(closing(work.make()())), url, warm or len(methods))
        threads = stack.enter_context(ThreadPoolExecutor(len(methods)))
        completed: list[str] = []

        def at_once() -> None:
            make = work.make()
            only = stack.enter_context(closing(make())) if shared else None

            def call(method: str) -> None:
                client = only or stack.enter_context(closing(make()))
                # Whatever a library raises: how many have come through is told.
                with suppress(Exception):
                    client.call(method, url, b"{}" if method == "POST" else None)
                    completed.append(method)

            list(threads.map(call, methods))

        gc.collect()
        return {**timed(at_once), COMPLETED: len(completed)}


def now_and_then(work: Work, url: str, times: int, pause: float, ignored: int) -> dict[str, float]:
    """Make POSTs with a pause before each, which is not counted; return what those after the first take."""
    call, total = _call(work, url, "POST", "{}", False), dict.fromkeys((CPU, WALL), 0.0)
    for number in range(times):
        time.sleep(pause if number else 0)
        sample = timed(call)
        if number >= ignored:
            total = {name: total[name] + sample[name] for name in total}
    return {**total, COMPLETED: times}


def fetch(work: Work, url: str, tiny: str, length: int, streamed: bool) -> dict[str, float]:
    """Fetch a body over a connection that is there, and nobody else's."""
    return _fetching(work, url, tiny, length, streamed, timed)


def peak(work: Work, url: str, tiny: str, length: int, streamed: bool) -> dict[str, float]:
    """Do the same; return the most that Python had allocated at once."""
    return _fetching(work, url, tiny, length, streamed, _peak)


#: What a worker understands.
ORDERS: Final[dict[str, Callable[..., dict[str, float]]]] = {
    order.__name__: order for order in (calls, calls_of_threads, burst, now_and_then, fetch, peak)
}


def _call(work: Work, url: str, method: str, body: str | None, prepared: bool) -> Callable[[], Any]:
    if prepared:
        return work.client.prepared(method, url)
    return partial(work.client.call, method, url, None if body is None else body.encode())


def _repeat(call: Callable[[], object], times: int) -> None:
    for _ in range(times):
        call()


def _warm(client: Client, url: str, connections: int) -> None:
    """Have connections before the clock starts, as a program does at its start."""
    client.session.get_adapter(url).warm(url, connections, session=client.session)


def _fetching(work: Work, url: str, tiny: str, length: int, streamed: bool, measure: Any) -> dict[str, float]:
    """Measure one fetch; all of the body has to come."""
    with closing(work.make()()) as client:

        def whole() -> None:
            came = client.stream(url) if streamed else len(client.call("GET", url))
            assert came == length

        client.call("GET", tiny)
        gc.collect()
        sample = measure(whole)
    if work.contestant == OURS:
        from resilient_transport import registry

        registry.clear()
    return sample


def _peak(action: Callable[[], None]) -> dict[str, float]:
    tracemalloc.start()
    try:
        action()
        return {MEMORY: tracemalloc.get_traced_memory()[1]}
    finally:
        tracemalloc.stop()
