"""A transport adapter for `requests` that survives connection resets.

>>> session = requests.Session()
>>> session.mount("https://", resilient_transport.ResilientAdapter())
"""

import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from . import events as events
    from . import exceptions as exceptions
    from .public_names import (
        AdapterArguments,
        Attempt,
        Breaker,
        CircuitOpen,
        ClientCertificateRejected,
        DeadlineExceeded,
        EndpointDisabled,
        Identity,
        ResilientAdapter,
        RetryPolicy,
        Stage,
        attempts_of,
        install,
        mount,
        override,
        recording,
        registry,
        stats,
        uninstall,
    )
elif "urllib3.connection" in sys.modules:
    # What cannot work is refused here. Where nobody has imported urllib3 yet, somebody may still patch what
    # it imports (the pytest plugin comes before every conftest): there the first name is refused.
    from .util import prerequisites as _prerequisites  # noqa: F401

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

#: Modules that `import resilient_transport` is enough for: they come with the names.
_MODULES = ("events", "exceptions")

if not TYPE_CHECKING:
    # A type checker would take any name for one that is there.

    def __getattr__(name: str) -> Any:
        """Import what the names stand for, when somebody asks for the first of them (PEP 562)."""
        if name not in __all__ and name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from .public_names import BY_NAME

        globals().update(BY_NAME)
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__, *_MODULES})
