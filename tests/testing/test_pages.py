"""What the server answers, as stock requests sees it."""

import gzip
import hashlib

import pytest

from resilient_transport.testing.engine.pages import noise
from tests.testing.wires import dial, get, is_silent, post, read_response, tls, to_the_end


def test_there_is_a_home(server, session):
    """Small, with a length, on a connection that stays."""
    responses = [session.get(server.url) for _ in range(3)]

    assert {response.status_code for response in responses} == {200}
    assert responses[0].headers["Content-Length"] == str(len(responses[0].content))
    assert server.counts().accepts == 1


def test_an_unknown_page_is_not_found(server, session):
    """And a known one with a bad argument says so."""
    assert session.get(server.url + "/nowhere").status_code == 404
    assert session.get(server.url + "/bytes/many").status_code == 400
    assert session.get(server.url + "/bytes/-1").status_code == 400


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "QUERY"])
def test_any_method_is_answered(server, session, method):
    """And executed once."""
    assert session.request(method, server.url + "/words/3").text == "reset again whole"
    assert [(each.method, each.path) for each in server.executions()] == [(method, "/words/3")]


@pytest.mark.parametrize("path", ["/words/30", "/bytes/1000", "/gzip/1000", "/chunked/1000"])
def test_head_has_the_head_only(server, session, path):
    """The same headers as GET, and the connection can be used again."""
    head, whole = session.head(server.url + path), session.get(server.url + path)

    assert head.content == b""
    assert head.headers == whole.headers
    assert server.counts().accepts == 1


def test_words_are_counted(server, session):
    """As many as were asked for."""
    assert len(session.get(server.url + "/words/250").text.split()) == 250
    assert session.get(server.url + "/words/0").text == ""


@pytest.mark.parametrize("page", ["bytes", "gzip", "chunked", "until-close"])
@pytest.mark.parametrize("size", [0, 1, 100_000])
def test_bytes_are_the_same_in_every_framing(server, session, page, size):
    """Deterministic, and decoded to what was asked for."""
    response = session.get(f"{server.url}/{page}/{size}")

    assert response.content == noise(size)
    assert response.headers.get("Content-Encoding") == ("gzip" if page == "gzip" else None)
    assert ("Content-Length" in response.headers) is (page in ("bytes", "gzip"))
    assert response.headers["ETag"] == f'"{page}-{size}"'


def test_a_compressed_body_is_the_same_each_time(server, session):
    """Or it could not be resumed."""
    with session.get(server.url + "/gzip/5000", stream=True) as response:
        encoded = response.raw.read(decode_content=False)

    assert gzip.decompress(encoded) == noise(5000)
    assert session.get(server.url + "/gzip/5000").headers["Content-Length"] == str(len(encoded))


@pytest.mark.slow
def test_a_reader_may_take_its_time(plain):
    """What fits into no buffer waits for room, and arrives whole."""
    with dial(plain) as sock:
        sock.sendall(get("/bytes/30000000"))
        plain.wait_for(lambda counts: counts.executed == 1)
        assert is_silent_elsewhere(plain)
        head, body = read_response(sock)

    assert head.startswith(b"HTTP/1.1 200 OK")
    assert hashlib.sha256(body).digest() == hashlib.sha256(noise(30_000_000)).digest()


def is_silent_elsewhere(plain):
    """Wait on a connection that is sent nothing, while another one fills up."""
    with dial(plain) as other:
        return is_silent(other)


def test_until_close_closes(server):
    """With a close_notify, so that the end can be trusted."""
    with tls(server) as sock:
        sock.sendall(get("/until-close/100"))
        data, ended = to_the_end(sock)

    assert data.endswith(b"\r\n\r\n" + noise(100))
    assert ended == "closed"


@pytest.mark.parametrize("chunked", [False, True])
def test_an_echo_returns_the_body(server, session, chunked):
    """And the books have its length and digest."""
    body = noise(100_000)
    response = session.put(
        server.url + "/echo", data=iter([body[:70_000], body[70_000:]]) if chunked else body
    )
    (execution,) = server.executions()

    assert response.content == body
    assert (execution.body_bytes, execution.body_sha256) == (100_000, hashlib.sha256(body).hexdigest())


def test_a_body_can_be_asked_for(server):
    """`Expect: 100-continue` is answered before the body is read."""
    with tls(server) as sock:
        sock.sendall(post("/echo", b"", "Expect: 100-continue").replace(b"Length: 0", b"Length: 4"))
        invitation = sock.recv(100)
        sock.sendall(b"body")

        assert invitation == b"HTTP/1.1 100 Continue\r\n\r\n"
        assert read_response(sock)[1] == b"body"


def test_a_status_is_answered_as_often_as_asked(server, session):
    """Twice per id, then 200; without `times` for ever."""
    url = server.url + "/status/503?times=2&retry_after=1"
    first = session.get(url + "&id=a")

    assert (first.status_code, first.headers["Retry-After"]) == (503, "1")
    assert [session.get(url + "&id=a").status_code for _ in range(3)] == [503, 200, 200]
    assert [session.get(url + "&id=b").status_code for _ in range(3)] == [503, 503, 200]
    assert {session.get(server.url + "/status/418").status_code for _ in range(3)} == {418}


def test_a_status_without_a_body_has_none(server, session):
    """204 ends with its head."""
    assert session.get(server.url + "/status/204").content == b""
    assert session.get(server.url).status_code == 200
    assert server.counts().accepts == 1


def test_a_redirect_leads_where_it_says(server, session):
    """302 unless another status is asked for."""
    response = session.get(server.url + "/redirect?to=/words/2")
    other = session.get(server.url + "/redirect?to=/&status=307", allow_redirects=False)

    assert ([each.status_code for each in response.history], response.text) == ([302], "reset again")
    assert (other.status_code, other.headers["Location"]) == (307, "/")


def test_ntlm_belongs_to_its_connection(server):
    """Who authenticated it is served without credentials; another connection asks again."""
    with tls(server) as first, tls(server) as second:

        def ask(sock, *headers):
            sock.sendall(get("/ntlm", *headers))
            head, body = read_response(sock)
            return head.split(b" ")[1], b"WWW-Authenticate: NTLM" in head, body

        refused = ask(first)
        accepted = ask(first, "Authorization: NTLM alice")

        assert refused == (b"401", True, b"who are you?\n")
        assert accepted == (b"200", False, b"alice")
        assert ask(first) == (b"200", False, b"alice")
        assert ask(first, "Authorization: Basic eA==")[0] == b"401"
        assert ask(second)[0] == b"401"
        assert ask(second, "Authorization: NTLM bob")[2] == b"bob"
        assert ask(first)[2] == b"alice"


def test_slow_is_executed_before_it_waits(server):
    """The answer comes later than the execution."""
    with tls(server) as sock:
        sock.sendall(get("/slow/100"))
        server.wait_for(lambda counts: counts.executed == 1)

        assert is_silent(sock)
    server.reset_peers()


def test_slow_answers(server, session):
    """And says how long it took; nonsense is refused."""
    assert session.get(server.url + "/slow/0.01").text == "after 0.01 s\n"
    assert session.get(server.url + "/slow/long").status_code == 400


def test_early_does_not_wait_for_the_body(plain):
    """It answers the head, closes, and executes nothing."""
    with dial(plain) as sock:
        sock.sendall(post("/early/413", b"x" * 1000)[:-999])
        data, ended = to_the_end(sock)
    counts = plain.counts()

    assert data.startswith(b"HTTP/1.1 413 ")
    assert b"Connection: close" in data
    assert ended == "closed"
    assert (counts.requests, counts.executed) == (1, 0)


@pytest.mark.parametrize("request_line", [b"nonsense\r\n\r\n", get("/early/never")])
def test_nonsense_ends_the_connection(plain, request_line):
    """Nothing is executed; the server lives."""
    with dial(plain) as sock:
        sock.sendall(request_line)

        assert to_the_end(sock) == (b"", "closed")
    assert plain.counts().executed == 0


def test_http_1_0_is_closed_after_its_answer(plain):
    """As it was the custom."""
    with dial(plain) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        data, ended = to_the_end(sock)

    assert b"Connection: close" in data
    assert ended == "closed"


def test_what_was_sent_is_in_the_books(server, session):
    """Ids, keys and schemes; of secrets nothing that can be read."""
    headers = {"X-Request-Id": "r1", "Idempotency-Key": "k1", "Authorization": "Bearer hunter2"}
    session.post(server.url + "/echo?a=1", data=b"abc", headers=headers)
    session.get(server.url)
    session.get(server.url)
    first, *others = server.executions()

    assert (first.request_id, first.path, first.idempotency_key) == ("r1", "/echo?a=1", "k1")
    assert (first.authorization_scheme, first.proxy_authorization) == ("Bearer", None)
    assert "hunter2" not in repr(first)
    assert [each.request_id for each in others] == ["anonymous-1", "anonymous-2"]
    assert others[0].idempotency_key is others[0].authorization_scheme is None
    assert server.counts().executions == {"r1": 1, "anonymous-1": 1, "anonymous-2": 1}
