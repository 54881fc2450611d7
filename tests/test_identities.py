"""docs/identities.md is true: its examples run. hvac is the real one, Vault and py-spiffe have stand-ins."""

import http.server
import json
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    load_pem_private_key,
    pkcs12,
)

from resilient_transport import registry
from resilient_transport.pool.identity_source import _ASK_EVERY, _PATIENCE
from resilient_transport.testing import FaultServer, Script
from tests.examples import headed_examples_of, run_example
from tests.missing import require
from tests.programs import ROOT

PAGE = (ROOT / "docs" / "identities.md").read_text(encoding="utf-8")
EXAMPLES = headed_examples_of("docs/identities.md")


@pytest.fixture
def server(authority):
    """A server that wants a client certificate."""
    with FaultServer(authority=authority) as server:
        server.play(Script())
        yield server
        registry.clear()


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    """Begin without the environment's proxies and CA."""
    monkeypatch.setattr(requests.Session, "trust_env", False, raising=False)


def read(path):
    """Return what is in a file."""
    return Path(path).read_bytes()


def run(heading, server, capsys, **names):
    """Run the example below a heading, with the real names; return its own names, and what it has printed."""
    found = run_example(EXAMPLES[heading], server, **names)
    return found, capsys.readouterr().out


def who(found, server):
    """Return the name that the server sees of the session of an example."""
    return found["session"].get(server.url + "/whoami").json()["client"]


def test_every_example_is_run():
    """None is passed over."""
    assert list(EXAMPLES) == ["A callable", "PKCS#12", "SPIFFE", "Vault", "Whom the system trusts"]


def test_numbers():
    """Those of the page are those of the code."""
    assert f"at most {_PATIENCE:g} s" in PAGE
    assert "at most once a second" in PAGE
    assert _ASK_EVERY == 1.0


def test_a_callable(server, capsys):
    """The page, and who is seen."""
    found, said = run("A callable", server, capsys)

    assert len(said.split()) == 3
    assert who(found, server) == "alice"


def test_pkcs12(server, capsys, authority, tmp_path):
    """With a password, as most are."""
    cert = x509.load_pem_x509_certificate(read(authority.client[0]))
    key = load_pem_private_key(read(authority.client[1]), None)
    how = BestAvailableEncryption(b"open sesame")
    path = tmp_path / "alice.p12"
    path.write_bytes(pkcs12.serialize_key_and_certificates(b"alice", key, cert, None, how))
    found, said = run("PKCS#12", server, capsys, **{"client.p12": str(path)})

    assert len(said.split()) == 3
    assert who(found, server) == "alice"


class Source:
    """Stands in for py-spiffe 0.3's `X509Source`: as much of it as the page uses, with real certificates."""

    authority = None
    pair = ()

    def __init__(self, *, timeout_in_seconds):
        """Begin with alice; the real one waits for its agent."""
        assert timeout_in_seconds

    def get_x509_context(self):
        """What the agent has given last."""
        authorities = x509.load_pem_x509_certificates(read(self.authority.ca_file))
        bundle = SimpleNamespace(x509_authorities=set(authorities))
        svid = SimpleNamespace(
            cert_chain=x509.load_pem_x509_certificates(read(self.pair[0])),
            private_key=load_pem_private_key(read(self.pair[1]), None),
            spiffe_id=SimpleNamespace(trust_domain="example.org"),
        )
        bundles = SimpleNamespace(get_bundle_for_trust_domain={"example.org": bundle}.get)
        return SimpleNamespace(default_svid=svid, x509_bundle_set=bundles)


def test_spiffe(server, capsys, authority, monkeypatch):
    """The agent brings another SVID, and the next second's calls show it."""
    monkeypatch.setattr("resilient_transport.pool.key._LOOK_EVERY", -1.0)
    monkeypatch.setattr("resilient_transport.pool.identity_source._ASK_EVERY", -1.0)
    monkeypatch.setattr(Source, "authority", authority)
    monkeypatch.setattr(Source, "pair", authority.client)
    monkeypatch.setitem(sys.modules, "spiffe", SimpleNamespace(X509Source=Source))
    found, said = run("SPIFFE", server, capsys)
    names = [who(found, server)]
    monkeypatch.setattr(Source, "pair", authority.other_client)
    names.append(who(found, server))

    assert len(said.split()) == 3
    assert names == ["alice", "bob"]


class Vault(http.server.BaseHTTPRequestHandler):
    """Stands in for Vault: its PKI engine's `issue`, and nothing else."""

    authority = None
    issued = 0
    is_sealed = False

    def do_POST(self):
        """Issue a certificate for an hour."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        kind = type(self)
        is_right = (self.path, self.headers["X-Vault-Token"]) == ("/v1/pki/issue/service", "s.token")
        if kind.is_sealed or not is_right:
            self.answer(503, {"errors": ["Vault is sealed"]})
            return
        kind.issued += 1
        cert, key = (
            read(path).decode() for path in self.authority.issue(f"{asked['common_name']}-{kind.issued}")
        )
        ca = read(self.authority.ca_file).decode()
        data = {"certificate": cert, "private_key": key, "issuing_ca": ca, "ca_chain": [ca]}
        self.answer(200, {"data": {**data, "expiration": int(time.time()) + 3600}})

    do_PUT = do_POST

    def answer(self, status, what):
        """Answer in JSON."""
        body = json.dumps(what).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def vault(authority, monkeypatch):
    """Return the URL of a stand-in for Vault."""
    monkeypatch.setattr(Vault, "authority", authority)
    monkeypatch.setattr(Vault, "issued", 0)
    monkeypatch.setattr(Vault, "is_sealed", False)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Vault) as listening:
        thread = threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()
        thread.join()


def test_vault(server, capsys, vault, monkeypatch):
    """One certificate is issued, and another when its time has come; meanwhile Vault may be sealed."""
    require("hvac")
    monkeypatch.setattr("resilient_transport.pool.key._LOOK_EVERY", -1.0)
    monkeypatch.setattr("resilient_transport.pool.identity_source._ASK_EVERY", -1.0)
    found, said = run("Vault", server, capsys, **{"https://vault.example": vault})
    source = found["session"].get_adapter(server.url)._identity.ask
    names = [who(found, server), who(found, server)]
    source.renew_at = 0.0
    Vault.is_sealed = True
    names.append(who(found, server))
    Vault.is_sealed = False
    names.append(who(found, server))

    assert len(said.split()) == 3
    assert names == ["service.example-1"] * 3 + ["service.example-2"]


def test_whom_the_system_trusts(server, capsys, authority, monkeypatch, tmp_path):
    """Where the system trusts the server."""
    monkeypatch.setenv("SSL_CERT_FILE", authority.ca_file)
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    found, said = run("Whom the system trusts", server, capsys)

    assert len(said.split()) == 3
    assert who(found, server) == "alice"
