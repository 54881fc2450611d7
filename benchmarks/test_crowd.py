"""A thousand threads behind a slow leader."""

from benchmarks.crowd import measure


def test_a_crowd_is_let_in(remember_crowd) -> None:
    """All of them, and what they hold is little."""
    crowd = measure()
    remember_crowd(crowd)

    assert crowd.released_in > 0
    assert crowd.held < 10_000
