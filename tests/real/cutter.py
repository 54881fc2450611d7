"""A proxy below TLS that cuts each connection after so many bytes, and counts what it has passed on."""

import random
import socket
import struct
import threading
from contextlib import suppress

from tests.listening import Listening

#: Bytes that are under way at the most: what the kernel still holds when a connection is cut was for nothing.
BUFFER = 8_192


class Cutter(Listening):
    """Passes connections on to a port of loopback, and resets each after a number of bytes drawn anew.

    Args:
        port: where to.
        mean: the mean of the exponential distribution that the number is drawn from, in bytes towards the
            client; None: nothing is cut.
        seed: where the draws begin.
    """

    def __init__(self, port: int, mean: float | None, seed: int = 0) -> None:
        self._to = port
        self._mean = mean
        self._luck = random.Random(seed)
        self._lock = threading.Lock()
        self._open: list[socket.socket] = []
        #: Connections that came, those that were cut, and bytes that were passed on to the client.
        self.accepts = self.cuts = self.passed = 0

    def _listen(self) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER)
        listener.bind(("127.0.0.1", 0))
        listener.listen(64)
        return listener

    def _hang_up(self) -> None:
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)

    @property
    def url(self) -> str:
        """The https URL, without a path."""
        return f"https://127.0.0.1:{self.port}"

    def _serve(self, client: socket.socket) -> None:
        left = None if self._mean is None else int(self._luck.expovariate(1 / self._mean)) + 1
        server = socket.create_connection(("127.0.0.1", self._to))
        self._open += [client, server]
        self._run(self._up, client, server)
        self._run(self._down, client, server, left)

    def _up(self, client: socket.socket, server: socket.socket) -> None:
        with suppress(OSError):
            while data := client.recv(65_536):
                server.sendall(data)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _down(self, client: socket.socket, server: socket.socket, left: int | None) -> None:
        passed = 0
        try:
            while left != 0 and (data := server.recv(16_384 if left is None else min(left, 16_384))):
                client.sendall(data)
                passed += len(data)
                left = None if left is None else left - len(data)
        except OSError:
            left = None
        with self._lock:
            self.passed += passed
            self.cuts += left == 0
        if left == 0:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The other thread may be in the middle of a read, which a mere close would not end.
        with suppress(OSError):
            client.shutdown(socket.SHUT_RD if left == 0 else socket.SHUT_RDWR)
        client.close()
        server.close()
