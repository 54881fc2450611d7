"""requests-toolbelt's adapters: each is a class of its own, which can be derived from this one, too.

That each repeats then is in `tests/adapter/test_subclasses.py`; the one with a certificate in memory is also
in `tests/neighbours/test_own_contexts.py`.
"""

import ssl
from hashlib import sha256
from pathlib import Path

import pytest
import requests
from requests_toolbelt.adapters.fingerprint import FingerprintAdapter
from requests_toolbelt.adapters.host_header_ssl import HostHeaderSSLAdapter
from requests_toolbelt.adapters.socket_options import SocketOptionsAdapter, TCPKeepAliveAdapter
from requests_toolbelt.adapters.source import SourceAddressAdapter
from requests_toolbelt.adapters.ssl import SSLAdapter
from requests_toolbelt.adapters.x509 import X509Adapter

from resilient_transport import ResilientAdapter, attempts_of, stats
from tests.neighbours.tools.conftest import QUICK

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:Properties that")


def in_memory(kind, authority, **settings):
    """The client's certificate and key."""
    cert, key = (Path(path).read_bytes() for path in authority.client)
    return kind(cert_bytes=cert, pk_bytes=key, **settings)


def pinned(kind, authority, **settings):
    """The server's certificate, and no other."""
    first = ssl.PEM_cert_to_DER_cert(
        Path(authority.server("good")[0]).read_text().partition("\n-----END")[0] + END
    )
    return kind(sha256(first).hexdigest(), **settings)


END = "\n-----END CERTIFICATE-----\n"
ADAPTERS = {
    FingerprintAdapter: pinned,
    HostHeaderSSLAdapter: lambda kind, _, **settings: kind(**settings),
    SSLAdapter: lambda kind, _, **settings: kind(ssl.PROTOCOL_TLS_CLIENT, **settings),
    SocketOptionsAdapter: lambda kind, _, **settings: kind(socket_options=[], **settings),
    SourceAddressAdapter: lambda kind, _, **settings: kind("127.0.0.1", **settings),
    TCPKeepAliveAdapter: lambda kind, _, **settings: kind(idle=60, **settings),
    X509Adapter: in_memory,
}
EACH = pytest.mark.parametrize("kind", ADAPTERS, ids=lambda kind: kind.__name__)


@EACH
def test_derived_from_both_it_heals(kind, resetting, trusting):
    """`class Mine(SourceAddressAdapter, ResilientAdapter)` takes the arguments of both."""
    mine = type("Mine", (kind, ResilientAdapter), {})
    session = trusting(requests.Session())
    session.mount("https://", ADAPTERS[kind](mine, resetting.authority, policy=QUICK))

    assert len(attempts_of(session.get(resetting.url + "/words/3"))) == 2


@EACH
def test_its_own_class_is_left_alone(kind, installed, resetting, trusting):
    """Under `install()`, too, and named there: its methods would have no say any more."""
    session = trusting(requests.Session())
    session.mount("https://", ADAPTERS[kind](kind, resetting.authority))
    with pytest.raises(requests.ConnectionError):
        session.get(resetting.url)

    assert list(stats().left_alone) == ([f"{kind.__module__}.{kind.__name__}"] if installed.heals else [])
