"""What servers of threads have in common, for tests: one accepts, others talk, and the end waits for all."""

import socket
import threading
from collections.abc import Callable
from typing import Any

from tests.timeouts import LONG_TIMEOUT


class Listening:
    """Entered, it accepts connections on loopback; left, it ends, and so do its threads."""

    accepts = 0

    def __enter__(self) -> Any:
        self._threads: list[threading.Thread] = []
        self._listener = self._listen()
        self._run(self._accept)
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join(LONG_TIMEOUT)
        self._hang_up()
        for thread in self._threads:
            thread.join(LONG_TIMEOUT)
        self._listener.close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._listener.getsockname()[1])

    def _listen(self) -> socket.socket:
        return socket.create_server(("127.0.0.1", 0))

    def _run(self, work: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self.accepts += 1
            self._serve(client)

    def _serve(self, client: socket.socket) -> None:
        """Begin to talk to a client."""
        raise NotImplementedError("what is said is the server's own affair")

    def _hang_up(self) -> None:
        """End what waits for a client that may stay."""
