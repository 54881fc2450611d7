"""Settings from around the code that makes a call: the blocks of `override`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextvars import ContextVar
from types import TracebackType
from typing import Final, ParamSpec, TypeVar

from ..util.clock import monotonic
from ..util.fork import in_worker
from ..util.frozen import dataclass

P = ParamSpec("P")
R = TypeVar("R")


class _Block:
    """One `override`: what it says, who can end it, and whether it has ended.

    A context may be copied while it is in force, by `asyncio.to_thread`, or for a new thread (from Python
    3.14 on, `sys.flags.thread_inherit_context`). It holds there, too, until it ends where it began.

    Args:
        owner: whose block it is.
        expires: when its calls have to be over, on the monotonic clock; None: whenever they are.
        is_carried: whether it is the twin of a block, in a call that `wrap` has carried that into.
    """

    __slots__ = ("expires", "is_carried", "is_over", "owner", "retries", "retry_non_idempotent")

    def __init__(self, owner: override, expires: float | None, is_carried: bool = False) -> None:
        self.owner = owner
        self.retries = owner._retries
        self.retry_non_idempotent = owner._retry_non_idempotent
        self.expires = expires
        self.is_carried = is_carried
        #: Set once, at its end.
        self.is_over = False

    def carried(self) -> _Block:
        """Its twin, which ends when the call does that it is carried into."""
        return _Block(self.owner, self.expires, is_carried=True)


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the blocks of `override` say together for a call."""

    #: The most repetitions of a call.
    retries: int | None = None
    #: The moment of the monotonic clock at which everything in the blocks has to be over.
    expires: float | None = None
    #: Whether calls that are not idempotent may be repeated.
    retry_non_idempotent: bool | None = None
    #: The blocks that are open, the innermost last.
    blocks: tuple[_Block, ...] = ()


_NOTHING: Final = Overrides()
_current: ContextVar[Overrides] = ContextVar("resilient_transport_overrides", default=_NOTHING)


def overrides() -> Overrides:
    """What holds for a call made here and now."""
    here = _current.get()
    if here.blocks:
        left = tuple(block for block in here.blocks if not block.is_over)
        if left != here.blocks:
            # The context was copied before they ended. Not set: a finaliser may ask in the middle of a set.
            return _together(left)
    return here


@in_worker
def _leave_all() -> None:
    """A process that was forked in a block, to work on something else, never comes to its end."""
    _current.set(_NOTHING)


class override:
    """Settings for the calls of one block, stronger than those of the adapter.

    Blocks nest: the inner one wins, except that an outer deadline is never put off. A block that ends takes
    its own settings with it and leaves those of the others, in whatever order they end.

    A generator that yields inside a block leaves the block open, and in force for whoever consumes it, until
    it goes on: Python gives a generator no context of its own (PEP 568). There, have no `yield` inside the
    block, or wrap what makes the calls: `get = override(retries=0).wrap(session.get)`.

    A thread that begins with a copy of the block's context (`asyncio.to_thread`; from Python 3.14 on, threads
    where `sys.flags.thread_inherit_context` is set) is in the block until that ends. Other threads, and
    processes that are forked to work on something else, are not: that is what `wrap` is for.

    Args:
        retries: the most repetitions of a call; 0 turns them off.
        deadline: seconds from the start of the block until its calls, with all their redirects, have to
            be over.
        retry_non_idempotent: whether POST, PATCH and the like may be repeated.

    Raises:
        TypeError: a value of the wrong type.
        ValueError: a negative value.
    """

    def __init__(
        self,
        *,
        retries: int | None = None,
        deadline: float | None = None,
        retry_non_idempotent: bool | None = None,
    ) -> None:
        _check("retries", retries, int, "a number of repetitions")
        _check("deadline", deadline, (int, float), "a number of seconds")
        if retry_non_idempotent is not None and not isinstance(retry_non_idempotent, bool):
            raise TypeError(f"retry_non_idempotent is True, False or None, not {retry_non_idempotent!r}")
        self._retries = retries
        self._deadline = deadline
        self._retry_non_idempotent = retry_non_idempotent

    def __enter__(self) -> override:
        _open(self._begun())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # A generator may end in another context than it began in: then there is no block of it here.
        mine = [block for block in _current.get().blocks if block.owner is self and not block.is_carried]
        _close(*mine[-1:])

    def wrap(self, function: Callable[P, R]) -> Callable[P, R]:
        """Carry these settings, and all that holds here and now, into another thread.

        Each call of the result is a block around the function, inside of what holds where it is called.
        There are two cases. Within a `with` block of this object, the block is carried as it is: its
        deadline counts from its start. Otherwise each call begins one of its own, inside of the blocks
        that are open where `wrap` was called.

        Raises:
            TypeError: a generator function or a coroutine function, which does its work after its call.
        """
        if _does_later(function):
            raise TypeError(
                "wrap takes a function that makes its calls before it returns, not a generator or coroutine "
                "function: wrap what makes the calls inside of it, as in override(...).wrap(session.get)"
            )
        here = overrides().blocks
        is_open = any(block.owner is self for block in here)

        @functools.wraps(function)
        def call(*args: P.args, **kwargs: P.kwargs) -> R:
            carried = [block.carried() for block in here]
            if not is_open:
                carried.append(self._begun())
            _open(*carried)
            try:
                return function(*args, **kwargs)
            finally:
                _close(*carried)

        return call

    def _begun(self) -> _Block:
        expires = None if self._deadline is None else monotonic() + self._deadline
        return _Block(self, expires)


def _does_later(function: object) -> bool:
    """Whether a function does its work after its call has returned."""
    import inspect

    return (
        inspect.isgeneratorfunction(function)
        or inspect.iscoroutinefunction(function)
        or inspect.isasyncgenfunction(function)
    )


def _open(*blocks: _Block) -> None:
    _current.set(_together((*_current.get().blocks, *blocks)))


def _close(*blocks: _Block) -> None:
    """End these blocks, wherever they are among those that are open, and leave the others in force."""
    for block in blocks:
        block.is_over = True
    _current.set(_together(tuple(block for block in _current.get().blocks if not block.is_over)))


def _together(blocks: tuple[_Block, ...]) -> Overrides:
    """The innermost value of each setting; of the deadlines the earliest."""
    counts = [block.retries for block in blocks if block.retries is not None]
    ends = [block.expires for block in blocks if block.expires is not None]
    allowed = [block.retry_non_idempotent for block in blocks if block.retry_non_idempotent is not None]
    return Overrides(
        retries=counts[-1] if counts else None,
        expires=min(ends, default=None),
        retry_non_idempotent=allowed[-1] if allowed else None,
        blocks=blocks,
    )


def _check(name: str, value: object, kind: type | tuple[type, ...], what: str) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, kind):
        raise TypeError(f"{name} is {what} or None, not {value!r}")
    if not value >= 0:  # type: ignore[operator]
        raise ValueError(f"{name} is {what}, 0 or more, not {value!r}")
