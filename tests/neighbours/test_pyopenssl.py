"""pyOpenSSL in the place of `ssl`, as google-auth puts it into urllib3 for the whole process."""

import json
import ssl

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ClientCertificateRejected, ResilientAdapter, RetryPolicy, attempts_of
from resilient_transport.pool.registry import registry
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.programs import run_python

QUICK = RetryPolicy(retries=2, backoff=0.0)
INJECTED = "import urllib3.contrib.pyopenssl as neighbour; neighbour.inject_into_urllib3()"
LATE = f"import resilient_transport; {INJECTED}"
BACK = f"{INJECTED}; neighbour.extract_from_urllib3()"


@pytest.fixture
def handshakes(pyopenssl, monkeypatch):
    """Return a list that grows with each handshake by pyOpenSSL."""
    made = []
    wrap = pyopenssl.PyOpenSSLContext.wrap_socket
    monkeypatch.setattr(
        pyopenssl.PyOpenSSLContext, "wrap_socket", lambda *a, **k: (made.append(1), wrap(*a, **k))[1]
    )
    return made


def whoami(session, server, **settings):
    """Return whom the server has seen."""
    return session.get(server.url + "/whoami", **settings).json()["client"]


@pytest.mark.slow
@pytest.mark.parametrize("first", [INJECTED, LATE, BACK], ids=["before", "after", "and back"])
def test_before_or_after_the_import(first, server):
    """What calls give is what they give without it."""
    server.play(Script((Rule(Fault(Moment.HANDSHAKE), first=1),)))
    files = server.authority.ca_file, *server.authority.client
    arguments = "-W", "ignore", "-m", "tests.neighbours.calls", first, "ours", server.url
    said = json.loads(run_python(*arguments, *files).stdout)

    assert said == ["alice"] * 3 + [200_000, 300_000, "alice", "SSLError"]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_mutual_tls_on_kept_connections(version, handshakes, fault_server_factory, dial):
    """The client is who it says, tickets kill no idle connection, and POST needs no new one."""
    server = fault_server_factory(max_tls=version)
    session = dial(server)
    seen = [whoami(session, server) for _ in range(3)]
    sent = session.post(server.url + "/echo", data=b"x" * 200_000).content

    assert seen == ["alice"] * 3
    assert len(sent) == 200_000
    assert (len(handshakes), server.counts().accepts) == (1, 1)


def test_taken_out_again_within_a_session(pyopenssl, handshakes, server, dial):
    """The next handshake is made by what urllib3 has then, and the other way round."""
    server.play(Script())
    session, seen = dial(server), []
    out, into = pyopenssl.extract_from_urllib3, pyopenssl.inject_into_urllib3
    for put in (out, into, out):
        put()
        registry.clear()
        seen.append((whoami(session, server), len(handshakes)))

    assert seen == [("alice", 0), ("alice", 1), ("alice", 1)]


@pytest.mark.parametrize("reset", [Moment.CLIENT_HELLO, Moment.HANDSHAKE, Moment.EXECUTED])
def test_a_reset_is_repeated(reset, handshakes, server, dial):
    """As without it."""
    server.play(Script((Rule(Fault(reset), first=1),)))
    answer = dial(server, policy=QUICK).get(server.url)

    assert len(attempts_of(answer)) == 2


@pytest.mark.parametrize("how", [How.RST, How.FIN])
def test_a_cut_body_is_resumed_or_an_error(how, handshakes, server, dial):
    """A body with a length is resumed, one without is an error if no close_notify has ended it."""
    server.play(Script((Rule(Fault(Moment.BODY, how, after_bytes=5000), first=1),)))
    whole = dial(server, policy=QUICK).get(server.url + "/bytes/90000")
    registry.clear()
    server.play(Script((Rule(Fault(Moment.BODY, how, after_bytes=5000), on_request=None),)))
    with pytest.raises(requests.RequestException):
        dial(server, max_retries=0).get(server.url + "/until-close/90000")

    assert len(whole.content) == 90000
    assert len(attempts_of(whole)) == 2


def test_a_record_that_was_tampered_with(handshakes, server, dial):
    """It is an error in the middle of a body, which is resumed."""
    server.play(Script((Rule(Fault(Moment.BODY, How.CORRUPT, after_bytes=5000), first=1),)))
    answer = dial(server, policy=QUICK).get(server.url + "/bytes/90000")

    assert len(answer.content) == 90000
    assert attempts_of(answer)[0].error.startswith("SSLError: ")


def raised_by(adapter, server, dial, **settings):
    """Return what a call ends in."""
    session = dial(server, adapter)
    for name, value in settings.items():
        setattr(session, name, value)
    with pytest.raises(requests.RequestException) as caught:
        session.get(server.url)
    return caught.value


@pytest.mark.parametrize("certificate", ["untrusted", "expired", "misnamed"])
def test_a_bad_server_is_told_as_in_stock(certificate, handshakes, fault_server_factory, dial):
    """The same exception of requests, from the same of urllib3's; the attempts name OpenSSL's reason."""
    server = fault_server_factory(certificate=certificate)
    ours, stock = (
        raised_by(adapter, server, dial) for adapter in (ResilientAdapter(policy=QUICK), HTTPAdapter())
    )

    assert type(ours) is type(stock) is requests.exceptions.SSLError
    assert repr(ours.args[0].reason) == repr(stock.args[0].reason)


def test_an_untrusted_server_has_a_reason(handshakes, fault_server_factory, dial):
    """pyOpenSSL's error has none of its own; what OpenSSL has told is spelled as `ssl` does it."""
    error = raised_by(ResilientAdapter(policy=QUICK), fault_server_factory(certificate="untrusted"), dial)

    assert "CERTIFICATE_VERIFY_FAILED" in str(attempts_of(error)[0].error)


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_refused_client_certificate_is_named(version, handshakes, fault_server_factory, dial):
    """By its alert, once, as without pyOpenSSL."""
    server = fault_server_factory(max_tls=version)
    error = raised_by(ResilientAdapter(), server, dial, cert=server.authority.stranger_client)

    assert isinstance(error, ClientCertificateRejected)
    assert error.alert == "unknown_ca"
    assert len(attempts_of(error)) == server.counts().accepts == 1


def test_nobody_is_served_with_anothers_certificate(handshakes, server, dial):
    """Each identity has a context, and a connection, of its own; verification is part of it."""
    server.play(Script())
    session = dial(server)
    clients = server.authority.client, server.authority.other_client
    seen = [whoami(session, server, cert=cert) for cert in clients * 2]
    with pytest.raises(requests.exceptions.SSLError):
        whoami(session, server, verify=server.authority.other_ca_file)

    assert seen == ["alice", "bob"] * 2
    assert len(handshakes) == 3


def test_an_encrypted_key(handshakes, server, dial):
    """`key_password=` opens it; without one nobody is asked on the terminal, and the error names the cure."""
    server.play(Script())
    cert = server.authority.client[0], server.authority.encrypted_key
    opened = dial(server, key_password=lambda: server.authority.key_password)
    opened.cert = cert
    closed = dial(server)
    closed.cert = cert

    assert whoami(opened, server) == "alice"
    with pytest.raises(requests.exceptions.SSLError) as caught:
        closed.get(server.url)
    assert "key_password" in str(caught.value)


def test_a_directory_of_authorities(handshakes, server, dial, tmp_path):
    """`verify=` of a directory works, too; pyOpenSSL reads certificates from files only."""
    server.play(Script())
    authority = ssl.create_default_context(cafile=server.authority.ca_file).get_ca_certs(binary_form=True)
    (tmp_path / "0a1b2c3d.0").write_text(ssl.DER_cert_to_PEM_cert(authority[0]))
    session = dial(server)
    session.verify = str(tmp_path)

    assert whoami(session, server) == "alice"


def test_stock_of_before_had_no_such_context(pyopenssl):
    """The control: what is copied from `ssl`'s contexts, pyOpenSSL's does not have."""
    context = pyopenssl.PyOpenSSLContext(ssl.PROTOCOL_TLS_CLIENT)

    assert not hasattr(context, "post_handshake_auth")
    assert not isinstance(context, ssl.SSLContext)
