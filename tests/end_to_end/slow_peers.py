"""Servers and proxies that take for ever, each in its own way.

None is left waiting for: what blocks here ends with the block that the peer was entered for, with the client,
or after FOR_EVER, whichever comes first.
"""

import math
import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from itertools import repeat

from tests.listening import Listening
from tests.timeouts import SHORT_TIMEOUT

#: Seconds between two drops: so few that a time-out per operation of SHORT_TIMEOUT never expires.
PACE = SHORT_TIMEOUT / 8
#: Seconds after which a peer has had enough: much longer than any call may take that has a deadline.
FOR_EVER = SHORT_TIMEOUT * 40


class Slow(Listening):
    """Talks to each client until it leaves.

    Args:
        context: TLS, if any.
        scheme: of its URL; None: what the context says.
        proxy: it is a proxy, for whatever https server.
    """

    def __init__(self, context=None, scheme=None, proxy=False):
        self._context = context
        self._scheme = scheme or ("https" if context else "http")
        self._proxy = proxy
        self._clients = []
        self._over = threading.Event()
        #: Set once it has begun to be slow.
        self.slow = threading.Event()
        #: How many requests it has read.
        self.requests = 0

    @property
    def _place(self):
        return f"{self._scheme}://127.0.0.1:{self.port}"

    @property
    def url(self):
        """What to ask for."""
        return "https://localhost/" if self._proxy else f"{self._place}/"

    @property
    def proxies(self):
        """By what way."""
        return {"https": self._place} if self._proxy else {}

    def wait_until_left(self):
        """Wait until every client so far has closed its connection; tell whether they have."""
        until = time.monotonic() + FOR_EVER / 2
        talks = self._threads[1:]
        for talk in talks:
            talk.join(max(0.0, until - time.monotonic()))
        return not any(talk.is_alive() for talk in talks)

    def _serve(self, client):
        client.settimeout(FOR_EVER)
        if self._context is not None:
            try:
                # A client that has left already would leave `wrap_socket` with a socket that nobody closes.
                client.getpeername()
                client = self._context.wrap_socket(client, server_side=True, do_handshake_on_connect=False)
            except (OSError, ValueError):
                client.close()
                return
        self._clients.append(client)
        self._run(self._work, client)

    def _work(self, client):
        with suppress(OSError), client:
            if self._context is not None:
                client.do_handshake()
            self.talk(client)

    def talk(self, client):
        """Talk to a client."""
        raise NotImplementedError("each peer is slow in its own way")

    def _hang_up(self):
        self._over.set()
        for client in self._clients:
            with suppress(OSError):
                # Not SSLSocket's own, which takes TLS away from the thread that uses it.
                socket.socket.shutdown(client, socket.SHUT_RDWR)

    def head_from(self, client):
        """Read the head of a request; empty when none comes."""
        head = b""
        while b"\r\n\r\n" not in head:
            data = client.recv(65536)
            if not data:
                return b""
            head += data
        self.requests += 1
        return head

    def stay(self, client):
        """Say nothing until the client leaves."""
        self.slow.set()
        while client.recv(65536):
            pass

    def drip(self, client, drops):
        """Send one drop after the other, slowly."""
        self.slow.set()
        until = time.monotonic() + FOR_EVER
        for drop in drops:
            if self._over.wait(PACE) or time.monotonic() > until:
                return
            client.sendall(drop)


class Stalling(Slow):
    """Hears what a client says first, a ClientHello or a request, and says nothing."""

    def talk(self, client):
        """Hear and be silent."""
        if client.recv(65536):
            self.stay(client)


class Dripping(Slow):
    """Answers each request with something at once, and then with drops.

    Args:
        first: comes at once.
        drop: what drips.
        drops: how often.
        last: comes after the drops, at once.
    """

    def __init__(self, first, drop=b"x", drops=math.inf, last=b"", **values):
        super().__init__(**values)
        self._first, self._drop, self._drops, self._last = first, drop, drops, last

    def talk(self, client):
        """Answer slowly."""
        while self.head_from(client):
            client.sendall(self._first)
            endless = self._drops == math.inf
            self.drip(client, repeat(self._drop) if endless else repeat(self._drop, self._drops))
            if endless:
                return
            client.sendall(self._last)


class Socks(Slow):
    """A SOCKS5 proxy that agrees at once, and then tells, slowly, by what address it has connected."""

    def __init__(self):
        super().__init__(scheme="socks5", proxy=True)

    def talk(self, client):
        """Answer greeting and request (RFC 1928): the bound address is a name of 255 letters."""
        for answer in (b"\x05\x00", b"\x05\x00\x00\x03\xff"):
            if not client.recv(65536):
                return
            client.sendall(answer)
        self.drip(client, repeat(b"x"))


class Answering(Slow):
    """Answers each request with the same, or by its head, after a pause.

    Args:
        answer: bytes, or a function from a head to bytes.
        pause: in seconds.
    """

    def __init__(self, answer, pause=0.0, **values):
        super().__init__(**values)
        self._answer, self._pause = answer, pause

    def talk(self, client):
        """Answer late, and on."""
        while head := self.head_from(client):
            self.slow.set()
            if self._over.wait(self._pause):
                return
            client.sendall(self._answer(head) if callable(self._answer) else self._answer)


class Trickling(Slow):
    """Speaks TLS, and lets out its bytes one by one: those of the handshake, or those of the body's record.

    Args:
        tls: a context.
        handshake: whether the handshake trickles; otherwise the body.
    """

    def __init__(self, tls, handshake):
        super().__init__(scheme="https")
        self._tls, self._handshake = tls, handshake

    def talk(self, client):
        """Shake hands, read a request and answer it, at some point slowly."""
        came, goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = self._tls.wrap_bio(came, goes, server_side=True)
        self._step(client, came, goes, tls.do_handshake)
        client.sendall(goes.read())
        head = b""
        while b"\r\n\r\n" not in head:
            head += self._step(client, came, goes, lambda: tls.read(65536))
        tls.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10000\r\n\r\n")
        client.sendall(goes.read())
        tls.write(bytes(10000))
        self.drip(client, _bytes_of(goes.read()))

    def _step(self, client, came, goes, step):
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                said = goes.read()
                if said and self._handshake:
                    self.drip(client, _bytes_of(said))
                    raise TimeoutError("it has had enough") from None
                client.sendall(said)
                heard = client.recv(65536)
                if not heard:
                    raise ConnectionResetError("the client has left") from None
                came.write(heard)


class Reading(Slow):
    """Reads the head of a request, and its body slowly.

    Args:
        gulp: how many bytes it takes at a time; 0: none at all.
    """

    def __init__(self, gulp=0, **values):
        super().__init__(**values)
        self._gulp = gulp

    def _listen(self):
        listener = super()._listen()
        # What the kernel takes in for it is soon full. The sockets that it accepts inherit this.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16384)
        return listener

    def talk(self, client):
        """Read what cannot be helped."""
        self.head_from(client)
        self.slow.set()
        until = time.monotonic() + FOR_EVER
        while not self._over.wait(PACE if self._gulp else FOR_EVER) and time.monotonic() < until:
            if not client.recv(self._gulp):
                return


class Breaking(Slow):
    """Gives a body in parts: a hundredth drips, the connection breaks, and the next may ask for the rest."""

    size = 200

    def talk(self, client):
        """Give the part that is asked for, slowly, and not all of it."""
        asked = re.search(rb"(?i)\r\nrange: bytes=(\d+)-", self.head_from(client))
        at = int(asked[1]) if asked else 0
        status = b"206 Partial Content" if asked else b"200 OK"
        which = b"Content-Range: bytes %d-%d/%d\r\n" % (at, self.size - 1, self.size) if asked else b""
        client.sendall(
            b'HTTP/1.1 %b\r\nETag: "v1"\r\nContent-Length: %d\r\n%b\r\n' % (status, self.size - at, which)
        )
        self.drip(client, [b"x"] * (self.size // 100))
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def _bytes_of(data: bytes) -> Iterable[bytes]:
    return (data[at : at + 1] for at in range(len(data)))
