"""Responses that are not the final one, and connections that must not carry another request."""

import socket
import threading

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of


@pytest.fixture
def raw_server():
    """A function that starts a server which answers the requests of a connection with these bytes."""
    listeners = []

    def start(*answers):
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
                        client.recv(1)

        threading.Thread(target=serve, daemon=True).start()
        return f"http://127.0.0.1:{listener.getsockname()[1]}/", seen

    yield start
    for listener in listeners:
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
