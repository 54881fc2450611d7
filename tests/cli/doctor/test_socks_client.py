"""SOCKS by hand: what a line says to a proxy, and what becomes of its answers."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit

import pytest

from resilient_transport.cli.doctor.socks_client import SocksRefused, connect_through
from resilient_transport.testing import FaultServer
from tests.cli.doctor.visiting import visit_to
from tests.end_to_end.slow_peers import Slow
from tests.end_to_end.socks5 import SOCKS5
from tests.plain_server import plain_server
from tests.timeouts import LONG_TIMEOUT

#: The address that a proxy has connected from.
FROM = b"\x01\x7f\x00\x00\x01\x00\x00"


class Scripted(Slow):
    """Plays answers, each to what it hears, and keeps that."""

    def __init__(self, *answers: bytes) -> None:
        super().__init__()
        self._answers = answers
        self.heard: list[bytes] = []

    def talk(self, client):
        """Answer as often as there is an answer."""
        for answer in self._answers:
            self.heard.append(client.recv(65536))
            client.sendall(answer)


@pytest.fixture
def socks() -> Iterator[SOCKS5]:
    """Return a SOCKS5 proxy."""
    with closing(SOCKS5()) as proxy:
        yield proxy


def say(scheme: str, *answers: bytes, userinfo: str = "", host: str = "example.test") -> list[bytes]:
    """Ask a scripted proxy to connect to port 443 of a host; return what it has heard."""
    with Scripted(*answers) as peer:
        url = urlsplit(f"{scheme}://{userinfo}127.0.0.1:{peer.port}")
        with socket.create_connection(("127.0.0.1", peer.port), LONG_TIMEOUT) as sock:
            connect_through(sock, url, host, 443)
    return peer.heard


@pytest.mark.parametrize(("scheme", "asked"), [("socks5", "127.0.0.1"), ("socks5h", "localhost")])
def test_a_page_comes_through_a_socks_proxy(
    server: FaultServer, socks: SOCKS5, scheme: str, asked: str
) -> None:
    """All steps of a line work through it; who looks the name up is as in requests."""
    visit = visit_to(
        server.url, cert=server.authority.client[0], key=server.authority.client[1],
        ca=server.authority.ca_file, proxy=f"{scheme}://user:word@127.0.0.1:{socks.port}",
    )  # fmt: skip
    with visit.line() as line:
        line.dial()
        line.tunnel()
        line.shake_hands(visit.context())
        answer = line.ask()

    assert answer.status == 200
    assert socks.asked == [asked]
    assert socks.users == ["user"]


def test_a_plain_request_goes_through_as_to_a_server(socks: SOCKS5) -> None:
    """A SOCKS proxy sees no request, so that the request names a path only."""
    with plain_server() as url, visit_to(url, proxy=f"socks5h://127.0.0.1:{socks.port}").line() as line:
        line.dial()
        line.tunnel()
        answer = line.ask()

    assert answer.status == 200


@pytest.mark.parametrize(
    ("reply", "word"), [(2, "rules"), (4, "host unreachable"), (5, "refuses"), (99, "reply 99")]
)
def test_a_reply_that_is_a_refusal_is_told(reply: int, word: str) -> None:
    """Each reply has its own words."""
    with pytest.raises(SocksRefused, match=word) as met:
        say("socks5h", b"\x05\x00", bytes([5, reply, 0]) + FROM)

    assert met.value.reply == reply


def test_a_name_or_an_address_is_asked_for_as_what_it_is() -> None:
    """A name goes as a name, and addresses of both families as such."""
    agreed = (b"\x05\x00", b"\x05\x00\x00" + FROM)
    asked = [say("socks5h", *agreed, host=host)[1] for host in ("example.test", "192.0.2.1", "2001:db8::1")]
    port = struct.pack(">H", 443)

    assert asked[0] == b"\x05\x01\x00\x03\x0cexample.test" + port
    assert asked[1] == b"\x05\x01\x00\x01\xc0\x00\x02\x01" + port
    assert asked[2][:4] == b"\x05\x01\x00\x04"


@pytest.mark.parametrize(
    ("userinfo", "answers"),
    [("", (b"\x05\xff",)), ("user:wrong@", (b"\x05\x02", b"\x01\x01"))],
)
def test_a_password_that_is_missing_or_wrong_is_told(userinfo: str, answers: tuple[bytes, ...]) -> None:
    """Both are told apart from a refusal of the place."""
    with pytest.raises(SocksRefused, match="user name and") as met:
        say("socks5h", *answers, userinfo=userinfo)

    assert met.value.wants_password
    assert "wrong" not in str(met.value)


def test_what_speaks_no_socks_is_told() -> None:
    """A proxy for HTTP answers in letters."""
    with pytest.raises(SocksRefused, match="does not speak SOCKS"):
        say("socks5h", b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        say("socks5h", b"\x05")


def test_version_4_is_spoken_too() -> None:
    """4a leaves the name to the proxy; 4 takes an address."""
    heard = say("socks4a", b"\x00\x5a" + bytes(6), userinfo="me@")
    by_address = say("socks4", b"\x00\x5a" + bytes(6), host="127.0.0.1")
    with pytest.raises(SocksRefused, match="rejected"):
        say("socks4a", b"\x00\x5b" + bytes(6))

    assert heard == [b"\x04\x01\x01\xbb\x00\x00\x00\x01me\x00example.test\x00"]
    assert by_address == [b"\x04\x01\x01\xbb\x7f\x00\x00\x01\x00"]


def test_nothing_more_is_read_than_the_proxys_answer() -> None:
    """What follows it is the server's first word, and stays where it is."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        theirs.sendall(b"\x05\x00" + b"\x05\x00\x00\x03\x04name\x00\x01" + b"hello")
        proxy = urlsplit("socks5h://127.0.0.1:1080")
        asking = threading.Thread(target=connect_through, args=(ours, proxy, "example.test", 80))
        asking.start()
        asking.join(LONG_TIMEOUT)
        rest = ours.recv(100)

    assert rest == b"hello"
