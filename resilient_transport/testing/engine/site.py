"""The server of one listening socket: accepts, gives each connection a thread, and can end them all."""

from __future__ import annotations

import contextlib
import socket
import threading
import time

from ..script import FAULTLESS, How, Script
from ..server_options import ServerOptions
from .hand import Hand
from .ledger import Ledger
from .pages import Memory
from .peer import Peer
from .served_connection import Connection
from .server_contexts import Contexts, Material

_BACKLOG = 1024
_PATIENCE = 5.0
_BREATH = 0.01


class Site:
    """A listening socket and all its connections."""

    def __init__(self, options: ServerOptions, material: Material | None) -> None:
        """Listen on a free port; nothing is accepted before `start`. No material, no TLS."""
        self.options = options
        self.contexts = Contexts(options, material) if material else None
        self.ledger = Ledger()
        self.memory = Memory()
        self._script = FAULTLESS
        # Set by `stop`, read by the acceptor.
        self._stopping = False
        family = socket.AF_INET6 if ":" in options.host else socket.AF_INET
        self._listener = socket.create_server((options.host, 0), family=family, backlog=_BACKLOG)
        self.port: int = self._listener.getsockname()[1]
        # Guards the script and who plays it: an accept belongs to exactly one script.
        self._lock = threading.Lock()
        self._running: dict[Connection, threading.Thread] = {}
        self._acceptor = threading.Thread(target=self._accept_all, daemon=True)

    def start(self) -> None:
        """Begin to accept, on a thread of its own."""
        self._acceptor.start()

    def play(self, script: Script) -> None:
        """Begin another script at accept 1, with all counters at zero.

        Connections that are open already are no accept of it: no rule hits them.
        """
        with self._lock:
            self._script = script
            self.ledger.clear()
            self.memory = Memory()
            for connection in self._running:
                connection.hand = Hand(FAULTLESS, 0)
                connection.script = script

    def end_all(self, how: How) -> int:
        """End every connection this way, wait until it is done, and return how many there were."""
        return self._end(self._connections(), how)

    def close_idle(self) -> int:
        """End every connection that waits for a request, with a FIN, and return how many there were."""
        return self._end([(one, thread) for one, thread in self._connections() if one.idle], How.FIN)

    def stop(self) -> None:
        """Stop accepting and end every connection."""
        self._stopping = True
        # Wakes the accept, which a close would not.
        with contextlib.suppress(OSError):
            socket.create_connection((self.options.host, self.port), _PATIENCE).close()
        self._acceptor.join(_PATIENCE)
        self._listener.close()
        self.end_all(How.FIN)

    def _accept_all(self) -> None:
        while not self._stopping:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                # Too many open files, most likely: some connection will end.
                time.sleep(_BREATH)
                continue
            self._accept(sock)

    def _accept(self, sock: socket.socket) -> None:
        if self._stopping:
            sock.close()
            return
        peer = Peer(sock, self.ledger.ended)
        with self._lock:
            connection = Connection(self, peer, self._script, self.ledger.accepted())
            thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
            self._running[connection] = thread
            thread.start()

    def _run(self, connection: Connection) -> None:
        try:
            connection.run()
        finally:
            with self._lock:
                del self._running[connection]

    def _connections(self) -> list[tuple[Connection, threading.Thread]]:
        with self._lock:
            return list(self._running.items())

    def _end(self, doomed: list[tuple[Connection, threading.Thread]], how: How) -> int:
        for connection, _ in doomed:
            connection.peer.doom(how)
        for _, thread in doomed:
            thread.join(_PATIENCE)
        return len(doomed)
