"""Every moment × every way, as a client without manners sees it on the wire; each beside its control."""

import pytest

from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.testing.conftest import PLACES
from tests.testing.wires import (
    client_hello,
    closing_all,
    dial,
    get,
    is_silent,
    name_of,
    post,
    read_response,
    received,
    tcp,
    tls,
    to_the_end,
)
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

#: What each way looks like to a TLS client.
TLS_ENDS = {
    How.RST: "reset",
    How.FIN: "truncated",
    How.CLOSE_NOTIFY: "closed",
    How.CORRUPT: "DECRYPTION_FAILED_OR_BAD_RECORD_MAC",
}
#: And to a client without TLS.
PLAIN_ENDS = {How.RST: "reset", How.FIN: "closed", How.CLOSE_NOTIFY: "closed"}
WAYS = tuple(PLAIN_ENDS)
BODY = b"x" * 1000
RESPONSE_MOMENTS = (Moment.REQUEST, Moment.EXECUTED, Moment.HEAD, Moment.BODY)
CORRUPTIBLE = (Moment.REQUEST, Moment.EXECUTED, Moment.BODY)


@pytest.fixture(scope="module", params=PLACES)
def place(request):
    """Return where the servers of a run through this module are."""
    return request.param


def once(*args, **fields):
    """Return a script whose fault hits the first accept, so that the second is the control."""
    return Script((Rule(Fault(*args, **fields), first=1),))


def ask(server, request=None):
    """Send one request on a new connection; return what came back and how it ended."""
    with dial(server) as sock:
        sock.sendall(request or get("/words/30", "Connection: close"))
        return to_the_end(sock)


def handshake_ends(server):
    """Return how an attempt to shake hands ends."""
    try:
        with tls(server):
            return "done"
    except OSError as error:
        return name_of(error)


def plain_ends(server):
    """Say nothing; return what comes and how it ends. A reset may come while the connect still waits."""
    try:
        with tcp(server) as sock:
            return to_the_end(sock, SHORT_TIMEOUT)
    except ConnectionResetError as error:
        return b"", name_of(error)


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("moment", [Moment.ACCEPT, Moment.CLIENT_HELLO])
def test_a_handshake_ends_before_it_is_answered(server, moment, how):
    """The client fails inside its handshake; nothing is counted as one, and the next is fine."""
    server.play(once(moment, how))
    ended = handshake_ends(server)
    counts = server.wait_for(lambda counts: counts.open_connections == 0)

    assert ended == TLS_ENDS[how]
    assert (counts.accepts, counts.handshakes) == (1, 0)
    assert counts.handshake_failures == (moment is Moment.CLIENT_HELLO)
    assert handshake_ends(server) == "done"


@pytest.mark.parametrize("how", [How.RST, How.FIN])
def test_a_fault_at_accept_waits_for_nothing(server, how):
    """A client that says nothing is ended at once; the control is left alone."""
    server.play(once(Moment.ACCEPT, how))

    assert plain_ends(server) == (b"", PLAIN_ENDS[how])
    assert plain_ends(server) == (b"", "silent")


def test_a_clean_close_at_accept_is_an_alert_in_plain_text(server):
    """There is no key yet: record type alert, level warning, close_notify."""
    server.play(once(Moment.ACCEPT, How.CLOSE_NOTIFY))

    assert plain_ends(server) == (bytes.fromhex("15 0303 0002 01 00"), "closed")


def test_a_fault_at_client_hello_waits_for_all_of_it(server):
    """Half a ClientHello is not one: the connection stays, until the other half comes."""
    server.play(once(Moment.CLIENT_HELLO))
    hello = client_hello()
    with tcp(server) as sock:
        sock.sendall(hello[:100])
        early = is_silent(sock)
        sock.sendall(hello[100:])
        late = to_the_end(sock)

    assert early
    assert late == (b"", "reset")


@pytest.mark.parametrize("how", TLS_ENDS)
def test_a_fault_after_the_handshake_sends_nothing_first(server, how):
    """The client has shaken hands; no ticket comes, and of the request nothing is read."""
    server.play(once(Moment.HANDSHAKE, how))
    with tls(server) as sock:
        data, ended = to_the_end(sock)
        has_ticket = sock.session is not None and sock.session.has_ticket
    counts = server.counts()

    assert (data, ended) == (b"", TLS_ENDS[how])
    assert not has_ticket
    assert (counts.handshakes, counts.handshake_failures, counts.requests) == (1, 0, 0)
    assert ask(server)[1] == "closed"


@pytest.mark.parametrize(
    ("moment", "how"),
    [(moment, how) for moment in RESPONSE_MOMENTS for how in WAYS] + [(m, How.CORRUPT) for m in CORRUPTIBLE],
)
def test_a_response_breaks_at_its_moment(server, moment, how):
    """Executed or not, and as much of the response as the moment says, to the byte."""
    whole, _ = ask(server)
    head, _, body = whole.partition(b"\r\n\r\n")
    server.play(once(moment, how, after_bytes=50 if moment is Moment.BODY else 0))
    data, ended = ask(server)
    counts = server.counts()
    expected = {
        Moment.HEAD: whole[: (len(head) + 4) // 2],
        Moment.BODY: head + b"\r\n\r\n" + body[:50],
    }.get(moment, b"")

    assert (data, ended) == (expected, TLS_ENDS[how])
    assert (counts.requests, counts.executed) == (1, int(moment is not Moment.REQUEST))
    assert ask(server) == (whole, "closed")


@pytest.mark.parametrize("how", WAYS)
@pytest.mark.parametrize("moment", RESPONSE_MOMENTS)
def test_a_plain_response_breaks_at_its_moment(plain, moment, how):
    """The same without TLS, where a FIN is all the close there is."""
    whole, _ = ask(plain)
    plain.play(once(moment, how))
    data, ended = ask(plain)

    assert whole.startswith(data)
    assert len(data) < len(whole)
    assert ended == PLAIN_ENDS[how]
    assert plain.counts().executed == int(moment is not Moment.REQUEST)
    assert ask(plain) == (whole, "closed")


@pytest.mark.parametrize("how", WAYS)
def test_an_upload_breaks_before_it_is_complete(server, how):
    """The server does not wait for the rest, and does not execute; the control is executed."""
    server.play(once(Moment.UPLOAD, how, after_bytes=400))
    request = post("/echo", BODY, "Connection: close")
    with tls(server) as sock:
        sock.sendall(request[:-600])
        data, ended = to_the_end(sock)
    counts = server.counts()

    assert (data, ended) == (b"", TLS_ENDS[how])
    assert (counts.requests, counts.executed) == (1, 0)
    assert ask(server, request)[0].endswith(BODY)
    assert server.counts().executed == 1


def test_an_upload_breaks_right_after_its_head(server):
    """With no bytes to wait for, the head is enough."""
    server.play(once(Moment.UPLOAD))
    with tls(server) as sock:
        sock.sendall(post("/echo", BODY)[: -len(BODY)])

        assert to_the_end(sock) == (b"", "reset")


@pytest.mark.parametrize("moment", [Moment.BODY, Moment.UPLOAD])
def test_a_body_shorter_than_its_cut_passes(server, moment):
    """One byte more than there is: no fault. Exactly as many: the fault."""
    request = post("/echo", BODY, "Connection: close")
    server.play(once(moment, after_bytes=len(BODY) + 1))
    assert ask(server, request)[1] == "closed"
    server.play(once(moment, after_bytes=len(BODY)))
    data, ended = ask(server, request)

    assert ended == "reset"
    assert data.endswith(BODY) == (moment is Moment.BODY)


@pytest.mark.parametrize(
    "request_head", [get("/words/30").replace(b"GET", b"HEAD"), get("/status/204")], ids=["HEAD", "204"]
)
def test_a_response_without_a_body_has_no_such_moment(plain, request_head):
    """It is complete with its head, and the connection lives."""
    plain.play(once(Moment.BODY))
    with dial(plain) as sock:
        sock.sendall(request_head)
        assert sock.recv(1000).endswith(b"\r\n\r\n")
        sock.sendall(get("/"))

        assert read_response(sock)[0].startswith(b"HTTP/1.1 200")


def test_a_large_body_arrives_up_to_its_cut(server):
    """A reset throws nothing away that was sent before it, more than fits into a socket's buffer included."""
    server.play(once(Moment.BODY, after_bytes=5_000_000))
    data, ended = ask(server, get("/bytes/6000000"))

    assert ended == "reset"
    assert len(data.partition(b"\r\n\r\n")[2]) == 5_000_000


@pytest.mark.parametrize(("cut", "payload"), [(0, b""), (100, b"x" * 100)])
def test_a_chunked_body_is_cut_inside_a_chunk(server, cut, payload):
    """Framing does not count, and the chunk that is cut announced its full size."""
    server.play(once(Moment.BODY, How.FIN, after_bytes=cut))
    data, ended = ask(server, get("/chunked/1000"))
    body = data.partition(b"\r\n\r\n")[2]

    assert ended == "truncated"
    assert len(body) == (len(b"3e8\r\n") + 100 if payload else 0)
    assert body.startswith(b"3e8\r\n" if payload else b"")


def test_a_body_without_length_is_truncated_after_its_last_byte(server):
    """All bytes, but no close_notify: only TLS can tell."""
    server.play(once(Moment.BODY, How.FIN, after_bytes=500))
    cut = ask(server, get("/until-close/500"))
    whole = ask(server, get("/until-close/500"))

    assert cut == (whole[0], "truncated")
    assert whole[1] == "closed"


def test_a_stall_is_silence(server):
    """At each moment the connection stays open and nothing more comes; it ends with the client."""
    moments = tuple(moment for moment in Moment if moment is not Moment.TUNNEL)
    server.play(
        Script(tuple(Rule(Fault(at, How.STALL), first=1, skip=nth) for nth, at in enumerate(moments)))
    )
    with closing_all(*(stalled(server, moment) for moment in moments)) as socks:
        assert is_silent(socks[0])
        seen = {moment for moment, sock in zip(moments, socks, strict=True) if read_now(sock)}

        assert seen == {Moment.HEAD, Moment.BODY}
        assert [read_now(sock) for sock in socks] == [b""] * len(moments)
        assert server.counts().open_connections == len(moments)
    server.wait_for(lambda counts: counts.open_connections == 0)


def stalled(server, moment):
    """Take a connection to where it stalls."""
    if moment in (Moment.ACCEPT, Moment.CLIENT_HELLO):
        sock = tcp(server)
        sock.sendall(client_hello())
        return sock
    sock = tls(server)
    sock.sendall(get("/words/30"))
    return sock


def read_now(sock):
    """Return what is here; to find an end is a failure."""
    sock.settimeout(0)
    try:
        return received(sock)
    except BlockingIOError:
        return b""


def test_a_stall_ends_after_its_seconds(server):
    """Then the connection is closed, without a word."""
    server.play(once(Moment.REQUEST, How.STALL, seconds=0.0))

    assert ask(server) == (b"", "truncated")


def test_a_stall_ends_by_a_reset_of_all(server):
    """What is stalled is open, so it is reset with the others."""
    server.play(once(Moment.REQUEST, How.STALL))
    with tls(server) as sock:
        sock.sendall(get("/"))
        server.wait_for(lambda counts: counts.requests == 1)

        assert server.reset_peers() == 1
        assert to_the_end(sock) == (b"", "reset")


def test_a_fault_chooses_the_request_on_its_connection(server):
    """The first two are served; the third meets the reset."""
    server.play(Script((Rule(Fault(Moment.REQUEST), on_request=3),)))
    with tls(server) as sock:
        for _ in range(2):
            sock.sendall(get("/words/3"))
            assert read_response(sock)[1] == b"reset again whole"
        sock.sendall(get("/words/3"))

        assert to_the_end(sock) == (b"", "reset")
    assert server.counts().executed == 2


def test_a_fault_chooses_the_path(server):
    """Others are served."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), path="/bytes", on_request=None),)))

    assert ask(server)[1] == "closed"
    assert ask(server, get("/bytes/10"))[1] == "reset"


def test_a_run_repeats(server):
    """The same script over the same accepts has the same victims, and another seed has others."""

    def victims(seed):
        server.reset_peers()
        server.play(Script((Rule(Fault(Moment.REQUEST), probability=0.5),), seed=seed))
        return [ask(server)[1] for _ in range(12)]

    first = victims(1)

    assert set(first) == {"reset", "closed"}
    assert victims(1) == first
    assert victims(2) != first


def test_cuts_by_hazard_repeat(server):
    """Each response is cut somewhere else, and a second run cuts at the same bytes."""

    def lengths():
        server.reset_peers()
        server.play(Script((Rule(Fault(Moment.BODY, mean_bytes=3000.0)),), seed=4))
        return [len(ask(server, get("/bytes/4000", "Connection: close"))[0]) for _ in range(6)]

    first = lengths()

    assert len(set(first)) > 3
    assert lengths() == first


def test_a_response_can_be_delayed(server):
    """Executed long before it is answered."""
    server.play(Script(response_delay=LONG_TIMEOUT * 10))
    with tls(server) as sock:
        sock.sendall(get("/"))
        counts = server.wait_for(lambda counts: counts.executed == 1)

        assert is_silent(sock)
    assert counts.open_connections == 1
    server.reset_peers()
