"""How an adapter is told when to repeat a call: `policy`, or `max_retries` as in stock."""

from __future__ import annotations

from typing import Any

import requests.adapters
from urllib3.util import Retry

from ..connection.trace import CURRENT
from ..retry.policy import RetryPolicy
from ..retry.urllib3_retry import ONE_ATTEMPT, policy_from
from ..settings.options import UNSET
from .pools import LeasingAdapter


class RepeatingAdapter(LeasingAdapter):
    """An adapter with a policy. Its two properties are two ways to say the same."""

    def _begin_with(self, max_retries: int | Retry | None, policy: RetryPolicy | None) -> None:
        """Take what the constructor was given."""
        self.policy = RetryPolicy() if policy is None else policy
        #: What was assigned to `max_retries`, if anything.
        self._given: tuple[int | Retry | None, ...] = ()
        #: The `Retry` that others may hold, and change in place; and what it held when it was translated.
        self._retry: Retry | None = None
        self._translated: dict[str, Any] = {}
        if max_retries is UNSET and policy is None and requests.adapters.DEFAULT_RETRIES != 0:
            # A program that has set requests' default for everybody means this adapter, too.
            max_retries = requests.adapters.DEFAULT_RETRIES
        if max_retries is not UNSET:
            self.max_retries = max_retries

    @property
    def policy(self) -> RetryPolicy:
        """When calls are repeated, and how often; may be replaced."""
        return self._policy

    @policy.setter
    def policy(self, value: RetryPolicy) -> None:
        if not isinstance(value, RetryPolicy):
            raise TypeError(f"policy takes a RetryPolicy, not {value!r}; max_retries takes an int or a Retry")
        #: What is in force, and what an int that is assigned to `max_retries` is applied to.
        self._policy = self._base = value

    @property
    def max_retries(self) -> Retry:
        """What was assigned, as a `Retry`; during an attempt one that repeats nothing, for `HTTPAdapter`."""
        if CURRENT.get() is not None:
            return ONE_ATTEMPT
        if self._retry is None:
            self._retry = Retry.from_int(self._given[0]) if self._given else Retry(0, read=False)
            self._translated = dict(vars(self._retry))
        return self._retry

    @max_retries.setter
    def max_retries(self, value: int | Retry | None) -> None:
        base = getattr(self, "_base", None)
        self._policy = policy_from(Retry.DEFAULT if value is None else value, base)
        self._given = (value,)
        self._retry = value if isinstance(value, Retry) else None
        self._translated = dict(vars(value)) if isinstance(value, Retry) else {}

    def _policy_in_force(self) -> RetryPolicy:
        """The policy, after a look at the `Retry` that it was made of."""
        if self._retry is not None and vars(self._retry) != self._translated:
            # It was changed in place, as stock allows.
            self.max_retries = self._retry
        return self._policy

    def __getstate__(self) -> dict[str, Any]:
        own = {"_base": self._base, "_policy": self._policy, "_given": self._given}
        return {**super().__getstate__(), "_own": own}

    def __setstate__(self, state: dict[str, Any]) -> None:
        own = state.pop("_own")
        super().__setstate__(state)
        # After stock has assigned its `max_retries`, which makes a policy of it.
        vars(self).update(own, _retry=None, _translated={})
