"""A SOCKS5 proxy of a few lines (RFC 1928, RFC 1929) that connects to loopback only, and counts."""

import socket
import struct
import threading
from contextlib import suppress

#: The families of its kinds of addresses.
_FAMILIES = {1: socket.AF_INET, 4: socket.AF_INET6}


class SOCKS5:
    """Listens on a loopback port until `close`; resets the first `resets` connections."""

    def __init__(self, resets=0, host="127.0.0.1"):
        self.resets = resets
        self.users = []
        #: Where it was asked to connect to, and whom each connection came from.
        self.asked, self.peers = [], []
        # A zone is in the address as the resolver has it.
        family, *_, where = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        self._listener = socket.create_server(where, family=family)
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
                client, peer = self._listener.accept()
            except OSError:
                return
            self.peers.append(peer[0])
            if self.resets > 0:
                self.resets -= 1
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                client.close()
            else:
                self._begin(self._serve, client)

    def _serve(self, client):
        # Who is not there is nobody's affair but the client's; nor is a client that leaves without a word.
        with client, client.makefile("rb") as told, suppress(OSError, IndexError):
            methods = told.read(told.read(2)[1])
            if b"\x02" in methods:
                client.sendall(b"\x05\x02")
                self.users.append(told.read(told.read(2)[1]).decode())
                told.read(told.read(1)[0])
                client.sendall(b"\x01\x00")
            else:
                client.sendall(b"\x05\x00")
            kind = told.read(4)[3]
            place = told.read(told.read(1)[0] if kind == 3 else 4 if kind == 1 else 16)
            host = place.decode() if kind == 3 else socket.inet_ntop(_FAMILIES[kind], place)
            self.asked.append(host)
            (port,) = struct.unpack(">H", told.read(2))
            with socket.create_connection((host if kind == 4 else "127.0.0.1", port)) as server:
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
