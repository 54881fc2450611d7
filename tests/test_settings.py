"""Settings from around the code that makes a call, and what is taken out of the environment."""

import functools
import math
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from resilient_transport import override
from resilient_transport.settings import Overrides, clean_environment, overrides


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


FOREIGN = [
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSLKEYLOGFILE",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
]


def test_a_clean_environment_points_nowhere_else():
    """Certificates and proxies of others are taken out, however they are spelled; all else is left."""
    kept = {"PATH": "/bin", "MY_PROXY": "x", "HTTP_PROXY_USER": "y", "RESILIENT_TRANSPORT_RETRIES": "3"}
    source = {**dict.fromkeys(FOREIGN, "elsewhere"), **kept}
    before = dict(source)

    assert clean_environment(source) == kept
    assert source == before


@pytest.mark.parametrize("name", FOREIGN)
def test_the_environment_of_this_process_is_cleaned(monkeypatch, name):
    """Without an argument the real one is copied, and stays as it is."""
    monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("RESILIENT_TRANSPORT_SOMETHING", "kept")
    clean = clean_environment()

    assert name not in clean
    assert clean["RESILIENT_TRANSPORT_SOMETHING"] == "kept"
