"""A transport adapter for `requests` that survives connection resets.

>>> session = requests.Session()
>>> session.mount("https://", resilient_transport.ResilientAdapter())
"""

from typing import get_type_hints as _get_type_hints

# isort: off
from .util import prerequisites as _prerequisites  # noqa: F401 - before all else
# isort: on

from .adapter.adapter import ResilientAdapter
from .adapter.arguments import AdapterArguments
from .events.attempt import Attempt, attempts_of
from .exceptions import CircuitOpen, ClientCertificateRejected, DeadlineExceeded, EndpointDisabled
from .install import install, mount, uninstall
from .pool.registry import registry
from .retry.breaker import Breaker
from .retry.policy import RetryPolicy
from .retry.stages import Stage
from .settings.override import override
from .telemetry.stats import stats

#: `setup.cfg` reads it here.
__version__ = "0.1.0.dev0"

__all__ = [
    "AdapterArguments",
    "Attempt",
    "Breaker",
    "CircuitOpen",
    "ClientCertificateRejected",
    "DeadlineExceeded",
    "EndpointDisabled",
    "ResilientAdapter",
    "RetryPolicy",
    "Stage",
    "attempts_of",
    "install",
    "mount",
    "override",
    "registry",
    "stats",
    "uninstall",
]

# Where it claims to be at home, nobody would find the names in its annotations.
RetryPolicy.__annotations__ = _get_type_hints(RetryPolicy)

for _name in __all__:
    if _name != "registry":
        # What users meet claims the package as its home, in messages and in pickles.
        globals()[_name].__module__ = __name__
del _name
