"""Responses that are not the final one, and connections that must not carry another request."""

import gc
import io
import socket
import threading
from email.utils import formatdate

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of
from tests.missing import require


@pytest.fixture
def raw_server():
    """A function that starts a server which answers the requests of a connection with these bytes."""
    listeners = []

    def start(*answers, closes=False):
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        seen = []

        def serve():
            while True:
                try:
                    client, _ = listener.accept()
                except OSError:
                    return
                with client:
                    for answer in answers:
                        head = client.recv(65536)
                        if not head:
                            break
                        seen.append(head)
                        client.sendall(answer)
                    else:
                        closes or client.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/", seen

    yield start
    for listener in listeners:
        listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
        listener.close()


def get(adapter, url):
    """One GET with an adapter."""
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", adapter)
        return session.get(url, timeout=10)


HINTS = b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" * 2
FINAL = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nfinal"


def test_interim_responses_are_passed_over(raw_server):
    """After 103 comes the response (RFC 9110 section 15.2), and it is the one that is handed out."""
    url, _ = raw_server(HINTS + FINAL)

    response = get(ResilientAdapter(max_retries=0), url)

    assert (response.status_code, response.text) == (200, "final")


def test_stock_hands_out_the_hints(raw_server):
    """The control: http.client knows 100 only."""
    url, _ = raw_server(HINTS + FINAL)

    assert get(HTTPAdapter(), url).status_code == 103


def test_endless_interim_responses_end(raw_server):
    """A server that never comes to the point is an error."""
    url, _ = raw_server(HINTS * 60)

    with pytest.raises(requests.ConnectionError):
        get(ResilientAdapter(max_retries=0), url)


def test_a_switched_connection_is_not_reused(raw_server):
    """After 101 a connection speaks another protocol."""
    url, seen = raw_server(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", FINAL)
    adapter = ResilientAdapter(policy=RetryPolicy(retries=0))

    first = get(adapter, url)
    first.close()
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", adapter)
        second = session.get(url, timeout=10)

    assert [first.status_code, second.status_code] == [101, 101]
    assert not attempts_of(second)[0].reused
    assert len(seen) == 2


CUT_SIZE = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0005\r\nhello\r\n0"


@pytest.mark.parametrize("deadline", [None, 20])
def test_a_chunk_size_that_is_cut_is_not_the_last_chunk(raw_server, deadline):
    """The next size was 0005 and came as 0: the body is cut, and that is an error either way."""
    url, _ = raw_server(CUT_SIZE, closes=True)

    with pytest.raises(requests.exceptions.ChunkedEncodingError):
        get(ResilientAdapter(policy=RetryPolicy(retries=0, deadline=deadline)), url)


def test_stock_takes_it_for_whole(raw_server):
    """The control: stock hands out the part that came."""
    url, _ = raw_server(CUT_SIZE, closes=True)

    assert get(HTTPAdapter(), url).text == "hello"


def test_padded_chunk_sizes_are_read(raw_server):
    """The control of the other side: sizes, extensions and trailers that come whole are a whole body."""
    url, _ = raw_server(CUT_SIZE + b"005;x=y\r\nworld\r\n0\r\nX-Trailer: 1\r\n\r\n")

    assert get(ResilientAdapter(max_retries=0), url).text == "helloworld"


def test_a_deadline_leaves_a_closed_socket_alone(raw_server):
    """A response that ends its connection closes the socket with its last byte; nobody re-arms it then."""
    url, seen = raw_server(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello")

    response = get(ResilientAdapter(policy=RetryPolicy(deadline=20)), url)

    assert (response.text, len(seen)) == ("hello", 1)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_header_that_says_two_things_is_not_asked_for_again(raw_server):
    """Two lengths do not become one by asking again: stock's exception, after one request."""
    url, seen = raw_server(b"HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nok")

    with pytest.raises(requests.exceptions.InvalidHeader):
        get(ResilientAdapter(), url)
    # urllib3 leaves the socket of a response with such a header to the garbage collector.
    gc.collect()

    assert len(seen) == 1


@pytest.mark.parametrize(("value", "connections"), [("close", 2), ("keep-alive", 1)])
def test_a_connection_that_was_asked_to_close_is_not_kept(raw_server, value, connections):
    """The server may close it without saying so (RFC 9112 section 9.6): the next call would meet that."""
    url, _ = raw_server(*[FINAL] * 3)
    with requests.Session() as session:
        session.trust_env = False
        session.headers["Connection"] = value
        session.mount("http://", ResilientAdapter())
        reused = [attempts_of(session.get(url, timeout=10))[0].reused for _ in range(2)]

    assert reused.count(False) == connections


def test_a_subclass_may_replace_raw(raw_server):
    """What is not urllib3's response is not read ahead; the caller gets it as it is."""

    class Mine(ResilientAdapter):
        def build_response(self, request, response):
            built = super().build_response(request, response)
            response.drain_conn()
            response.release_conn()
            built.raw = io.BytesIO(b"mine")
            return built

    url, _ = raw_server(FINAL)

    assert get(Mine(), url).content == b"mine"


@pytest.mark.parametrize("deadline", [None, 20])
def test_cachecontrol_hears_what_is_read(raw_server, deadline):
    """It listens below the reading, within a deadline, too: the second answer is its own."""
    cachecontrol = require("cachecontrol")

    class Cached(cachecontrol.CacheControlAdapter, ResilientAdapter):
        pass

    date = formatdate(usegmt=True).encode()
    head = b"HTTP/1.1 200 OK\r\nCache-Control: max-age=60\r\nContent-Length: 5000\r\nDate: %b\r\n\r\n"
    url, seen = raw_server(head % date + b"x" * 5000)
    adapter = Cached()
    adapter.policy = RetryPolicy(deadline=deadline)
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", adapter)
        answers = [session.get(url) for _ in range(2)]

    assert [one.from_cache for one in answers] == [False, True]
    assert [len(one.content) for one in answers] == [5000, 5000]
    assert len(seen) == 1


BAKED = b"HTTP/1.1 200 OK\r\nSet-Cookie: taste=sweet; Path=/\r\nContent-Length: 2\r\n\r\nok"


@pytest.mark.parametrize(("answer", "cookies"), [(BAKED, {"taste": "sweet"}), (FINAL, {})])
@pytest.mark.parametrize("make", [ResilientAdapter, HTTPAdapter], ids=["ours", "stock"])
def test_cookies_are_found_where_there_are_any(raw_server, answer, cookies, make):
    """On the response and in the session, as with stock; a head without them is not searched."""
    url, _ = raw_server(answer)
    with requests.Session() as session:
        session.trust_env = False
        session.mount("http://", make())
        response = session.get(url, timeout=10)

        assert (response.cookies.get_dict(), session.cookies.get_dict()) == (cookies, cookies)
        assert response.raw._original_response is not None
