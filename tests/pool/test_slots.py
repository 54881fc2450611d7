"""Slots of a bounded pool: no lock that a finaliser or a signal handler could meet, and no slot is lost."""

import gc
import queue
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, RetryPolicy
from resilient_transport.pool.slots import Slots
from tests.end_to_end.verbatim_server import KEEP, RST, STALL, Answer, VerbatimServer, told
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

BODY = bytes(range(256)) * 8


def filled(count):
    """Return slots of which so many are free."""
    slots = Slots(count)
    for number in range(count):
        slots.put(number)
    return slots


def test_the_last_is_on_top():
    """As in urllib3's queue."""
    slots = filled(3)

    assert [slots.get() for _ in range(3)] == [2, 1, 0]
    assert slots.qsize() == 0


def test_nothing_is_there():
    """Who does not wait, or not for long enough, is told as by a queue."""
    slots = Slots(1)

    with pytest.raises(queue.Empty):
        slots.get(block=False)
    with pytest.raises(queue.Empty):
        slots.get(timeout=SHORT_TIMEOUT)


def test_there_are_no_more_than_there_were():
    """One too many is refused."""
    with pytest.raises(queue.Full):
        filled(2).put(None, block=False)


def test_who_waits_is_woken():
    """The first that waits gets what becomes free."""
    slots = Slots(1)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(slots.get, timeout=LONG_TIMEOUT)
        while not slots._bells:
            pass
        slots.put("here")

        assert waiting.result(LONG_TIMEOUT) == "here"
    assert not slots._bells


def test_a_bell_that_comes_too_late_is_passed_on():
    """Who has got a slot without its bell, and whom it rings for all the same, wakes the next."""
    slots = Slots(2)
    with ThreadPoolExecutor(2) as threads:
        waiting = [threads.submit(slots.get, timeout=LONG_TIMEOUT) for _ in range(2)]
        while len(slots._bells) < 2:
            pass
        slots.put(1)
        slots.put(2)

        assert sorted(one.result(LONG_TIMEOUT) for one in waiting) == [1, 2]


def test_many_threads_lose_none():
    """Threads take and give, and some are in a hurry: in the end all slots are there, and nobody waits."""
    slots, served = filled(3), []

    def use(number):
        for turn in range(300):
            try:
                slot = slots.get(timeout=0.001 if (number + turn) % 3 else LONG_TIMEOUT)
            except queue.Empty:
                continue
            served.append(slot)
            slots.put(slot)

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(use, range(8)))

    assert sorted(slots.get(block=False) for _ in range(3)) == [0, 1, 2]
    assert not slots._bells
    assert len(served) > 800


def test_a_signal_handler_gives_a_slot_to_its_own_thread():
    """The thread that it has interrupted waits for this slot. A queue's lock would not let it."""
    slots = Slots(1)
    before = signal.signal(signal.SIGALRM, lambda *_: slots.put("mine"))
    try:
        signal.setitimer(signal.ITIMER_REAL, SHORT_TIMEOUT / 4)
        assert slots.get(timeout=LONG_TIMEOUT) == "mine"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def test_an_interrupt_while_waiting_loses_nothing():
    """The slot that it was woken for wakes the next."""

    class Interrupt(BaseException):
        pass

    def interrupt(*_):
        slots.put("next one's")
        raise Interrupt

    slots = Slots(1)
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, SHORT_TIMEOUT / 4)
        with pytest.raises(Interrupt):
            slots.get(timeout=LONG_TIMEOUT)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)

    assert slots.get(block=False) == "next one's"
    assert not slots._bells


# What uses them: streams of a blocking pool.


def adapter_of(kind):
    """Return an adapter with one connection."""
    if kind == "stock":
        return HTTPAdapter(pool_maxsize=1, pool_block=True)
    policy = RetryPolicy(backoff=0, deadline=LONG_TIMEOUT)
    return ResilientAdapter(pool_maxsize=1, pool_block=True, policy=policy)


def open_session(kind="ours"):
    """Return a session with one connection."""
    session = requests.Session()
    session.trust_env = False
    session.mount("http://", adapter_of(kind))
    return session


def whole(cut=None, then=RST):
    """Return an answer with all of a body, or its first bytes and then an end."""
    data = told("200 OK", b"", Content_Length=str(len(BODY)), ETag='"v1"')
    return Answer(data + BODY[:cut], KEEP if cut is None else then)


def rest(at, cut=None, then=RST):
    """Return the part of the body from a byte on."""
    span = f"bytes {at}-{len(BODY) - 1}/{len(BODY)}"
    data = told(
        "206 Partial Content", b"", Content_Length=str(len(BODY) - at), ETag='"v1"', Content_Range=span
    )
    return Answer(data + BODY[at:][:cut], KEEP if cut is None else then)


@pytest.mark.parametrize("answers", [[rest(700)], [Answer(b"", RST), rest(700, cut=100), rest(800)]])
def test_a_stream_keeps_its_slot(answers):
    """While it is resumed, and while attempts to resume it fail, nobody else gets its place."""
    with VerbatimServer([whole(cut=700), *answers, whole()]) as server, open_session() as session:
        response = session.get(server.url, stream=True)
        with ThreadPoolExecutor(1) as threads:
            other = threads.submit(session.get, server.url)
            pool = session.get_adapter(server.url).poolmanager.pools._container
            slots = next(iter(pool.values())).pool
            while not slots._bells:
                pass

            assert response.content == BODY
            assert not other.done() or other.result().content == BODY
            assert other.result(LONG_TIMEOUT).content == BODY
        assert slots.qsize() == 1


def test_a_stream_that_is_given_up_gives_its_slot_back():
    """After its attempts, somebody else is served."""
    refusal = Answer(told("404 None", b"", Content_Length="0"))
    with VerbatimServer([whole(cut=700), refusal, whole()]) as server, open_session() as session:
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            session.get(server.url, stream=True).content  # noqa: B018 - reading it is the point

        assert session.get(server.url).content == BODY


@pytest.mark.parametrize("how", ["raw.close", "forget"])
@pytest.mark.parametrize("read", [0, 750])
def test_a_stream_that_is_left_gives_its_slot_back(how, read):
    """By `raw.close()` or by a finaliser, before and after it was resumed."""
    answers = [whole(cut=700), rest(700, 100, STALL)] if read else [whole(cut=700, then=STALL)]
    with VerbatimServer([*answers, whole()]) as server, open_session() as session:
        response = session.get(server.url, stream=True)
        assert len(response.raw.read(read)) == read
        if how == "raw.close":
            response.raw.close()
        del response
        gc.collect()

        assert session.get(server.url, timeout=LONG_TIMEOUT).content == BODY


def test_stock_loses_it():
    """The control: with stock, `raw.close()` alone gives no place back."""
    with VerbatimServer([whole(cut=700, then=STALL)]) as server, open_session("stock") as session:
        response = session.get(server.url, stream=True)
        response.raw.close()
        pool = next(iter(session.get_adapter(server.url).poolmanager.pools._container.values()))

        assert pool.pool.qsize() == 0
        response.close()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_finaliser_in_the_middle_of_taking_a_slot():
    """Streams are forgotten in rings, with a collector at every moment: nobody meets a lock of his own.

    A ring goes in an order of its own, in which the socket may come first, and then complains.
    """
    before = gc.get_threshold()
    with VerbatimServer(lambda head: whole(cut=100, then=KEEP)) as server, open_session() as session:
        gc.set_threshold(1)
        try:
            for _ in range(50):
                response = session.get(server.url, stream=True, timeout=LONG_TIMEOUT)
                response.ring = response
                del response
                gc.collect()
        finally:
            gc.set_threshold(*before)


def test_a_stream_that_another_thread_forgets():
    """Without the GIL its finaliser waits for the thread that made it; here that waits for the slot."""
    answers = [whole(cut=100, then=KEEP), whole()]
    with VerbatimServer(answers) as server, open_session() as session:
        streams = [session.get(server.url, stream=True)]
        slots = streams[0].raw._pool.pool

        def forget():
            while not slots._bells:
                pass
            streams.clear()

        with ThreadPoolExecutor(1) as threads:
            threads.submit(forget)
            assert session.get(server.url, timeout=LONG_TIMEOUT).content == BODY


def break_off(response, **_):
    """Close a response whose file is closed already, as it is in a ring that goes in an order of its own."""
    connection = response.raw._connection
    response.raw._fp.fp.close()
    with pytest.raises(ValueError, match="closed file"):
        response.raw.close()

    assert connection.sock is None


@pytest.mark.parametrize("stream", [False, True])
def test_a_stream_whose_end_fails_gives_its_slot_back(stream):
    """Where it is streamed and where a hook closes it; what is left of its body is nobody else's."""
    with VerbatimServer([whole(cut=700, then=KEEP), whole()]) as server, open_session() as session:
        hooks = {} if stream else {"response": break_off}
        with suppress(requests.RequestException):
            response = session.get(server.url, stream=stream, hooks=hooks)
            if stream:
                break_off(response)

        assert session.get(server.url, timeout=LONG_TIMEOUT).content == BODY


# The request for the rest is made as the first was.


@pytest.mark.parametrize("stream", [False, True])
def test_a_subclass_adds_its_fields(stream):
    """`add_headers` is called for each attempt, so that a token may be a new one."""
    tokens = iter(range(10))

    class Signing(ResilientAdapter):
        def add_headers(self, request, **kwargs):
            request.headers["X-Token"] = str(next(tokens))

    answers = [whole(cut=700), rest(700, cut=1), rest(701)]
    with VerbatimServer(answers) as server, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", Signing(policy=RetryPolicy(backoff=0)))

        assert session.get(server.url, stream=stream).content == BODY
        assert [server.fields(number)["x-token"] for number in range(3)] == ["0", "1", "2"]
