"""A certificate is refused whose files say something else by now: they are read again at once, and once."""

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from urllib3.util import Retry

from resilient_transport import (
    ClientCertificateRejected,
    Identity,
    ResilientAdapter,
    RetryPolicy,
    attempts_of,
    events,
    install,
)
from resilient_transport.call import loop, resume
from resilient_transport.connection import tls_connection
from resilient_transport.pool import identity, identity_source
from resilient_transport.testing import Fault, FaultServer, How, Moment, Rule, Script
from tests.end_to_end.hearing import Heard
from tests.pool.rotation import Secret
from tests.timeouts import LONG_TIMEOUT

AT_ONCE = 8


@pytest.fixture(scope="module", params=["1.2", "1.3"])
def strict(request, authority):
    """A server that demands a client certificate, with this version of TLS."""
    with FaultServer(authority=authority, max_tls=request.param) as server:
        yield server


@pytest.fixture
def server(strict, monkeypatch):
    """The same, at the beginning of its script; its refusal comes in time, however busy the machine is.

    Otherwise a POST would leave before it, and not be sent again (`test_an_alert_after_the_request`).
    """
    for name in ("PROOF_WAIT", "PROOF_WAIT_IN_DOUBT"):
        monkeypatch.setattr(tls_connection, name, LONG_TIMEOUT)
    strict.play(Script())
    return strict


@pytest.fixture
def blind(monkeypatch):
    """Have `stat` say that files are at rest and never change, as a file system with a coarse clock may."""
    monkeypatch.setattr(identity, "_SETTLED", float("-inf"))
    monkeypatch.setattr(identity, "fingerprint", lambda paths: ((0,) * 5,) * len(paths))


@pytest.fixture
def secret(authority, tmp_path, blind):
    """Return the files of a client whose certificate has expired."""
    return Secret(tmp_path / "secret", *authority.expired_client, authority.ca_file)


@pytest.fixture
def session(secret):
    """Return a session that shows them."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify, session.cert = secret.trusted, secret.pair
        session.mount("https://", ResilientAdapter())
        yield session


def renew(secret, authority):
    """Replace them by alice's."""
    list(Secret.renamed(secret, *authority.client, authority.ca_file))


def never_read_again(failure, *args):
    """Stand for a package that does not read files again."""
    return failure


@pytest.fixture
def never(monkeypatch):
    """Switch it off."""
    for room in (loop, resume):
        monkeypatch.setattr(room, "unless_rotated", never_read_again)


def ask(session, server, method="GET", path="/whoami", **settings):
    """Make a call; return its response, or what it raises."""
    try:
        return session.request(method, server.url + path, **settings)
    except requests.RequestException as error:
        return error


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_refused_certificate_is_read_again(server, authority, secret, session, method):
    """The call succeeds with its second attempt, as who the files say; it is executed once."""
    heard = Heard()
    session.mount("https://", ResilientAdapter(on_event=heard))
    first = ask(session, server, method)
    renew(secret, authority)
    second = ask(session, server, method)
    rotated = heard.of(events.IdentityRotated)

    assert isinstance(first, ClientCertificateRejected)
    assert [attempt.number for attempt in attempts_of(first)] == [1]
    assert second.json()["client"] == "alice"
    assert [attempt.number for attempt in attempts_of(second)] == [1, 2]
    assert "sent again at once: certificate files replaced" in attempts_of(second)[0].decision
    assert [execution.client for execution in server.executions()] == ["alice"]
    assert [(event.origin, event.usable) for event in rotated] == [(server.url, True)]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_without_that_it_would_fail(server, authority, secret, session, never, method):
    """The control: by `stat`, nothing was replaced."""
    ask(session, server, method)
    renew(secret, authority)
    error = ask(session, server, method)

    assert isinstance(error, ClientCertificateRejected)
    assert len(attempts_of(error)) == 1


def test_the_same_for_a_call_without_a_session(server, authority, secret, monkeypatch):
    """`requests.get()` under `install()`, with the bundle that the environment names."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", secret.trusted)
    with install(), requests.Session() as session:
        session.cert = secret.pair
        ask(session, server)
        renew(secret, authority)
        response = requests.get(server.url + "/whoami", cert=secret.pair)

    assert response.json()["client"] == "alice"
    assert len(attempts_of(response)) == 2


def test_it_is_done_once(server, authority, secret, session, monkeypatch):
    """Where the next identity is refused, too, and was replaced, too, the call fails."""
    ask(session, server)
    renew(secret, authority)
    find = ResilientAdapter.pool_read_since
    read = []

    def pool_read_since(self, *args):
        read.append(1)
        found = find(self, *args)
        for path, other in zip(secret.paths, authority.stranger_client, strict=False):
            path.write_bytes(Path(other).read_bytes())
        return found

    list(Secret.renamed(secret, *authority.stranger_client, authority.ca_file))
    monkeypatch.setattr(ResilientAdapter, "pool_read_since", pool_read_since)
    error = ask(session, server)

    assert isinstance(error, ClientCertificateRejected)
    assert error.alert == "unknown_ca"
    assert (len(read), len(attempts_of(error))) == (1, 2)


def test_files_that_say_the_same_are_no_reason(server, session):
    """The control: one attempt, one connection, for each call."""
    errors = [ask(session, server) for _ in range(2)]

    assert [len(attempts_of(error)) for error in errors] == [1, 1]
    assert server.counts().accepts == 2


def test_files_that_cannot_be_used_are_no_reason(server, authority, secret, session):
    """What is told is why the server has refused, and not what is wrong with the files now."""
    ask(session, server)
    Path(secret.pair[1]).unlink()
    error = ask(session, server)

    assert isinstance(error, ClientCertificateRejected)
    assert len(attempts_of(error)) == 1


@pytest.mark.parametrize(
    "settings",
    [
        {"policy": RetryPolicy(retries=0)},
        {"policy": RetryPolicy(connect_retries=0)},
        {"max_retries": 0},
        {"max_retries": Retry(3, connect=0)},
        {"max_retries": Retry(3, other=0)},
    ],
    ids=["retries", "connect_retries", "max_retries", "connect", "other"],
)
def test_who_wants_no_repetition_gets_none(server, authority, secret, session, settings):
    """Only the next call has the new identity."""
    session.mount("https://", ResilientAdapter(**settings))
    ask(session, server, "POST")
    renew(secret, authority)
    error, response = ask(session, server, "POST"), ask(session, server, "POST")

    assert len(attempts_of(error)) == 1
    assert isinstance(error, ClientCertificateRejected)
    assert response.json()["client"] == "alice"


def test_a_burst_that_waits_at_the_gate(server, authority, secret, session):
    """Who waits in the old identity's pool shares the refusal, and goes on in the new one's."""
    registry_knows(session, secret, server)
    renew(secret, authority)
    together = threading.Barrier(AT_ONCE)

    def call(_):
        together.wait(LONG_TIMEOUT)
        return ask(session, server, "POST")

    with ThreadPoolExecutor(AT_ONCE) as threads:
        responses = list(threads.map(call, range(AT_ONCE)))

    assert [response.json()["client"] for response in responses] == ["alice"] * AT_ONCE
    assert len(server.executions()) == AT_ONCE
    # Of the old identity one is refused, or a few that came when that was told already.
    refused = [attempt for response in responses for attempt in attempts_of(response) if attempt.error]
    assert 1 <= sum(not attempt.shared for attempt in refused) <= AT_ONCE


#: The alert comes so many seconds after the handshake: long after the wait for proof.
LATE = 1.0


@pytest.fixture
def late(authority):
    """A server whose alert comes when the request has left, on its first connection."""
    script = Script((Rule(Fault(Moment.HANDSHAKE, How.ALERT, seconds=LATE), first=1),))
    with FaultServer(script, authority=authority) as server:
        yield server


@pytest.mark.slow
@pytest.mark.parametrize(("method", "is_repeated"), [("GET", True), ("POST", False)])
def test_an_alert_after_the_request(late, authority, secret, session, method, is_repeated):
    """Only what may be repeated is: nobody can see that the server has not read it."""
    session.mount("https://", ResilientAdapter())
    registry_knows(session, secret, late)
    renew(secret, authority)
    found = ask(session, late, method)
    first = attempts_of(found)[0]

    assert first.stage == "request"
    assert isinstance(found, requests.Response) is is_repeated
    assert len(late.executions()) == is_repeated


def registry_knows(session, secret, server):
    """Have the files read, as a call does that goes elsewhere."""
    request = requests.Request("GET", server.url).prepare()
    session.get_adapter(server.url).get_connection_with_tls_context(
        request, secret.trusted, None, secret.pair
    )


@pytest.fixture
def elsewhere(authority):
    """A server whose certificate is from another authority."""
    with FaultServer(authority=authority, client_auth="none", certificate="untrusted") as server:
        yield server


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_renewed_authority_is_read_again(elsewhere, authority, secret, session, method):
    """A server's certificate that is not trusted is, once the CA bundle is read anew."""
    session.cert = None
    first = ask(session, elsewhere, method)
    list(Secret.rewritten(secret, *authority.client, authority.other_ca_file))
    second = ask(session, elsewhere, method)

    assert isinstance(first, requests.exceptions.SSLError)
    assert len(attempts_of(first)) == 1
    assert second.ok
    assert len(attempts_of(second)) == 2


def test_a_renewed_authority_without_that(elsewhere, authority, secret, session, never):
    """The control."""
    session.cert = None
    ask(session, elsewhere)
    list(Secret.rewritten(secret, *authority.client, authority.other_ca_file))

    assert isinstance(ask(session, elsewhere), requests.exceptions.SSLError)


def test_through_a_proxy(authority, secret, session, elsewhere):
    """The same where a proxy carries the connection."""
    session.cert = None
    with FaultServer(authority=authority, tls=False) as proxy:
        session.proxies = {"https": proxy.url}
        first = ask(session, elsewhere)
        list(Secret.rewritten(secret, *authority.client, authority.other_ca_file))
        second = ask(session, elsewhere)

    assert isinstance(first, requests.exceptions.SSLError)
    assert second.ok
    assert len(attempts_of(second)) == 2


@pytest.mark.parametrize("is_off", [False, True])
def test_the_rest_of_a_body(server, authority, secret, session, monkeypatch, is_off):
    """A body that breaks is resumed as who the files say by then; with this off it is not."""
    cut = Rule(Fault(Moment.BODY, after_bytes=100), first=1)
    server.play(Script((cut, Rule(Fault(Moment.HANDSHAKE, How.ALERT, seconds=0.0), first=1, skip=1))))
    if is_off:
        monkeypatch.setattr(resume, "unless_rotated", never_read_again)
    renew(secret, authority)
    with session.get(server.url + "/bytes/3000", stream=True) as response:
        list(Secret.renamed(secret, *authority.other_client, authority.ca_file))
        try:
            size = len(response.content)
        except requests.RequestException:
            size = 0
    seen = [execution.client for execution in server.executions()]

    assert size == (0 if is_off else 3000)
    assert seen == (["alice"] if is_off else ["alice", "bob"])


def test_an_identity_from_memory_is_asked_for_anew(server, authority, blind):
    """The callable of `identity=` was asked a moment ago, and gives another one by now."""
    given = [authority.expired_client]

    def identity_now():
        certificate, key = (Path(path).read_bytes() for path in given[-1])
        return Identity(certificate, key)

    with requests.Session() as session:
        session.trust_env, session.verify = False, authority.ca_file
        session.mount("https://", ResilientAdapter(identity=identity_now))
        first = ask(session, server)
        given.append(authority.client)
        second = ask(session, server)

    assert isinstance(first, ClientCertificateRejected)
    assert second.json()["client"] == "alice"
    assert len(attempts_of(second)) == 2


def test_a_burst_waits_for_the_one_that_asks(server, authority, blind, monkeypatch):
    """Eight threads are refused at once: one asks the callable anew, and the others wait for its answer."""
    given, refused, everybody = [authority.expired_client], [], threading.Event()
    patience = identity_source._patience

    def counted():
        refused.append(1)
        if len(refused) > AT_ONCE:
            everybody.set()
        return patience()

    def identity_now():
        assert not given[1:] or everybody.wait(LONG_TIMEOUT)
        return Identity(*(Path(path).read_bytes() for path in given[-1]))

    monkeypatch.setattr(identity_source, "_ASK_EVERY", LONG_TIMEOUT)
    monkeypatch.setattr(identity_source, "_patience", counted)
    with requests.Session() as session, ThreadPoolExecutor(AT_ONCE) as threads:
        session.trust_env, session.verify = False, authority.ca_file
        session.mount("https://", ResilientAdapter(identity=identity_now))
        ask(session, server)
        # The first call has waited twice: with nothing yet, and when it was refused.
        refused[:] = [1]
        given.append(authority.client)
        together = threading.Barrier(AT_ONCE)
        calls = [threads.submit(lambda: (together.wait(), ask(session, server))[1]) for _ in range(AT_ONCE)]
        responses = [call.result(LONG_TIMEOUT) for call in calls]

    assert [response.json()["client"] for response in responses] == ["alice"] * AT_ONCE
