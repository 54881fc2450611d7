"""No header value, no query string and no key material in any log, event, repr, exception or pickle."""

import gc
import pickle
import sys

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth
from requests.exceptions import UnrewindableBodyError
from urllib3.connection import HTTPConnection

from resilient_transport import (
    Breaker,
    CircuitOpen,
    ClientCertificateRejected,
    DeadlineExceeded,
    EndpointDisabled,
    ResilientAdapter,
    RetryPolicy,
    mount,
)
from resilient_transport.testing import Fault, FaultServer, How, Moment, Rule, Script
from tests.end_to_end.hearing import Heard
from tests.end_to_end.planting import SECRETS, needles, of_attempts, of_errors, planted
from tests.end_to_end.verbatim_server import RST, Answer, VerbatimServer, told
from tests.timeouts import SHORT_TIMEOUT

FAST = {"backoff": 0.001, "backoff_max": 0.001}
ONE = RetryPolicy(retries=1, **FAST)
#: Older `ssl` leaves open what was reset before its handshake, older http.client the answer to CONNECT.
pytestmark = pytest.mark.filterwarnings(
    "error"
    if sys.version_info >= (3, 13) and "_tunnel" in vars(HTTPConnection)
    else r"ignore:unclosed .*(SSLSocket|\[closed\]):ResourceWarning"
)
STALLED = Script((Rule(Fault(Moment.EXECUTED, How.STALL)),))


@pytest.fixture(scope="module", autouse=True)
def swept():
    """Leave none of them to the tests that follow."""
    yield
    gc.collect()


@pytest.fixture(scope="module")
def proxy():
    """Return a proxy."""
    with FaultServer(tls=False) as proxy:
        yield proxy


@pytest.fixture(autouse=True)
def everything(server, proxy, caplog):
    """Listen to every line of the package's log; begin with servers that do nothing wrong."""
    caplog.set_level("DEBUG", logger="resilient_transport")
    server.play(Script())
    proxy.play(Script())
    yield
    # What old http.client has left open is nobody's but this test's.
    gc.collect()


def log_of(caplog):
    """Return what the package has logged."""
    return "\n".join(
        record.getMessage() for record in caplog.records if record.name.startswith("resilient_transport")
    )


def test_the_secrets_are_really_sent(server, dial, proxy):
    """The control: the server gets what must not be told, and so does the proxy."""
    call = planted(dial, server, proxy)
    call.call("POST")
    (executed,) = server.executions()

    assert SECRETS["query"] in executed.path
    assert executed.idempotency_key == SECRETS["idempotency"]
    assert (executed.authorization_scheme, executed.client) == ("Bearer", "alice")
    assert executed.body_bytes == len(SECRETS["body"])
    assert proxy.tunnels()[0].proxy_authorization


@pytest.mark.parametrize("name", SECRETS)
def test_the_search_finds_a_secret(server, dial, name):
    """The control: were one told, in a text or in bytes, it would be found."""
    call = planted(dial, server)

    assert [found for found, _ in call.leaks(f"<{SECRETS[name]}>")] == [name]
    assert [found for found, _ in call.leaks(pickle.dumps({"x": SECRETS[name]}))] == [name]
    assert call.leaks("nothing") == set()


@pytest.mark.slow
@pytest.mark.parametrize("way", ["direct", "proxy", "userinfo"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    "moment",
    [
        Moment.ACCEPT, Moment.CLIENT_HELLO, Moment.HANDSHAKE, Moment.UPLOAD, Moment.REQUEST, Moment.EXECUTED,
        Moment.HEAD, Moment.BODY,
    ],
)  # fmt: skip
def test_whatever_breaks(server, dial, proxy, caplog, moment, method, way):
    """A call that fails at any stage, for good, tells no secret."""
    server.play(Script((Rule(Fault(moment)),)))
    call = planted(dial, server, proxy if way == "proxy" else None, way == "userinfo", policy=ONE)
    outcome = call.call(method, "/bytes/100")
    assert isinstance(outcome, requests.RequestException) or (moment, method) == (Moment.UPLOAD, "GET")

    assert call.leaks(log_of(caplog)) == set()
    assert str(server.port) in log_of(caplog)


@pytest.mark.parametrize("status", [407, 502])
def test_a_proxy_that_fails(server, dial, fault_server_factory, caplog, status):
    """Whether it refuses the credentials or breaks, nobody is told what they were."""
    proxy = fault_server_factory(tls=False, connect_status=status)
    call = planted(dial, server, proxy, policy=ONE)
    refused = call.call()
    proxy.play(Script((Rule(Fault(Moment.TUNNEL)),)))
    broken = call.call()
    proxy.close()
    gone = call.call()

    assert [isinstance(each, requests.ConnectionError) for each in (refused, broken, gone)] == [True] * 3
    assert call.leaks(log_of(caplog)) == set()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("query", ["", "?etag=weak"])
def test_a_body_that_breaks(server, dial, caplog, stream, query):
    """Resumed, begun again or broken for good: nothing is told of it but numbers."""
    server.play(Script((Rule(Fault(Moment.BODY, after_bytes=50), first=1),)))
    call = planted(dial, server, policy=ONE)
    call.call("GET", "/bytes/100" + query, stream=stream)

    assert "at stage body" in log_of(caplog)
    assert call.leaks(log_of(caplog)) == set()


@pytest.mark.parametrize("raises", [False, True])
def test_a_status_for_ever(server, dial, caplog, raises):
    """Neither the response's attempts nor a RetryError tells the query."""
    policy = RetryPolicy(retries=1, raise_on_status=raises, **FAST)
    call = planted(dial, server, policy=policy)
    outcome = call.call("GET", "/status/503")
    if not raises:
        call.told.append(repr(outcome.raw.retries))

    assert isinstance(outcome, requests.exceptions.RetryError) == raises
    assert call.leaks(log_of(caplog)) == set()


OURS = {
    "deadline": (DeadlineExceeded, {"policy": RetryPolicy(deadline=SHORT_TIMEOUT, **FAST)}, STALLED),
    "circuit": (CircuitOpen, {"policy": RetryPolicy(breaker=Breaker(failures=1), **FAST)}, Script()),
    "disabled": (EndpointDisabled, {"disable": ["https://localhost"]}, Script()),
    "certificate": (ClientCertificateRejected, {}, Script()),
}


@pytest.mark.parametrize("userinfo", [False, True])
@pytest.mark.parametrize("name", OURS)
def test_our_own_exceptions(server, dial, caplog, name, userinfo):
    """They tell no secret, and neither do their pickles, which leave the request behind."""
    kind, settings, script = OURS[name]
    if name == "disabled":
        settings = {"disable": [server.url]}
    server.play(script)
    call = planted(dial, server, userinfo=userinfo, **settings)
    if name == "certificate":
        call.session.cert = server.authority.stranger_client
    if name == "circuit":
        call.call("GET", "/status/500")
    error = call.call()
    copy = pickle.loads(pickle.dumps(error))

    assert type(error) is kind
    assert call.leaks(log_of(caplog), pickle.dumps(error), pickle.dumps(copy)) == set()
    assert (str(copy), copy.request) == (str(error), None)
    assert SECRETS["query"] in error.request.url


def test_a_redirect(server, dial, caplog):
    """Where a Location leads to is told without its query, whether the next hop fails or not."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), on_request=None, path="/words"),)))
    call = planted(dial, server, policy=ONE)
    error = call.call("GET", f"/redirect?to=/words/3%3Ftoken%3D{SECRETS['location']}")

    assert isinstance(error, requests.ConnectionError)
    assert SECRETS["location"] in error.request.url
    assert call.leaks(log_of(caplog)) == set()


def test_a_body_that_cannot_be_sent_again(server, dial, caplog):
    """An iterator is refused at a second call; what it had given is told to nobody."""
    call = planted(dial, server, policy=ONE)
    body = iter([SECRETS["body"].encode(), b"y"])
    prepared = call.session.prepare_request(requests.Request("PUT", call.url("/echo"), data=body))
    settings = call.session.merge_environment_settings(prepared.url, {}, False, None, None)
    call.session.send(prepared, **settings)
    with pytest.raises(UnrewindableBodyError) as caught:
        call.session.send(prepared, **settings)
    call.remember(caught.value)

    assert call.leaks(log_of(caplog)) == set()


def test_digest_authentication(server, caplog):
    """Challenged, and then reset: neither the password nor the digest that was made of it is told."""
    challenge = told(
        "401 No", b"", WWW_Authenticate='Digest realm="r", nonce="n", qop="auth"', Content_Length="0"
    )
    heard = Heard()
    with (
        VerbatimServer([Answer(challenge), Answer(b"", RST), Answer(b"", RST)]) as peer,
        requests.Session() as session,
    ):
        session.trust_env = False
        mount(session, policy=ONE, on_event=heard)
        with pytest.raises(requests.ConnectionError) as caught:
            session.get(peer.url, auth=HTTPDigestAuth("user", SECRETS["digest"]))
        digest = peer.fields(1)["authorization"].split('response="')[1].split('"')[0]
    texts = [*map(str, heard), *map(repr, heard), *map(str, of_attempts(caught.value))]
    texts += [*of_errors(caught.value), log_of(caplog)]

    assert len(peer.heads) == 3
    assert "gave up" in log_of(caplog)
    assert [text for text in texts if SECRETS["digest"] in text or digest in text] == []


@pytest.mark.parametrize("password", ["str", "callable"])
@pytest.mark.parametrize("path", ["wrong", "missing", "third"])
def test_a_key_that_is_not_usable(server, dial, caplog, password, path):
    """A wrong password, a missing file, a password in the tuple: what is wrong is told, and not with what."""
    certificate, key = server.authority.client[0], server.authority.encrypted_key
    secret = SECRETS["setting"]
    cert = {
        "wrong": (certificate, key),
        "missing": (certificate, key + ".gone"),
        "third": (certificate, key, secret),
    }
    with requests.Session() as session:
        session.trust_env = False
        adapter = ResilientAdapter(key_password=secret if password == "str" else lambda: secret)
        session.mount("https://", adapter)
        with pytest.raises(OSError, match="key|SSL") as caught:
            session.get(server.url, verify=server.authority.ca_file, cert=cert[path])
    texts = [*of_errors(caught.value), *map(str, of_attempts(caught.value)), log_of(caplog), repr(adapter)]

    assert "key_password" in "".join(texts) or path == "missing"
    assert [text for text in texts if secret in text] == []
    assert [name for name, one in needles(server) for text in texts if one in text.encode()] == []


def test_stock_tells_the_query(fault_server_factory):
    """The control: the message of stock's own error has it."""
    gone = fault_server_factory()
    gone.close()
    with requests.Session() as session:
        session.mount("https://", HTTPAdapter())
        with pytest.raises(requests.ConnectionError, match=SECRETS["query"]):
            session.get(f"{gone.url}/?token={SECRETS['query']}")
