"""A server that fails on purpose, to test clients against: real sockets, real TLS, real resets.

    from resilient_transport.testing import Fault, FaultServer, How, Moment, Rule, Script

    script = Script((Rule(Fault(Moment.HANDSHAKE, How.RST), first=2),))
    with FaultServer(script) as server:
        session.verify, session.cert = server.authority.ca_file, server.authority.client
        session.get(server.url + "/words/30")  # the first two connections are reset

With pytest, the fixtures `fault_server`, `fault_server_factory` and `fault_server_authority` need no import.
"""

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
