"""A server, or a proxy, that notes what it has seen of its clients: addresses, names, certificates."""

import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import trustme

from resilient_transport import registry
from tests.listening import Listening
from tests.timeouts import LONG_TIMEOUT

#: The names and addresses of a certificate that is good for each test.
NAMES = ("named.test", "other.test", "xn--bcher-kva.test", "localhost", "127.0.0.1", "::1")
#: What `/body` answers.
BODY = bytes(range(256)) * 256
_RESET = struct.pack("ii", 1, 0)


class Certificates:
    """An authority for servers and clients, and another one for proxies, in files."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._servers, self._proxies = trustme.CA(), trustme.CA()
        #: Bundles that trust servers, proxies, both.
        self.servers = self._bundle("servers", self._servers)
        self.proxies = self._bundle("proxies", self._proxies)
        self.both = self._bundle("both", self._servers, self._proxies)

    def client(self, name: str) -> tuple[str, str]:
        """Certificate and key of a client, by which it is known to servers and to proxies."""
        return self._files(f"client {name}", self._servers.issue_cert(common_name=name))

    def server(self, *names: str) -> ssl.SSLContext:
        """The context of a server with a certificate for these names."""
        return self._context(self._servers.issue_cert(*(names or NAMES)))

    def proxy(self, *names: str) -> ssl.SSLContext:
        """The context of a proxy with a certificate for these names."""
        return self._context(self._proxies.issue_cert(*(names or NAMES)))

    def _context(self, leaf: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        leaf.configure_cert(context)
        # Asked for, and not demanded.
        self._servers.configure_trust(context)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context

    def _bundle(self, name: str, *authorities: trustme.CA) -> str:
        path = self._directory / f"{name}.pem"
        path.write_bytes(b"".join(authority.cert_pem.bytes() for authority in authorities))
        return str(path)

    def _files(self, name: str, leaf: trustme.LeafCert) -> tuple[str, str]:
        cert, key = self._directory / f"{name}.pem", self._directory / f"{name}.key"
        cert.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        key.write_bytes(leaf.private_key_pem.bytes())
        return str(cert), str(key)


@dataclass(frozen=True)
class Seen:
    """One request as it came."""

    #: The address of whom it came from, and the name that was asked for in the handshake (SNI).
    peer: str
    sni: str | None
    #: The name in the client's certificate, and whether the handshake has resumed a session.
    client: str | None
    resumed: bool
    #: The request line, without its version.
    line: str
    #: The fields, by their names in lower case.
    fields: dict[str, str] = field(hash=False)

    def brief(self) -> tuple[str | None, ...]:
        """What must be the same of two requests that are the same but for their number."""
        credentials = self.fields.get("proxy-authorization")
        return self.peer, self.sni, self.client, self.line, self.fields.get("host"), credentials


class Witness(Listening):
    """Answers `/`, `/body` (with ranges) and `/redirect?to=URL`; carries CONNECT to loopback.

    Args:
        context: for TLS; None: without.
        host: the address that it listens on.
    """

    def __init__(self, context: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self.context, self.host = context, host
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self.forget()

    def forget(self, resets: int = 0, cuts: int = 0) -> None:
        """Forget what was seen.

        Args:
            resets: how many of the next connections are reset when the client's first bytes have come.
            cuts: how many of the next bodies end in the middle.
        """
        self.resets, self.cuts = resets, cuts
        #: Called when a client has said hello, before anything is said to it.
        self.before: Callable[[], object] = lambda: None
        #: Whom each connection came from, and for what name, whatever became of it.
        self.begun: list[tuple[str, str | None]] = []
        self.seen: list[Seen] = []

    @property
    def briefs(self) -> list[tuple[str | None, ...]]:
        """What was seen, without numbers."""
        return [one.brief() for one in self.seen]

    @property
    def url(self) -> str:
        """Where it is, by address."""
        scheme = "https" if self.context else "http"
        return f"{scheme}://{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"

    def _listen(self) -> socket.socket:
        # A zone is in the address as the resolver has it.
        family, *_, where = socket.getaddrinfo(self.host, 0, type=socket.SOCK_STREAM)[0]
        return socket.create_server(where, family=family, backlog=64)

    def _serve(self, client: socket.socket) -> None:
        with self._lock:
            self._open.add(client)
        self._run(self._talk, client)

    def _hang_up(self) -> None:
        self.drop()

    def drop(self) -> None:
        """End all connections."""
        with self._lock:
            for client in self._open:
                with suppress(OSError):
                    client.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def _talk(self, client: socket.socket) -> None:
        client.settimeout(LONG_TIMEOUT)
        with client, suppress(OSError):
            peer = client.getpeername()[0]
            name = asked_name(client, self.context) if self.context else awaited(client)
            self.begun.append((peer, name))
            self.before()
            if self._takes("resets"):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return
            if self.context is None:
                self._answer_all(client, peer, name)
                return
            # The descriptor goes to what wraps it.
            with self.context.wrap_socket(client, server_side=True) as wrapped:
                with self._lock:
                    self._open.add(wrapped)
                self._answer_all(wrapped, peer, name)

    def _takes(self, what: str) -> bool:
        with self._lock:
            left = getattr(self, what)
            setattr(self, what, max(0, left - 1))
        return left > 0

    def _answer_all(self, client: socket.socket, peer: str, name: str | None) -> None:
        with client.makefile("rb") as told:
            while (line := told.readline().decode("latin-1")).strip():
                fields = dict(self._fields(told))
                told.read(int(fields.get("content-length", "0")))
                line = line.rpartition(" ")[0]
                is_tls = isinstance(client, ssl.SSLSocket)
                resumed = bool(is_tls and client.session_reused)
                self.seen.append(Seen(peer, name, common_name(client), resumed, line, fields))
                if line.startswith("CONNECT "):
                    self._carry(client, line.removeprefix("CONNECT "))
                    return
                if not self._answer(client, line, fields):
                    return

    def _fields(self, told):
        while line := told.readline().decode("latin-1").strip():
            name, _, value = line.partition(":")
            yield name.lower(), value.strip()

    def _answer(self, client: socket.socket, line: str, fields: dict[str, str]) -> bool:
        target = urlsplit(line.partition(" ")[2])
        to = parse_qs(target.query).get("to")
        if to:
            client.sendall(f"HTTP/1.1 302 Found\r\nLocation: {to[0]}\r\nContent-Length: 0\r\n\r\n".encode())
            return True
        body = BODY if target.path == "/body" else b"ok"
        first = int(fields["range"].removeprefix("bytes=").rstrip("-")) if "range" in fields else 0
        status, place = (
            "206 Partial Content",
            f"Content-Range: bytes {first}-{len(body) - 1}/{len(body)}\r\n",
        )
        head = f'HTTP/1.1 {status if first else "200 OK"}\r\nETag: "one"\r\nAccept-Ranges: bytes\r\n'
        head += f"{place if first else ''}Content-Length: {len(body) - first}\r\n\r\n"
        if body is BODY and self._takes("cuts"):
            client.sendall(head.encode() + body[: len(body) // 2])
            return False
        client.sendall(head.encode() + body[first:])
        return True

    def _carry(self, client: socket.socket, target: str) -> None:
        host, _, port = target.rpartition(":")
        host = "::1" if host.startswith("[") else "127.0.0.1"
        try:
            upstream = socket.create_connection((host, int(port)), LONG_TIMEOUT)
        except OSError:
            client.sendall(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")
            return
        with upstream:
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
            carried(client, upstream)


def carried(client: socket.socket, upstream: socket.socket) -> None:
    """Carry bytes both ways until one side ends; a reset is handed on."""
    others = {client: upstream, upstream: client}
    while True:
        # What is decrypted already no poll tells of.
        has_more = isinstance(client, ssl.SSLSocket) and client.pending()
        ready = [client] if has_more else select.select(list(others), [], [], LONG_TIMEOUT)[0]
        for sock in ready:
            try:
                data = sock.recv(65536)
            except OSError:
                others[sock].setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                return
            if not data:
                return
            others[sock].sendall(data)
        if not ready:
            return


def awaited(client: socket.socket) -> None:
    """Wait for the first bytes of a client, and leave them where they are."""
    client.recv(1, socket.MSG_PEEK)


def asked_name(client: socket.socket, context: ssl.SSLContext) -> str | None:
    """The name in a ClientHello, which is left where it is."""
    names: list[str | None] = []
    listening = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    listening.sni_callback = lambda _tls, name, _context: names.append(name)
    size = 5
    while True:
        hello = client.recv(size, socket.MSG_PEEK | socket.MSG_WAITALL)
        if len(hello) < 5:
            raise ConnectionError("left before it said hello")
        size = 5 + int.from_bytes(hello[3:5], "big")
        if len(hello) >= size:
            break
    incoming = ssl.MemoryBIO()
    incoming.write(hello)
    with suppress(ssl.SSLError):
        listening.wrap_bio(incoming, ssl.MemoryBIO(), server_side=True).do_handshake()
    return names[0]


def common_name(client: socket.socket) -> str | None:
    """The name in the certificate of a client, if it has shown one."""
    shown = client.getpeercert() if isinstance(client, ssl.SSLSocket) else None
    subject = [pair for group in (shown or {}).get("subject", ()) for pair in group]
    return dict(subject).get("commonName")


def others_wait() -> None:
    """Wait, in a server, until several callers wait for the connection that is being made, or need not."""
    until = time.monotonic() + LONG_TIMEOUT
    while time.monotonic() < until:
        gates = [shared_pool.gate for shared_pool in list(registry._shared_pools.values())]
        if any(gate.waiting() >= 2 or gate.window.proven for gate in gates):
            return
        time.sleep(0.001)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """What witnesses and their clients show."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each name under `.test` be that of this machine."""
    getaddrinfo = socket.getaddrinfo

    def resolved(host, *args, **values):
        name = host.decode() if isinstance(host, bytes) else host
        return getaddrinfo("127.0.0.1" if name.rstrip(".").endswith(".test") else host, *args, **values)

    monkeypatch.setattr(socket, "getaddrinfo", resolved)
