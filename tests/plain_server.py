"""A server without TLS that answers as often as it is asked, for programs that call it from outside."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from tests.timeouts import LONG_TIMEOUT


@contextmanager
def plain_server() -> Iterator[str]:
    """Give its URL."""

    def answer(peer: socket.socket) -> None:
        with peer, suppress(OSError):
            data = b"x"
            while data:
                data = peer.recv(65536)
                if b"\r\n\r\n" in data:
                    peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    def serve() -> None:
        while True:
            try:
                peer, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=(peer,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(LONG_TIMEOUT)
