"""`verify="system"`: whom the operating system trusts, in calls over real TLS."""

import json
import os
import ssl
import sys
from pathlib import Path

import pytest
import requests
import truststore

from resilient_transport import Identity, ResilientAdapter, install
from resilient_transport.pool import system_trust as room
from resilient_transport.pool.contexts import Contexts
from resilient_transport.testing import FaultServer, Script
from tests.pool.rotation import put
from tests.programs import run_python

CERTIFI = "CERTIFICATE_VERIFY_FAILED"


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


@pytest.fixture
def system(authority, monkeypatch, tmp_path):
    """Have the system trust our authority, and nobody else; return the file of its store."""
    store = put(authority.ca_file, tmp_path / "store.pem")
    (tmp_path / "none").mkdir()
    monkeypatch.setenv("SSL_CERT_FILE", store)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none"))
    return store


@pytest.fixture(params=["by files", "by the system"])
def way(request, monkeypatch):
    """As where the store is files; and as where truststore's contexts ask the system, here with OpenSSL."""
    if request.param == "by the system":
        monkeypatch.setattr(room, "_DECIDE", (sys.platform,))
    return request.param


def name(session, server, **arguments):
    """Return the name in the certificate that the server has seen."""
    return session.get(server.url + "/whoami", **arguments).json()["client"]


@pytest.mark.parametrize("how", ["session", "request"])
def test_the_systems_store_decides(server, dial, system, way, how):
    """For a session and for a call; the control is certifi, whose authorities do not know the server's."""
    session = dial(server)
    session.verify = "system" if how == "session" else True
    arguments = {"verify": "system"} if how == "request" else {}
    with pytest.raises(requests.exceptions.SSLError, match=CERTIFI):
        name(session, server, verify=True)

    assert [name(session, server, **arguments) for _ in range(2)] == ["alice"] * 2


def test_another_store_is_noticed(server, dial, system, monkeypatch):
    """Within a second, as other files are; then our server is not trusted any more."""
    monkeypatch.setattr("resilient_transport.pool.key._LOOK_EVERY", -1.0)
    session = dial(server)
    found = name(session, server, verify="system")
    put(server.authority.other_ca_file, system)
    with pytest.raises(requests.exceptions.SSLError, match="no CA in the operating system's trust store"):
        session.get(server.url, verify="system")

    assert found == "alice"


def test_under_install(server, system, way, authority):
    """`requests.get` as well; stock looks for a file of that name."""
    arguments = {"verify": "system", "cert": authority.client}
    with install():
        found = requests.get(server.url + "/whoami", **arguments).json()["client"]
    with pytest.raises(OSError, match="invalid path: system"):
        requests.get(server.url, **arguments)

    assert found == "alice"


def test_it_is_one_identity_with_its_file(authority, system):
    """Where the store is files: the same contents, one context."""
    contexts = Contexts([].append)

    assert contexts.of({"ca_certs": "system"}) is contexts.of({"ca_certs": authority.ca_file})


def test_a_directory_of_certificates_counts_as_openssl_counts_it(authority, system, monkeypatch, tmp_path):
    """With the names of `openssl rehash`; any other, and a directory that cannot be read, are passed over."""
    contexts = Contexts([].append)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nothing"))
    place = Path(os.environ["SSL_CERT_DIR"])
    monkeypatch.setattr(truststore._openssl, "_CA_FILE_CANDIDATES", [authority.other_ca_file])
    found = []
    for name_of_file in ("ca.pem", "0a1b2c3d.0"):
        put(authority.ca_file, place / name_of_file)
        found.append(room.system_trust())
    hashed = contexts.of({"ca_certs": "system"})

    assert found == [(None, authority.other_ca_file, None), (None, None, str(place))]
    assert hashed is contexts.of({"ca_cert_dir": str(place)})
    assert not room._has_certificates(str(place / "nowhere"))


def test_elsewhere_the_context_is_truststores(system, monkeypatch):
    """With nothing loaded besides, and frozen as any other."""
    monkeypatch.setattr(room, "_DECIDE", (sys.platform,))
    context = Contexts([].append).of({"ca_certs": "system"})

    assert isinstance(context, truststore.SSLContext)
    assert context._ctx.cert_store_stats()["x509"] == 0
    with pytest.raises(AttributeError, match="shared by the process and frozen"):
        context.load_verify_locations(os.environ["SSL_CERT_FILE"])


def test_through_an_https_proxy(server, dial, system, way, authority):
    """The proxy's certificate is the system's affair, too; the control is certifi."""
    with FaultServer(authority=authority, client_auth="optional") as proxy:
        proxy.play(Script())
        found = name(dial(server), server, verify="system", proxies={"https": proxy.url})
        with pytest.raises(requests.RequestException):
            dial(server).get(server.url, verify=True, proxies={"https": proxy.url})

    assert found == "alice"


def test_with_an_identity_in_memory(server, dial, system, way, authority):
    """Its certificate is shown; its authorities are not asked, since the call names others."""
    pair = (Path(path).read_bytes() for path in authority.client)
    identity = Identity(*pair, ca=Path(authority.other_ca_file).read_bytes())
    session = dial(server, ResilientAdapter(identity=identity))
    session.cert = None

    assert name(session, server, verify="system") == "alice"


def test_while_all_is_off(server, dial, system, way, environment):
    """With RESILIENT_TRANSPORT_BYPASS it holds all the same."""
    environment(bypass="1")
    session = dial(server)

    assert [name(session, server, verify="system") for _ in range(2)] == ["alice"] * 2
    with FaultServer(authority=server.authority, client_auth="optional") as proxy:
        proxy.play(Script())
        assert name(session, server, verify="system", proxies={"https": proxy.url}) == "alice"


def test_a_file_of_that_name_is_named_by_its_path(server, dial, system, authority, tmp_path, monkeypatch):
    """The word is the store; "./system" is the file."""
    monkeypatch.chdir(tmp_path)
    put(authority.other_ca_file, tmp_path / "system")
    session = dial(server)
    found = name(session, server, verify="system")
    with pytest.raises(requests.exceptions.SSLError, match=CERTIFI):
        name(session, server, verify="./system")

    assert found == "alice"


@pytest.mark.parametrize("own", ["constructor", "subclass"])
def test_beside_a_context_of_ones_own_it_is_refused(server, dial, system, own):
    """Whom that trusts is its own affair."""
    context = ssl.create_default_context()

    class Bringing(ResilientAdapter):
        def init_poolmanager(self, *args, **kwargs):
            super().init_poolmanager(*args, ssl_context=context, **kwargs)

    adapter = ResilientAdapter(ssl_context=context) if own == "constructor" else Bringing()
    session = dial(server, adapter)
    session.cert = None
    with pytest.raises(TypeError, match=r"give a truststore\.SSLContext there"):
        session.get(server.url, verify="system")


@pytest.mark.parametrize("bypass", ["0", "1"])
def test_without_truststore_it_says_what_to_install(server, dial, monkeypatch, environment, bypass):
    """As an error of requests'; nothing is opened."""
    environment(bypass=bypass)
    monkeypatch.setitem(sys.modules, "truststore", None)
    before = server.counts().accepts
    with pytest.raises(requests.exceptions.SSLError, match=r"the extra \[system\]\): pip install truststore"):
        dial(server).get(server.url, verify="system")

    assert server.counts().accepts == before


def test_another_error_is_told_as_ever(server, dial, system):
    """A client certificate that is not there, beside the word."""
    session = dial(server)
    session.cert = "/no/such/file.pem"
    with pytest.raises(OSError, match="Could not find the TLS certificate file, invalid path: /no/such"):
        session.get(server.url, verify="system")


def test_a_store_that_python_does_not_know_of(server, dial, authority, monkeypatch, tmp_path):
    """A Python that was made on another system has its places wrong: truststore knows more of them."""
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "nothing"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setattr(truststore._openssl, "_CA_FILE_CANDIDATES", ["/no/such", authority.ca_file])

    assert name(dial(server), server, verify="system") == "alice"


#: How often OpenSSL is told to read the store while a program makes connections.
PROGRAM = """
import json, sys, requests, truststore._openssl as theirs
from resilient_transport import ResilientAdapter, registry
url, cert, key = sys.argv[1:]
session = requests.Session()
session.trust_env = False
session.mount("https://", ResilientAdapter())
names = []
for _ in range(3):
    names.append(session.get(url + "/whoami", verify="system", cert=(cert, key)).json()["client"])
    registry.idle.most = 0
print(json.dumps([names, registry.contexts.built]))
"""


def test_a_process_reads_the_store_once(server, system, authority):
    """And has one context, however many connections it makes."""
    ran = run_python("-c", PROGRAM, server.url, *authority.client, SSL_CERT_FILE=system)

    assert json.loads(ran.stdout) == [["alice"] * 3, 1]
