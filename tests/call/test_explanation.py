"""What stands in `str(error)` besides stock's words: who has failed, where, and what to do."""

import pickle
import socket
import ssl

import pytest
import requests
from urllib3.exceptions import ConnectTimeoutError, MaxRetryError, ProtocolError

from resilient_transport import DeadlineExceeded, ResilientAdapter, RetryPolicy, attempts_of, override
from resilient_transport.call.explanation import explain
from resilient_transport.connection.tls_connection import TLSConnection
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

BEATS = "REQUESTS_CA_BUNDLE in the environment names it, which beats session.verify, but not verify=."


def failed(call):
    """Return what a call raises."""
    with pytest.raises(requests.RequestException) as caught:
        call()
    return caught.value


def test_the_environment_that_has_chosen_the_authorities_is_named(server, dial, monkeypatch):
    """The file, the variable that named it, and what is stronger; the control names the file alone."""
    server.play(Script())
    other = server.authority.other_ca_file
    session = dial(server)
    session.trust_env = True
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", other)
    chosen = failed(lambda: session.get(server.url))
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    given = failed(lambda: session.get(server.url, verify=other))

    assert f"comes from no CA in {other}. Give the file of its CA in verify=. {BEATS}" in str(chosen)
    assert f"comes from no CA in {other}. Give the file of its CA in verify=." in str(given)
    assert "REQUESTS_CA_BUNDLE" not in str(given)


def test_without_a_file_the_one_of_requests_is_named(server, dial):
    """Who gives no `verify` trusts the bundle that requests brings."""
    server.play(Script())
    session = dial(server)
    session.verify = True

    assert f"no CA in {requests.certs.where()}." in str(failed(lambda: session.get(server.url)))


@pytest.mark.parametrize(
    ("fault", "doing"),
    [
        (Fault(Moment.CLIENT_HELLO, How.STALL), "was in the TLS handshake."),
        (Fault(Moment.REQUEST, How.STALL), "waited for the answer."),
        (Fault(Moment.BODY, How.STALL, after_bytes=5), "read the response's body."),
    ],
)
def test_a_deadline_tells_what_the_call_was_doing(server, dial, fault, doing):
    """Which call, without its query, and where it was."""
    server.play(Script((Rule(fault),)))
    session = dial(server)
    with override(deadline=SHORT_TIMEOUT):
        error = failed(lambda: session.get(server.url + "/words/30?token=s3cret"))

    assert type(error) is DeadlineExceeded
    assert f"the call had begun: GET {server.url}/words/30 {doing}" in str(error)


def test_a_deadline_between_two_attempts(server, dial, monkeypatch):
    """A call that waits for its next attempt says so, and what it had met before."""
    monkeypatch.setattr("resilient_transport.call.loop.sleep", lambda _: over())
    server.play(Script((Rule(Fault(Moment.REQUEST)),)))
    session = dial(server, policy=RetryPolicy(backoff=0.001))
    block = override(deadline=LONG_TIMEOUT)

    def over():
        monkeypatch.setattr("resilient_transport.retry.deadline.Deadline.is_over", lambda _: True)

    with block:
        error = failed(lambda: session.get(server.url))

    assert str(error).endswith("waited for its next attempt.")
    assert "reset or closed the connection before its answer came" in str(error.__cause__)


def test_a_stream_says_who_has_cut_it(server, dial):
    """The error of a body that is read later has the server's name, too."""
    server.play(Script((Rule(Fault(Moment.BODY, How.RST, after_bytes=5)),)))
    response = dial(server, max_retries=0).post(server.url + "/words/300", data=b"x", stream=True)
    error = failed(lambda: response.content)

    assert f"{server.url} reset or closed the connection in the middle of the response's body." in str(error)


def test_the_proxy_is_named_without_its_password(dial, server):
    """Who refused is the proxy, as long as it was not passed."""
    session = dial(server)
    # Bound, so that no other test's server gets it meanwhile, and nobody listens.
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        proxies = {"https": f"http://user:s3cret@localhost:{port}"}
        error = failed(lambda: session.get(server.url, proxies=proxies))

    assert f"The proxy http://localhost:{port} refused the connection." in str(error)
    assert "s3cret" not in f"{error} {error!r}"


@pytest.mark.parametrize("port", ["99999", "80"])
@pytest.mark.parametrize("password", ["s3cr#et", "s3cr/et", "s3cr?et", "s3cret"])
def test_a_proxy_url_that_cannot_be_parsed(dial, server, port, password):
    """A password that ends the host stands in stock's message; here in none, nor in the pickle."""
    session = dial(server)
    proxies = {"https": f"http://user:{password}@127.0.0.1:{port}"}
    error = failed(lambda: session.get(server.url, proxies=proxies))
    told = f"{error} {error!r} {error.__cause__} {error.__context__}"

    assert "s3cr" not in told
    assert b"s3cr" not in pickle.dumps(error)
    if port == "99999" or password != "s3cret":
        assert "percent-encoded" in told


def test_the_words_for_a_context_of_ones_own(server, fault_server_factory):
    """What to do is said of the context, since `verify=` and `cert=` have no say over it."""
    demanding = fault_server_factory()
    context = ssl.create_default_context()
    trusting = ssl.create_default_context(cafile=demanding.authority.ca_file)
    told = []
    for own in (context, trusting):
        with requests.Session() as session:
            session.trust_env = False
            session.mount("https://", ResilientAdapter(ssl_context=own))
            told.append(str(failed(lambda session=session: session.get(demanding.url))))

    assert "comes from no CA in the ssl_context= of the adapter. Load the file of its CA into that" in told[0]
    assert "none was shown. Load one into the ssl_context= with load_cert_chain." in told[1]


def test_a_dead_proxy_and_one_of_no_name(dial, server):
    """It is the proxy that is told of, and not the server."""
    session = dial(server, max_retries=0)
    error = failed(lambda: session.get(server.url, proxies={"https": "http://no-such-proxy.test:3128"}))

    assert "The name no-such-proxy.test (of the proxy) was not found." in str(error)


def test_the_certificate_of_a_proxy(dial, server, fault_server_factory):
    """Within a sentence the proxy is written small."""
    proxy = fault_server_factory(certificate="untrusted")
    error = failed(lambda: dial(server).get(server.url, proxies={"https": proxy.url}))

    assert f"The certificate of the proxy {proxy.url} comes from no CA in" in str(error)


@pytest.mark.parametrize("kind", ["connect", "read"])
def test_a_time_out_crosses_to_another_process(dial, server, kind):
    """urllib3's error of a connect holds its connection, of which the pickle has the name."""
    fault = Fault(Moment.CLIENT_HELLO if kind == "connect" else Moment.REQUEST, How.STALL)
    server.play(Script((Rule(fault),)))
    error = failed(lambda: dial(server, max_retries=0).get(server.url, timeout=SHORT_TIMEOUT))
    met = ConnectTimeoutError(TLSConnection("localhost", 1), "timed out")
    copy, twin = pickle.loads(pickle.dumps((error, met)))

    assert (type(copy), str(copy)) == (type(error), str(error))
    assert "HTTPSConnection(host='localhost', port=1)" in str(twin.args[0])


@pytest.mark.parametrize("name", ["refused", "name"])
def test_the_words_cross_to_another_process(dial, server, name):
    """urllib3's own pickle has no pool, and nothing of what was said of it."""
    url = "https://no-such-name.test/" if name == "name" else "https://localhost:1/"
    error = failed(lambda: dial(server, max_retries=0).get(url))

    assert str(pickle.loads(pickle.dumps(error))) == str(error)
    assert "None: Max retries" in str(pickle.loads(pickle.dumps(error.args[0])))


@pytest.mark.parametrize(
    "error",
    [
        requests.ConnectionError("stock's words"),
        requests.ConnectionError(MaxRetryError(None, "/x", OSError("no"))),
        requests.ConnectionError(ProtocolError("Connection aborted.", ConnectionResetError(104, "reset"))),
        requests.exceptions.SSLError(),
        ProtocolError("Connection broken: IncompleteRead(3 bytes read)", OSError("no")),
    ],
)
def test_an_error_stays_what_it_was(error):
    """Its type, what it carries and the reason of that; its words come first, and are said once."""
    words, inner = str(error), error.args[0] if error.args else None
    reason = getattr(inner, "reason", None)
    explain(error, "So it is.")
    told = str(error)
    explain(error, "So it is.")

    assert str(error) == told
    assert told.count("So it is.") == 1
    if isinstance(inner, Exception) and isinstance(error, requests.RequestException):
        assert error.args[0] is inner
        assert inner.reason is reason if reason else inner.args[0] == "Connection aborted."
    assert told.startswith(words.rstrip(")'."))


def test_it_crosses_to_another_process(server, dial):
    """The attempts do, and the text of the error's own; nothing secret does."""
    server.play(Script((Rule(Fault(Moment.REQUEST)),)))
    error = failed(lambda: dial(server, max_retries=1).get(server.url + "/?token=s3cret"))
    copy = pickle.loads(pickle.dumps(error))

    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert attempts_of(copy) == attempts_of(error)
