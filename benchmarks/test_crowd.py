"""A thousand threads behind a slow leader."""

from collections.abc import Callable

from benchmarks.crowd import measure, said


def test_a_crowd_is_let_in(tell: Callable) -> None:
    """All of them, and what they hold is little."""
    crowd = measure()
    tell(said, crowd)

    assert crowd.released_in > 0
    assert crowd.held < 10_000
