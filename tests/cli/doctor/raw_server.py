"""A server without TLS that answers in any way, for what no server does that is right."""

import contextlib
import re
import socket
import struct
import threading
from collections.abc import Callable
from enum import Enum

from tests.listening import Listening
from tests.timeouts import LONG_TIMEOUT


class Then(Enum):
    """What the server does with the connection after a response."""

    KEEP = "wait for the next request"
    CLOSE = "end it with a FIN"
    RESET = "reset it when the next request comes"
    SILENCE = "say nothing any more, and leave it open"


Reply = tuple[bytes, Then]


class RawServer(Listening):
    """Answers each request as it is told.

    Args:
        reply: gets the number of the request on its connection, from 1, and its head; returns the response's
            bytes, and what becomes of the connection.
        idle: seconds after which an idle connection is ended with a FIN; None: never.
    """

    def __init__(self, reply: Callable[[int, str], Reply], idle: float | None = None) -> None:
        self._reply, self._idle = reply, idle
        self._over = threading.Event()
        self._clients: list[socket.socket] = []
        #: The first lines of all requests.
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        """Where it is, without a path."""
        return f"http://127.0.0.1:{self.port}"

    def _hang_up(self) -> None:
        self._over.set()
        for client in self._clients:
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def _serve(self, client: socket.socket) -> None:
        self._clients.append(client)
        self._run(self._talk, client)

    def _talk(self, client: socket.socket) -> None:
        number, then = 0, Then.KEEP
        with client, contextlib.suppress(OSError):
            client.settimeout(self._idle)
            while head := self._head(client):
                if then is Then.RESET:
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    return
                if then is Then.SILENCE:
                    self._over.wait(LONG_TIMEOUT)
                    return
                number += 1
                self.asked.append(head.partition("\r\n")[0])
                answer, then = self._reply(number, head)
                client.sendall(answer)
                if then is Then.CLOSE:
                    return

    @staticmethod
    def _head(client: socket.socket) -> str:
        data = b""
        while b"\r\n\r\n" not in data:
            piece = client.recv(65536)
            if not piece:
                return ""
            data += piece
        return data.decode("latin-1")


def response(body: bytes = b"ok", status: str = "200 OK", version: str = "HTTP/1.1", **fields: str) -> bytes:
    """A response with a Content-Length; other fields by name, with `_` for `-`."""
    named = {"Content-Length": str(len(body))} | {
        key.replace("_", "-"): value for key, value in fields.items()
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in named.items())
    return f"{version} {status}\r\n{head}\r\n".encode("latin-1") + body


def ranged(body: bytes, head: str, **fields: str) -> bytes:
    """All of a body, or what a Range asks for of it, with fields that the caller may get wrong."""
    wanted = re.search(r"Range: bytes=(\d+)-", head)
    if wanted is None or "If-Range" not in head:
        return response(body, **fields)
    at = int(wanted[1])
    spans = {"Content_Range": f"bytes {at}-{len(body) - 1}/{len(body)}"} | fields
    return response(body[at:], "206 Partial Content", **spans)
