"""A server that fails on purpose, to test clients against: real sockets, real TLS, real resets.

>>> from resilient_transport.testing import Fault, FaultServer, How, Moment, Rule, Script
>>> script = Script((Rule(Fault(Moment.HANDSHAKE, How.RST), first=2),))
>>> with FaultServer(script) as server:  # the first two connections are reset
...     session.verify, session.cert = server.authority.ca_file, server.authority.client
...     session.get(server.url + "/words/30")

With pytest, the fixtures `fault_server`, `fault_server_factory` and `fault_server_authority` need no import.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .authority import Authority
    from .observations import Counts, Execution, Tunnel
    from .script import Fault, How, Moment, Rule, Script
    from .server import FaultServer
    from .server_options import ServerOptions

__all__ = [
    "Authority",
    "Counts",
    "Execution",
    "Fault",
    "FaultServer",
    "How",
    "Moment",
    "Rule",
    "Script",
    "ServerOptions",
    "Tunnel",
]

if not TYPE_CHECKING:
    # A type checker would take any name for one that is there.

    def __getattr__(name: str) -> Any:
        """Import what the names stand for, when somebody asks for the first of them (PEP 562).

        pytest imports this package with its plugin in every run.
        """
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import authority, observations, script, server, server_options

        for module in (authority, observations, script, server, server_options):
            names = vars(module).keys() & set(__all__)
            globals().update({each: vars(module)[each] for each in names})
        return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
