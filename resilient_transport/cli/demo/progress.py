"""How far the demo is: a moving bar where there is a terminal and `rich`, else a line for each scenario."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from time import monotonic
from typing import TextIO

#: Called after each start.
Tick = Callable[[], None]


@contextmanager
def shown(title: str, total: int, stream: TextIO | None = None) -> Iterator[Tick]:
    """Show on stderr how many starts of a scenario are done.

    Args:
        title: the scenario's.
        total: how many starts there will be.
        stream: where to; stderr when not given.
    """
    stream = sys.stderr if stream is None else stream
    bar = _bar if stream.isatty() and has_rich() else _line
    with bar(title, total, stream) as tick:
        yield tick


def has_rich() -> bool:
    """Whether `rich` can be imported."""
    return find_spec("rich") is not None


@contextmanager
def _bar(title: str, total: int, stream: TextIO) -> Iterator[Tick]:
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(file=stream), transient=True) as progress:
        task = progress.add_task(title, total=total)
        yield lambda: progress.advance(task)


@contextmanager
def _line(title: str, total: int, stream: TextIO) -> Iterator[Tick]:
    began = monotonic()
    yield lambda: None
    print(f"{title}: {total} starts, {monotonic() - began:.1f} s", file=stream, flush=True)
