"""Quotas and circuits that processes share in Redis. Imported only by who wants them.

>>> from resilient_transport.redis import RedisLimits
>>> policy = RetryPolicy(shared=RedisLimits("redis://10.0.0.5/0"))

All processes, of one machine or of many, whose policies name the same Redis draw on one retry quota for each
origin, and, if their policies have an equal `Breaker`, share its circuit. A call that succeeds at
once asks Redis for nothing, but for a look at its circuit once a second, if it has one.
`docs/shared_limits.md` has the rules.

While Redis is away, for whatever reason, each process has its own, and says so once: the log has a WARNING,
and hooks get `SharedLimitsLost`, and later `SharedLimitsFound`.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Final

try:
    import redis as _redis_py  # noqa: F401 - what the modules below import
except ImportError as error:
    raise ImportError("resilient_transport.redis takes redis-py: pip install redis") from error

from ..events import Hook
from ..retry.breaker import AnyCircuit, Circuit
from ..retry.budget import AnyQuota, Quota
from ..retry.deadline import Deadline
from ..retry.shared_limits import SharedLimits
from ..settings.override import overrides
from ..telemetry.dispatch import announce
from ..util.bounded_dict import BoundedDict
from ..util.fork import Turn, in_child
from ..util.frozen import dataclass
from .address import address_of
from .shared_circuit import SharedCircuit
from .shared_quota import SharedQuota
from .store import Asker, Store

__all__ = ["RedisLimits"]

#: How many stores a process knows at the most.
_STORES: Final = 16


@dataclass(frozen=True, slots=True)
class RedisLimits(SharedLimits):
    """Where processes keep the limits that they share: `RetryPolicy(shared=RedisLimits("redis://..."))`.

    Everybody shares whose Redis, database and prefix are the same, whatever the process or the machine. A
    pickle has the whole URL, since whoever loads it has to connect; no message, log line or `repr` has its
    user name or its password.

    Raises:
        TypeError: a value is of the wrong type.
        ValueError: a value is out of its range, or redis-py can make nothing of the URL.
    """

    #: Where Redis is, as redis-py spells it: `redis://`, `rediss://` (TLS) or `unix://`, with a number of a
    #: database and options of TLS (`?ssl_ca_certs=`). It takes Redis 5 or newer.
    url: str
    #: What the names of all keys begin with. Programs that are to share nothing have different ones.
    prefix: str = "resilient_transport"
    #: Seconds for one exchange, connecting included. No exchange takes longer than its call has left.
    timeout: float = 0.25

    def __post_init__(self) -> None:
        for name in ("url", "prefix"):
            if not isinstance(getattr(self, name), str):
                raise TypeError(f"{name} is text, not a value of type {type(getattr(self, name)).__name__}")
        if isinstance(self.timeout, bool) or not isinstance(self.timeout, (int, float)):
            raise TypeError(f"timeout is a number of seconds, not {self.timeout!r}")
        if not 0 < self.timeout < math.inf:
            raise ValueError(f"timeout is a finite number of seconds over 0, not {self.timeout!r}")
        address_of(self.url, self.timeout)

    @property
    def place(self) -> str:
        """The URL without credentials and options, as it is shown."""
        return address_of(self.url, self.timeout).place

    def quota(self, own: Quota, origin: str, deadline: Deadline, on_event: Hook | None) -> AnyQuota:
        """The quota that a call draws on."""
        return SharedQuota(own, _stores.used(self), _asker(origin, deadline, on_event))

    def circuit(self, own: Circuit, origin: str, deadline: Deadline, on_event: Hook | None) -> AnyCircuit:
        """The circuit that a call asks."""
        return SharedCircuit(own, _stores.used(self), _asker(origin, deadline, on_event))

    def __repr__(self) -> str:
        return f"RedisLimits({self.place!r}, prefix={self.prefix!r}, timeout={self.timeout!r})"


def _asker(origin: str, deadline: Deadline, on_event: Hook | None) -> Asker:
    # A stream may be read in a block of `override` that ends sooner than its call.
    return Asker(origin, lambda: deadline.sooner(overrides().expires).left(), partial(announce, on_event))


def _store(limits: RedisLimits) -> Store:
    place, connect, secrets = address_of(limits.url, limits.timeout)
    return Store(connect, place, limits.prefix, limits.timeout, secrets)


#: No lock: each step is one operation of a dictionary.
_stores: Final[BoundedDict[RedisLimits, Store]] = BoundedDict(_store, _STORES)


@in_child(Turn.CONNECTIONS)
def clear() -> None:
    """Forget what is known, and close every connection; for tests, and in the child after a fork."""
    _stores.clear()
