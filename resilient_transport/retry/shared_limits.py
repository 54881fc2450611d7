"""What `RetryPolicy(shared=...)` takes: quotas and circuits that several processes have in common.

Knows no store, and asks none: it says what a store has to give to a call.
"""

from __future__ import annotations

from ..events import Hook
from .breaker import AnyCircuit, Circuit
from .budget import AnyQuota, Quota
from .deadline import Deadline


class SharedLimits:
    """Keeps quotas and circuits for several processes.

    Its values can be hashed, and equal ones share. What it returns raises nothing, and takes no longer than
    the call has left. While the store is away, each process has only its own.
    """

    __slots__ = ()

    def quota(self, own: Quota, origin: str, deadline: Deadline, on_event: Hook | None) -> AnyQuota:
        """The quota that a call draws on.

        Args:
            own: that of the process.
            origin: `scheme://host:port` of what is called.
            deadline: when the call has to be over.
            on_event: the hook of its adapter.
        """
        raise NotImplementedError

    def circuit(self, own: Circuit, origin: str, deadline: Deadline, on_event: Hook | None) -> AnyCircuit:
        """The circuit that a call asks; the arguments are as for `quota`."""
        raise NotImplementedError
