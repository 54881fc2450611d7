"""What goes wrong behind the workers of other people's tools, and what they are told (`fetching.py`)."""

from resilient_transport.testing import Fault, Moment, Rule, Script

_CUT = Fault(Moment.BODY, after_bytes=60)
#: A quarter of all connections is lost: in the handshake, with the request, or in the body.
LOSSES = Script(
    (
        Rule(Fault(Moment.HANDSHAKE), probability=0.1),
        *(Rule(Fault(Moment.REQUEST), probability=0.1, on_request=nth) for nth in range(1, 30, 3)),
        *(Rule(_CUT, probability=0.1, on_request=nth) for nth in range(2, 30, 3)),
    ),
    seed=3,
)


def settings_of(server, whose):
    """Return the environment of `fetching.py`."""
    settings = {"TARGET": server.url, "CA": server.authority.ca_file, "WITH": whose}
    return settings | dict(zip(("CERT", "KEY"), server.authority.client, strict=True))
