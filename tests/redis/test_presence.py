"""When a store that is away is asked again: values in, values out."""

import pytest

from resilient_transport.redis.presence import FIRST_PAUSE, LONGEST_PAUSE, Presence


@pytest.fixture(autouse=True)
def without_jitter(monkeypatch):
    """Let each pause be as long as it may be."""
    monkeypatch.setattr("resilient_transport.redis.presence.random.uniform", lambda least, most: most)


def test_a_store_that_is_there_is_asked_by_all():
    """As often as they like; the control is away."""
    there, away = Presence(), Presence()
    away.lost(100.0)

    assert [there.may_ask(100.0) for _ in range(3)] == [True] * 3
    assert [away.may_ask(100.0) for _ in range(3)] == [False] * 3


def test_it_is_lost_once():
    """However many find out at the same time; and found once, with the time for which it was away."""
    presence = Presence()

    assert [presence.lost(100.0 + late) for late in range(3)] == [True, False, False]
    assert [presence.found(105.0), presence.found(106.0)] == [5.0, None]


def test_who_finds_out_too_late_has_no_news(monkeypatch):
    """Another was faster in between: it has told, and its pause holds."""
    presence = Presence()
    calm = 100.0 + LONGEST_PAUSE
    news = []

    def faster(least, most):
        if not news:
            news.append(None)
            news[0] = presence.lost(calm + 1)
        return most

    monkeypatch.setattr("resilient_transport.redis.presence.random.uniform", faster)
    news.append(presence.lost(calm + 2))

    assert news == [True, False]


def test_one_caller_asks_after_each_pause():
    """The pauses double, up to half a minute."""
    presence, now, pauses = Presence(), 100.0, []
    presence.lost(now)
    for _ in range(7):
        began = now
        while not presence.may_ask(now):
            now += 0.25
        others = [presence.may_ask(now) for _ in range(3)]
        pauses.append(now - began)
        assert others == [False] * 3

    assert pauses == [1, 2, 4, 8, 16, 30, 30]
    assert (FIRST_PAUSE, LONGEST_PAUSE) == (1, 30)


@pytest.mark.parametrize(("calm", "pause"), [(1.0, 2.0), (LONGEST_PAUSE + 1, FIRST_PAUSE)])
def test_one_that_comes_and_goes_is_asked_less_and_less(calm, pause):
    """The pause begins anew only when it was there for as long as the longest; so the log stays short."""
    presence = Presence()
    presence.lost(100.0)
    presence.found(101.0)
    presence.lost(101.0 + calm)

    assert not presence.may_ask(101.0 + calm + pause - 0.1)
    assert presence.may_ask(101.0 + calm + pause)


def test_what_it_says():
    """For who looks at it in a debugger."""
    presence = Presence()
    before = repr(presence)
    presence.lost(1.0)

    assert (before, repr(presence)) == ("<Presence there>", "<Presence away>")
