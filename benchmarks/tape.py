"""How rounds that were measured in alternation get into pytest-benchmark: it has them played back.

pytest-benchmark measures by asking a timer before and after. A `Tape` is that timer, and its `play` is what
is benchmarked: it moves the timer on by what the next round had taken. So the tables, the JSON and the
comparison with older runs show the rounds as they were.
"""

from collections.abc import Iterator, Sequence


class Tape:
    """A timer that moves only by what was recorded."""

    def __init__(self) -> None:
        self._now = 0.0
        self._ahead: Iterator[float] = iter(())

    def load(self, seconds: Sequence[float]) -> None:
        """Take in the rounds of one benchmark."""
        self._now, self._ahead = 0.0, iter(seconds)

    def play(self) -> None:
        """Let one round pass; after the last one, as when somebody profiles this, none."""
        self._now = next(self._ahead, 0.0)

    def __call__(self) -> float:
        """Tell the time, and begin anew: so no round is rounded to what went before it."""
        now, self._now = self._now, 0.0
        return now
