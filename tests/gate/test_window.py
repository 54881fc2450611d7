"""How many handshakes may run at once: arithmetic, values in and values out."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from resilient_transport.gate.window import MAXIMUM, MOST_STALLED, Window


def opened(maximum=MAXIMUM):
    """Return a window whose server has accepted one connection."""
    window = Window(maximum)
    window.succeeded()
    return window


def sizes(window, step, times):
    """Return the window's sizes after each of several steps."""
    story = []
    for _ in range(times):
        step()
        story.append(window.size)
    return story


def test_a_cold_window_lets_one_through():
    """Before the first proof one handshake at a time is all that is known to be safe."""
    window = Window()

    assert (window.size, window.proven, window.doubted, window.seems_accepted) == (1, False, False, False)
    assert (window.has_room(0, 0), window.has_room(1, 0)) == (True, False)


def test_the_first_proof_opens_the_window():
    """To its maximum at once: a server that bears one handshake bears a start's worth of them."""
    window = opened(maximum=8)

    assert (window.size, window.proven) == (8, True)
    assert (window.has_room(7, 0), window.has_room(8, 0)) == (True, False)
    assert Window().maximum == MAXIMUM == 16


def test_each_reset_halves_the_window():
    """Down to one, and never to none: somebody has to go on trying."""
    window = opened(maximum=10)

    assert sizes(window, window.failed, 5) == [5, 2, 1, 1, 1]
    assert window.doubted


def test_each_success_adds_one():
    """Up to the maximum; one success ends the doubt that a reset has raised."""
    window = opened(maximum=4)
    window.failed()
    window.failed()

    assert sizes(window, window.succeeded, 5) == [2, 3, 4, 4, 4]
    assert not window.doubted


def test_a_success_without_proof_adds_one_to_an_open_window():
    """Once the server has accepted one, silence is as good as a ticket."""
    window = opened(maximum=8)
    window.failed()
    window.succeeded(proof=False)

    assert (window.size, window.proven, window.doubted) == (5, True, False)


def test_a_cold_window_stays_at_one_through_resets():
    """And the first proof opens it all the same."""
    window = Window()
    window.failed()
    cold = window.size, window.proven, window.doubted
    window.succeeded()

    assert cold == (1, False, True)
    assert (window.size, window.proven, window.doubted) == (16, True, False)


def test_a_silent_server_is_tried_with_one_more_each_time():
    """The first success without proof opens nothing, each further one adds one; the window stays unproven."""
    window = Window(maximum=4)

    assert sizes(window, lambda: window.succeeded(proof=False), 6) == [1, 2, 3, 4, 4, 4]
    assert (window.proven, window.seems_accepted) == (False, True)


def test_a_reset_halves_what_silence_has_opened():
    """The server bore fewer than it seemed to."""
    window = Window()
    sizes(window, lambda: window.succeeded(proof=False), 6)
    window.failed()

    assert (window.size, window.proven, window.doubted) == (3, False, True)


def test_a_response_proves_what_was_silent():
    """The first response is the proof that the handshake has not brought."""
    window = Window(maximum=8)
    window.succeeded(proof=False)
    window.proved()

    assert (window.size, window.proven) == (8, True)


def test_only_the_first_proof_opens():
    """The control: later responses do not undo what resets have shown."""
    window = opened(maximum=8)
    window.failed()
    window.proved()

    assert (window.size, window.proven, window.doubted) == (4, True, True)


@pytest.mark.parametrize(
    ("making", "stalled", "has_room"),
    [
        (1, 0, True),
        (2, 0, False),
        (2, 1, True),
        (3, 1, False),
        (3, 2, True),
        (16, 14, False),
        (16, 15, True),
        (MOST_STALLED + 1, MOST_STALLED - 1, False),
        (MOST_STALLED, MOST_STALLED - 1, True),
        (MOST_STALLED, MOST_STALLED, False),
        (MOST_STALLED + 1, MOST_STALLED, False),
    ],
)
def test_what_has_stalled_has_a_bound_of_its_own(making, stalled, has_room):
    """It takes no place of those that run, however small the window is, until there are too many."""
    window = opened(maximum=4)
    window.failed()

    assert window.size == 2
    assert window.has_room(making, stalled) is has_room


@pytest.mark.parametrize(("size", "maximum", "after"), [(16, 4, 4), (16, 32, 32), (8, 4, 4), (8, 32, 8)])
def test_a_changed_maximum_keeps_what_was_learned(size, maximum, after):
    """A window that was as large as it could be stays so; one that resets have narrowed does not grow."""
    window = opened()
    window.size = size
    window.allow(maximum)

    assert (window.size, window.maximum) == (after, maximum)


def test_a_cold_window_stays_at_one_whatever_is_allowed():
    """The control: it is as large as it may be, but nothing was proven."""
    window = Window(maximum=1)
    window.allow(8)
    cold = window.size
    window.succeeded()

    assert (cold, window.size) == (1, 8)


@given(
    st.integers(1, 20),
    st.lists(st.sampled_from(["succeeded", "silent", "failed", "proved", "allow"]), max_size=40),
    st.integers(1, 20),
)
def test_the_window_keeps_its_bounds(maximum, story, allowed):
    """From one to the maximum, whatever happens; proven stays proven; doubted is what was reset last."""
    window = Window(maximum)
    proven, doubted = False, False
    for event in story:
        if event == "silent":
            window.succeeded(proof=False)
        elif event == "allow":
            window.allow(allowed)
        else:
            getattr(window, event)()
        proven = proven or event in ("succeeded", "proved")
        doubted = event == "failed" if event in ("succeeded", "silent", "failed") else doubted

        assert 1 <= window.size <= window.maximum
        assert (window.proven, window.doubted) == (proven, doubted)
