"""Settings from around the code that makes a call."""

import contextvars
import functools
import math
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from resilient_transport import override
from resilient_transport.settings.override import Overrides, overrides
from tests.timeouts import LONG_TIMEOUT


def held():
    """Return what holds here, as values that can be compared."""
    here = overrides()
    return here.retries, here.expires, here.retry_non_idempotent


NOTHING = (None, None, None)


@pytest.fixture
def executor():
    """Return real threads, which know nothing of the context of whoever gives them work."""
    with ThreadPoolExecutor(2) as pool:
        yield pool


def test_outside_of_every_block_nothing_holds():
    """The control of all that follows."""
    assert held() == NOTHING
    assert overrides() == Overrides()


def test_a_block_sets_what_it_names_and_ends():
    """What it does not name stays as it was, and afterwards everything does."""
    with override(retries=3):
        inside = held()

    assert inside == (3, None, None)
    assert held() == NOTHING


def test_a_block_ends_with_an_exception():
    """However it is left, what it said holds no longer."""
    with pytest.raises(KeyError), override(retries=3, retry_non_idempotent=True):
        raise KeyError

    assert held() == NOTHING


def test_the_inner_block_wins():
    """Each value on its own; an inner block that does not name one leaves it."""
    story = []
    with override(retries=3, retry_non_idempotent=True):
        with override(retries=0):
            story.append(held())
            with override(retry_non_idempotent=False):
                story.append(held())
            story.append(held())
        story.append(held())

    assert story == [(0, None, True), (0, None, False), (0, None, True), (3, None, True)]


def test_a_deadline_counts_from_the_start_of_its_block():
    """It is a moment of the monotonic clock, the same for all calls in the block."""
    before = time.monotonic()
    with override(deadline=5.0):
        first, second = overrides().expires, overrides().expires
    after = time.monotonic()

    assert before + 5.0 <= first <= after + 5.0
    assert first == second


@pytest.mark.parametrize(
    ("outer", "inner", "kept"), [(5.0, 500.0, "outer"), (500.0, 5.0, "inner"), (5.0, None, "outer")]
)
def test_an_outer_deadline_is_never_put_off(outer, inner, kept):
    """Of two deadlines the earlier one holds, and the outer one comes back after the inner block."""
    with override(deadline=outer):
        expected = {"outer": overrides().expires, "inner": time.monotonic() + (inner or 0)}
        with override(deadline=inner):
            inside = overrides().expires
        behind = overrides().expires

    assert inside == pytest.approx(expected[kept], abs=1.0)
    assert (inside == expected["outer"]) is (kept == "outer")
    assert behind == expected["outer"]


def test_a_block_can_be_entered_again():
    """The same object serves twice, within itself and one time after the other; each time is a new start."""
    block = override(deadline=5.0, retries=1)
    story = []
    with block:
        story.append(held())
        with block:
            story.append(held())
        story.append(held())
    story.append(held())
    with block:
        again = held()

    assert story == [story[0], story[0], story[0], NOTHING]
    assert again[1] > story[0][1]


def generator(**settings):
    """Yield twice within a block, as a function that fetches pages would; each time, what holds there."""
    with override(**settings):
        yield held()
        yield held()


def test_blocks_may_end_in_any_order():
    """One that ends takes its own settings with it, and no other's."""
    blocks = [override(retries=1, deadline=50.0), override(retries=2), override(retry_non_idempotent=True)]
    story = []
    for block in blocks:
        block.__enter__()
    story.append(held())
    outer = overrides().expires
    for block in (blocks[1], blocks[0], blocks[2]):
        block.__exit__(None, None, None)
        story.append(held())

    assert story == [(2, outer, True), (1, outer, True), (None, None, True), NOTHING]


def test_a_generators_block_ends_alone():
    """One that is closed within its consumer's block leaves that in force."""
    pages = generator(retry_non_idempotent=True, deadline=50.0)
    next(pages)
    with override(retries=2, deadline=5.0):
        expires = overrides().expires
        pages.close()
        inside = held()

    assert inside == (2, expires, None)
    assert held() == NOTHING


def test_a_consumers_block_ends_alone():
    """The other way round: the generator goes on with its own settings when its consumer's block is over."""
    with override(retries=2, deadline=5.0):
        pages = generator(retry_non_idempotent=True)
        next(pages)
    after = next(pages)
    pages.close()

    assert after == (None, None, True)
    assert held() == NOTHING


def test_a_suspended_generators_block_is_seen_by_its_consumer():
    """What the docstring warns of, because nothing in Python prevents it."""
    pages = generator(retries=7)
    next(pages)
    seen = held()
    pages.close()

    assert seen == (7, None, None)
    assert held() == NOTHING


def test_a_generator_that_wraps_its_calls_is_not_seen():
    """The first cure: there is no block while the generator is suspended."""

    def pages():
        get = override(retries=7).wrap(held)
        yield get()
        yield get()

    suspended = pages()
    seen = [next(suspended), held(), next(suspended)]

    assert seen == [(7, None, None), NOTHING, (7, None, None)]


def test_a_generator_without_a_yield_in_its_block_is_not_seen():
    """The second cure."""

    def pages():
        with override(retries=7):
            page = held()
        yield page

    suspended = pages()

    assert (next(suspended), held()) == ((7, None, None), NOTHING)


def test_a_block_that_ends_in_another_context_ends_nothing_there():
    """A generator may be closed by another thread: the blocks of that one are not touched."""
    pages = generator(retries=7)
    elsewhere = contextvars.Context()

    def close_it():
        with override(retries=1):
            pages.close()
            return held()

    contextvars.copy_context().run(next, pages)
    seen = elsewhere.run(close_it)

    assert seen == (1, None, None)
    assert held() == NOTHING


def test_a_thread_knows_nothing_of_the_block(executor):
    """The control: context does not reach an executor's threads by itself."""
    with override(retries=3):
        seen = executor.submit(held).result()

    assert seen == NOTHING


def test_wrap_carries_the_block_into_threads(executor):
    """The retries, and the moment at which the block has to be over, which does not start anew."""
    with override(retries=3, deadline=5.0, retry_non_idempotent=True) as block:
        here = held()
        seen = executor.submit(block.wrap(held)).result()

    assert seen == here
    assert seen[0] == 3


def test_wrap_carries_outer_blocks_along(executor):
    """What holds inside the block came from all around it."""
    with override(retries=3, deadline=5.0), override(retry_non_idempotent=True) as block:
        here = held()
        seen = list(executor.map(block.wrap(lambda _: held()), range(4)))

    assert seen == [here] * 4


def test_wrap_of_an_outer_block_carries_the_inner_ones(executor):
    """Its deadline counts from its start, wherever within it `wrap` is called; what else holds goes along."""
    with override(retries=5, deadline=50.0) as outer, override(retries=0):
        here = held()
        wrapped = outer.wrap(held)
    seen = [executor.submit(wrapped).result() for _ in range(2)]

    assert seen == [here, here]
    assert here[0] == 0


def test_wrap_of_a_new_object_carries_the_blocks_around_it(executor):
    """Each call is a block of its own within them: their deadline holds on, its own counts from the call."""
    with override(deadline=50.0, retry_non_idempotent=True):
        outer = overrides().expires
        sooner, later = override(retries=1, deadline=5.0), override(retries=2, deadline=500.0)
        wrapped = [sooner.wrap(held), sooner.wrap(held), later.wrap(held)]
    seen = [executor.submit(each).result() for each in wrapped]

    assert [(retries, allowed) for retries, _, allowed in seen] == [(1, True), (1, True), (2, True)]
    assert seen[0][1] < seen[1][1] < outer == seen[2][1]


def test_wrap_puts_no_deadline_off(executor):
    """That of the block in which the result is called holds, too, if it is the earlier one."""
    with override(retries=3, deadline=500.0) as block:
        wrapped = block.wrap(held)

    def call():
        with override(retries=1, deadline=5.0):
            return wrapped(), overrides().expires

    seen, expires = executor.submit(call).result()

    assert seen == (3, expires, None)


def test_wrap_in_its_own_thread_ends_what_it_began():
    """What was carried into the thread that it came from is there once afterwards, as before."""
    with override(retries=3) as block:
        wrapped = block.wrap(held)
        with override(retries=0):
            inside, between = wrapped(), held()
        behind = held()

    assert (inside, between, behind) == ((3, None, None), (0, None, None), (3, None, None))
    assert held() == NOTHING


def test_a_block_that_ends_within_a_wrapped_call_has_ended():
    """Nothing that is over comes back when the call returns."""
    pages = generator(retries=7)
    next(pages)
    wrapped = override(retry_non_idempotent=True).wrap(pages.close)
    wrapped()

    assert held() == NOTHING


async def coroutine():
    """Do nothing, later."""


async def pages_of_a_coroutine():
    """Yield nothing, later."""
    yield


@pytest.mark.parametrize(
    "function", [generator, functools.partial(generator), coroutine, pages_of_a_coroutine]
)
def test_wrap_refuses_what_does_its_work_later(function):
    """Its block would be over before the first call is made; the message has the cure."""
    with pytest.raises(
        TypeError, match=r"wrap what makes the calls .*override\(\.\.\.\)\.wrap\(session\.get\)"
    ):
        override(retries=1).wrap(function)


def test_a_thread_forgets_what_was_carried(executor):
    """The next work of the same thread is done as before, also after an exception."""
    with override(retries=3) as block:
        carried = block.wrap(held)
        failing = block.wrap(functools.partial(int, "x"))
    with ThreadPoolExecutor(1) as one:
        seen = [one.submit(carried).result(), one.submit(held).result()]
        error = one.submit(failing).exception()
        seen.append(one.submit(held).result())

    assert seen == [(3, None, None), NOTHING, NOTHING]
    assert isinstance(error, ValueError)


def test_wrap_outside_of_a_block_makes_each_call_one():
    """Then the deadline counts from each call, and what holds around that call is kept."""
    carried = override(retries=1, deadline=5.0).wrap(held)
    first, second = carried(), carried()
    with override(retry_non_idempotent=True):
        within = carried()

    assert first[0] == second[0] == 1
    assert first[1] < second[1]
    assert within[2] is True
    assert held() == NOTHING


def test_wrap_keeps_the_functions_face():
    """Its name, its arguments and its answer are the function's own."""

    def add(left, right=1):
        """Add."""
        return left + right

    carried = override(retries=1).wrap(add)

    assert carried(2, right=3) == 5
    assert (carried.__name__, carried.__doc__) == ("add", "Add.")


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"retries": True}, "retries is a number of repetitions or None, not True"),
        ({"retries": 1.5}, "retries is a number of repetitions or None, not 1.5"),
        ({"retries": "3"}, "retries is a number of repetitions or None, not '3'"),
        ({"deadline": "3"}, "deadline is a number of seconds or None, not '3'"),
        ({"deadline": False}, "deadline is a number of seconds or None, not False"),
        ({"retry_non_idempotent": 1}, "retry_non_idempotent is True, False or None, not 1"),
        ({"retry_non_idempotent": "no"}, "retry_non_idempotent is True, False or None, not 'no'"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(fields, complaint):
    """The message names the argument and shows the value."""
    with pytest.raises(TypeError) as refusal:
        override(**fields)

    assert str(refusal.value) == complaint


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"retries": -1}, "retries is a number of repetitions, 0 or more, not -1"),
        ({"deadline": -0.5}, "deadline is a number of seconds, 0 or more, not -0.5"),
        ({"deadline": math.nan}, "deadline is a number of seconds, 0 or more, not nan"),
    ],
)
def test_a_value_out_of_range_is_refused(fields, complaint):
    """Before the block begins, and not in the call."""
    with pytest.raises(ValueError, match="0 or more") as refusal:
        override(**fields)

    assert str(refusal.value) == complaint


@pytest.mark.parametrize("value", [0, 0.0])
def test_nought_is_a_value(value):
    """The control: 0 retries and a deadline that is over at once can be asked for."""
    with override(retries=int(value), deadline=value, retry_non_idempotent=False):
        inside = held()

    assert (inside[0], inside[2]) == (0, False)
    assert inside[1] <= time.monotonic()


PLAIN = contextvars.ContextVar("PLAIN", default=None)


def test_a_thread_with_the_context_of_a_block_leaves_it_with_the_block(inside):
    """It holds there, too, until it ends. The control: what a variable was set to it has for ever."""
    with override(retries=0, deadline=0.0) as block:
        token = PLAIN.set("set")
        here, thread = held(), inside()
        within = thread.see(held), thread.see(PLAIN.get)
        with override(retries=2):
            inner = inside()
            assert inner.see(held)[0] == 2
        assert inner.see(held) == here
        PLAIN.reset(token)
    after = thread.see(held), thread.see(PLAIN.get)

    assert here[0] == 0
    assert within == (here, "set")
    assert after == (NOTHING, "set")
    assert inner.see(held) == NOTHING
    assert block is not None


def test_such_a_thread_may_have_blocks_of_its_own(inside):
    """They hold when the one that it began in is over, and end by themselves."""
    own = override(retry_non_idempotent=True)
    with override(retries=0):
        thread = inside()
        thread.see(own.__enter__)
        within = thread.see(held)
    after = thread.see(held)
    thread.see(lambda: own.__exit__(None, None, None))

    assert (within, after) == ((0, None, True), (None, None, True))
    assert thread.see(held) == NOTHING


def test_a_thread_that_begins_in_a_wrapped_call_leaves_it_with_the_call(inside):
    """What was carried ends with what it was carried into, also where the block is over by then."""
    begun = []
    with override(retries=0, deadline=LONG_TIMEOUT) as block:

        @block.wrap
        def call():
            begun.append(inside())
            return held(), begun[0].see(held)

    within = call()

    assert within[0] == within[1] != NOTHING
    assert begun[0].see(held) == NOTHING


def test_a_worker_process_that_is_forked_in_a_block_is_not_in_it():
    """It would be for ever, with a deadline that is over. Who forks by himself goes on in the block."""
    workers = pytest.importorskip("multiprocessing").get_context
    if "fork" not in sys.modules["multiprocessing"].get_all_start_methods():
        pytest.skip("this system does not fork")
    told = workers("fork").SimpleQueue()
    with override(retries=0):
        worker = workers("fork").Process(target=lambda: told.put(held()))
        worker.start()
        worker.join(LONG_TIMEOUT)
        child = os.fork()
        if child == 0:
            told.put(held())
            os._exit(0)
        os.waitpid(child, 0)

    assert [told.get(), told.get()] == [NOTHING, (0, None, None)]
