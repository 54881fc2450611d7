"""A server that says, word for word, what a test has written down, and then ends the connection as told."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from tests.listening import Listening
from tests.timeouts import LONG_TIMEOUT

#: How it may go on after an answer: wait for the next request; reset; close; close without close_notify; say
#: nothing more until the client leaves.
KEEP, RST, FIN, RAGGED, STALL = "keep", "rst", "fin", "ragged", "stall"

#: What ends a request's head.
END = b"\r\n\r\n"


@dataclass
class Answer:
    """What is sent, and how the connection goes on."""

    data: bytes
    then: str = KEEP
    #: Called before it is sent.
    before: Callable[[], object] = lambda: None


@dataclass
class VerbatimServer(Listening):
    """Answers one request after the other, whatever connection it comes on.

    Args:
        answers: in the order in which they are given; or a function from a request's head to an answer.
        context: TLS, if any.
        takes_bodies: whether requests' bodies are read.
    """

    answers: Sequence[Answer] | Callable[[bytes], Answer]
    context: ssl.SSLContext | None = None
    takes_bodies: bool = False
    heads: list[bytes] = field(default_factory=list)
    accepts: int = 0

    def __enter__(self) -> "VerbatimServer":
        self._lock = threading.Lock()
        self._idle: set[socket.socket] = set()
        self._over = False
        super().__enter__()
        return self

    def _hang_up(self) -> None:
        with self._lock:
            self._over = True
            for client in self._idle:
                # Kept by the client; what it has not drained it has to close itself.
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        """Where it is."""
        scheme = "https" if self.context else "http"
        return f"{scheme}://localhost:{self.port}/"

    def wait_until_left(self) -> None:
        """Wait until the client has closed the first connection."""
        self._threads[1].join(LONG_TIMEOUT)
        assert not self._threads[1].is_alive()

    def fields(self, nth: int) -> dict[str, str]:
        """The fields of the nth request, from 0, by their names in lower case."""
        lines = self.heads[nth].decode("latin-1").split("\r\n")[1:]
        return {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)
        }

    def _serve(self, client: socket.socket) -> None:
        self._run(self._talk, client)

    def _talk(self, client: socket.socket) -> None:
        client.settimeout(LONG_TIMEOUT)
        try:
            # Its words leave at once: a close while the client sends throws away what waits for an ACK.
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if self.context is not None:
                client = self.context.wrap_socket(client, server_side=True)
            while (head := self._head_from(client)) and self._tell(client, self._next(head)):
                pass
        except OSError:
            pass
        finally:
            client.close()

    def _head_from(self, client: socket.socket) -> bytes:
        with self._lock:
            if self._over:
                return b""
            self._idle.add(client)
        head = b""
        while not head.endswith(END) and (data := _received(client, head)):
            head += data
        with self._lock:
            self._idle.discard(client)
        if not head.endswith(END):
            return b""
        if self.takes_bodies:
            # What is not read makes a reset of a close.
            _, _, length = head.lower().partition(b"content-length: ")
            left = int(length.partition(b"\r\n")[0] or 0)
            while left:
                left -= len(client.recv(left)) or left
        return head

    def _next(self, head: bytes) -> Answer:
        with self._lock:
            self.heads.append(head)
            if callable(self.answers):
                return self.answers(head)
            return self.answers[len(self.heads) - 1]

    def _tell(self, client: socket.socket, answer: Answer) -> bool:
        answer.before()
        client.sendall(answer.data)
        if answer.then == RST:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif answer.then == STALL:
            client.recv(1)
        elif answer.then == FIN and isinstance(client, ssl.SSLSocket):
            # Says goodbye, and does not wait for an answer.
            client.settimeout(0)
            with suppress(ssl.SSLWantReadError):
                client.unwrap()
        return answer.then == KEEP


def _received(client: socket.socket, head: bytes) -> bytes:
    """Receive more of a head; what follows it stays where it is, and TLS does not let one look ahead."""
    if isinstance(client, ssl.SSLSocket):
        return client.recv(1)
    ahead = client.recv(65536, socket.MSG_PEEK)
    whole, end, _ = (head + ahead).partition(END)
    return client.recv(len(whole + end) - len(head)) if ahead else b""


def told(status: str, body: bytes, **fields: str) -> bytes:
    """Return a response with these fields, and nothing else; underscores stand for hyphens."""
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body
