"""What is raised besides what `requests` itself would raise."""

from __future__ import annotations

from typing import Any

from requests.exceptions import Timeout


class DeadlineExceeded(Timeout):
    """The whole call took longer than its deadline (`RetryPolicy.deadline` or `override(deadline=...)`).

    It is a `requests.exceptions.Timeout`. The failure of the attempt that got furthest, if there was one,
    is its `__cause__`.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        # The request, with its headers, stays behind: a pickle holds no secrets.
        state = {name: value for name, value in vars(self).items() if name not in ("request", "response")}
        return type(self), self.args, state


def add_note(error: BaseException, note: str) -> None:
    """Add a note to an exception (PEP 678); on Python 3.10 nobody prints it, and it does no harm."""
    notes = getattr(error, "__notes__", None)
    error.__notes__ = [*(notes or ()), note]  # type: ignore[attr-defined,unused-ignore]
