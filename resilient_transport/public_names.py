"""The public names, gathered: the package imports this when somebody asks it for the first of them.

All of them at once, and everything that a call needs with them. So nothing is left to be imported in the
middle of a call, and threads that ask at the same time wait for one module.
"""

from typing import Any, Final

# isort: off
from .util import prerequisites as _prerequisites  # noqa: F401 - before all else
# isort: on

from .adapter.adapter import ResilientAdapter
from .adapter.arguments import AdapterArguments
from .events.attempt import Attempt, attempts_of
from .exceptions import CircuitOpen, ClientCertificateRejected, DeadlineExceeded, EndpointDisabled
from .installation import install, mount, uninstall
from .pool.given_identity import Identity
from .pool.registry import registry
from .retry.breaker import Breaker
from .retry.policy import RetryPolicy
from .retry.stages import Stage
from .settings.override import override
from .telemetry.stats import stats
from .waterfall.recorder import recording

__all__ = [
    "AdapterArguments",
    "Attempt",
    "Breaker",
    "CircuitOpen",
    "ClientCertificateRejected",
    "DeadlineExceeded",
    "EndpointDisabled",
    "Identity",
    "ResilientAdapter",
    "RetryPolicy",
    "Stage",
    "attempts_of",
    "install",
    "mount",
    "override",
    "recording",
    "registry",
    "stats",
    "uninstall",
]

#: What the package has, by its name.
BY_NAME: Final[dict[str, Any]] = {name: globals()[name] for name in __all__}

for _name in set(__all__) - {"registry"}:
    # What users meet claims the package as its home, in messages and in pickles.
    BY_NAME[_name].__module__ = __package__
del _name
