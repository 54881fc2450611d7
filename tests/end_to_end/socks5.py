"""A SOCKS5 proxy of a few lines (RFC 1928, RFC 1929) that connects to loopback only, and counts."""

import socket
import struct
import threading
from contextlib import suppress


class SOCKS5:
    """Listens on a loopback port until `close`; resets the first `resets` connections."""

    def __init__(self, resets=0):
        self.resets = resets
        self.users = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._threads = []
        self._begin(self._accept)

    def _begin(self, work, *args):
        thread = threading.Thread(target=work, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self):
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self.resets > 0:
                self.resets -= 1
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            else:
                self._begin(self._serve, client)

    def _serve(self, client):
        with client, client.makefile("rb") as told:
            methods = told.read(told.read(2)[1])
            if b"\x02" in methods:
                client.sendall(b"\x05\x02")
                self.users.append(told.read(told.read(2)[1]).decode())
                told.read(told.read(1)[0])
                client.sendall(b"\x01\x00")
            else:
                client.sendall(b"\x05\x00")
            kind = told.read(4)[3]
            told.read(told.read(1)[0] if kind == 3 else 4)
            (port,) = struct.unpack(">H", told.read(2))
            with socket.create_connection(("127.0.0.1", port)) as server:
                client.sendall(b"\x05\x00\x00\x01\x7f\x00\x00\x01\x00\x00")
                self._begin(self._copy, server, client)
                self._copy(client, server)

    @staticmethod
    def _copy(source, target):
        with suppress(OSError):
            try:
                while data := source.recv(65536):
                    target.sendall(data)
            finally:
                # After a reset, too: or the other side would wait for ever.
                target.shutdown(socket.SHUT_WR)

    def close(self):
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(5)
