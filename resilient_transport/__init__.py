"""A transport adapter for `requests` that survives connection resets.

>>> session = requests.Session()
>>> session.mount("https://", resilient_transport.ResilientAdapter())
"""

from .adapter import ResilientAdapter
from .exceptions import CircuitOpen, ClientCertificateRejected, DeadlineExceeded, EndpointDisabled
from .figures import stats
from .history import Attempt, attempts_of
from .install import install, mount, uninstall
from .overriding import override
from .retry.breaker import Breaker
from .retry.policy import RetryPolicy
from .retry.stages import Stage
from .wire.registry import registry

__all__ = [
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

for _name in __all__:
    if _name != "registry":
        # What users meet claims the package as its home, in messages and in pickles.
        globals()[_name].__module__ = __name__
del _name
