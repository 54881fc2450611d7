"""When an adapter repeats a call: its `policy`, or its `max_retries` as in stock."""

from __future__ import annotations

from typing import Any

from requests import adapters
from urllib3.util import Retry

from ..retry.decision import RESET_PAUSE
from ..retry.policy import RetryPolicy
from ..retry.urllib3_retry import policy_from
from ..settings.environment import remembered
from ..settings.options import UNSET
from ..util.frozen import replace

#: The policy of an adapter that was given none.
_by_environment = remembered(RetryPolicy)


class RetrySettings:
    """The policy of one adapter. Its two properties are two ways to say the same.

    Args:
        max_retries: what the adapter was given, if anything.
        policy: what it was given in its place, if anything.
    """

    #: Whether there are pauses as long as a `Retry` says nothing of any. Set for an adapter that was taken
    #: over: what its program wrote for stock says how often, and repeats at once by default. So few
    #: repetitions are soon used up in a race with other processes: the first pause is a long one.
    paces: bool = False

    def __init__(self, max_retries: int | Retry | None = UNSET, policy: RetryPolicy | None = None) -> None:
        self.policy = _by_environment() if policy is None else policy
        #: What was assigned to `max_retries`, if anything.
        self._given: tuple[int | Retry | None, ...] = ()
        #: The `Retry` that others may hold, and what it held when it was translated.
        self._retry: Retry | None = None
        self._translated: dict[str, Any] = {}
        if max_retries is UNSET and policy is None and adapters.DEFAULT_RETRIES != 0:
            # A program that has set requests' default for everybody means this adapter, too.
            max_retries = adapters.DEFAULT_RETRIES
        if max_retries is not UNSET:
            self.max_retries = max_retries

    @property
    def policy(self) -> RetryPolicy:
        """When calls are repeated, and how often."""
        return self._policy

    @policy.setter
    def policy(self, value: RetryPolicy) -> None:
        if not isinstance(value, RetryPolicy):
            raise TypeError(f"policy takes a RetryPolicy, not {value!r}; max_retries takes an int or a Retry")
        #: What is in force, and what an int that is assigned to `max_retries` is applied to.
        self._policy = self._base = value

    @property
    def max_retries(self) -> Retry:
        """What was assigned, as a `Retry`, which others may hold and change in place."""
        if self._retry is None:
            self._retry = Retry.from_int(self._given[0]) if self._given else Retry(0, read=False)
            self._translated = dict(vars(self._retry))
        return self._retry

    @max_retries.setter
    def max_retries(self, value: int | Retry | None) -> None:
        policy = policy_from(Retry.DEFAULT if value is None else value, self._base)
        if self.paces and not (policy.backoff or policy.jitter):
            base, backoff = self._base, max(self._base.backoff, RESET_PAUSE)
            policy = replace(policy, backoff=backoff, backoff_max=base.backoff_max, jitter=base.jitter)
        self._policy = policy
        self._given = (value,)
        self._retry = value if isinstance(value, Retry) else None
        self._translated = dict(vars(value)) if isinstance(value, Retry) else {}

    def in_force(self) -> RetryPolicy:
        """The policy, after a look at the `Retry` that it was made of."""
        if self._retry is not None and vars(self._retry) != self._translated:
            # It was changed in place, as stock allows.
            self.max_retries = self._retry
        return self._policy

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_retry": None, "_translated": {}}


class Unsettled(RetrySettings):
    """What an adapter has until it is made: the `max_retries` that `HTTPAdapter` assigns then means nothing.

    To translate it would take long; a subclass's `init_poolmanager` may ask for the policy all the same.
    """

    max_retries: Any = None
