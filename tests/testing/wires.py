"""Clients without manners: sockets that send exactly what a test says and report how the other side ended."""

import contextlib
import os
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from typing import Any

from resilient_transport.testing import FaultServer
from resilient_transport.testing.engine import control
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

GET = b"GET %b HTTP/1.1\r\nHost: localhost\r\n%b\r\n"


def tcp(server: FaultServer) -> socket.socket:
    """Connect, and no more."""
    host = "::1" if server.options.host == "::1" else "127.0.0.1"
    return socket.create_connection((host, server.port), LONG_TIMEOUT)


def client_context(server: FaultServer, pair: tuple[str, str] | None = None) -> ssl.SSLContext:
    """Return a context that trusts the server and shows a client certificate."""
    context = ssl.create_default_context(cafile=server.authority.ca_file)
    context.load_cert_chain(*(pair or server.authority.client))
    return context


class TLSClient:
    """TLS in memory over a socket of our own, so that the kernel's word on its end arrives as it was said.

    An `ssl.SSLSocket` would not do: before Python 3.12.3 it takes a reset for an EOF (gh-115627).
    """

    def __init__(
        self, sock: socket.socket, context: ssl.SSLContext, session: ssl.SSLSession | None = None
    ) -> None:
        """Shake hands; raises what went wrong, with the socket closed and our alert sent."""
        self._sock = sock
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(
            self._incoming, self._outgoing, server_hostname="localhost", session=session
        )
        try:
            self._drive(self._tls.do_handshake)
        except BaseException:
            self.close()
            raise

    @property
    def session(self) -> ssl.SSLSession | None:
        """What could be resumed."""
        return self._tls.session

    def sendall(self, data: bytes) -> None:
        """Encrypt and send."""
        self._drive(lambda: self._tls.write(data))

    def recv(self, size: int) -> bytes:
        """Return decrypted bytes, empty at a close_notify; a FIN without one raises `ssl.SSLEOFError`."""
        return self._drive(lambda: self._tls.read(size))

    def unwrap(self) -> None:
        """Send a close_notify and wait for the other side's."""
        self._drive(self._tls.unwrap)

    def settimeout(self, seconds: float | None) -> None:
        """Bound every wait."""
        self._sock.settimeout(seconds)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket, and say nothing."""
        self._sock.close()

    def __enter__(self) -> "TLSClient":
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def _drive(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush()
                self._feed()
            except ssl.SSLError:
                # Our alert, for a server that may have gone.
                with contextlib.suppress(OSError):
                    self._flush()
                raise
            else:
                self._flush()
                return result

    def _feed(self) -> None:
        if data := self._sock.recv(65536):
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._sock.sendall(self._outgoing.read())


#: What a test can hold at its end of a connection.
Socket = socket.socket | TLSClient


def tls(
    server: FaultServer, context: ssl.SSLContext | None = None, session: ssl.SSLSession | None = None
) -> TLSClient:
    """Connect and shake hands; a truncation is told from a clean close."""
    return TLSClient(tcp(server), context or client_context(server), session)


def client_hello() -> bytes:
    """Return the first bytes of a handshake."""
    outgoing = ssl.MemoryBIO()
    client = ssl.create_default_context().wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        client.do_handshake()
    return outgoing.read()


def dial(server: FaultServer) -> Socket:
    """Connect as the server's scheme asks for."""
    return tls(server) if server.options.tls else tcp(server)


def get(path: str, *headers: str) -> bytes:
    """Return a GET as bytes."""
    return GET % (path.encode(), b"".join(f"{header}\r\n".encode() for header in headers))


def post(path: str, body: bytes, *headers: str) -> bytes:
    """Return a POST as bytes."""
    return get(path, f"Content-Length: {len(body)}", *headers).replace(b"GET", b"POST", 1) + body


def to_the_end(sock: Socket, timeout: float = LONG_TIMEOUT) -> tuple[bytes, str]:
    """Read until the end; return the bytes and how it ended: reset, truncated, closed, silent or an alert."""
    data = b""
    sock.settimeout(timeout)
    try:
        while piece := sock.recv(65536):
            data += piece
    except OSError as error:
        return data, name_of(error)
    return data, "closed"


def name_of(error: BaseException) -> str:
    """Return in one word what happened."""
    if isinstance(error, ConnectionResetError):
        return "reset"
    if isinstance(error, TimeoutError):
        return "silent"
    if isinstance(error, ssl.SSLEOFError):
        return "truncated"
    if isinstance(error, ssl.SSLZeroReturnError):
        return "closed"
    return str(getattr(error, "reason", error))


def read_response(sock: Socket) -> tuple[bytes, bytes]:
    """Read one response with a Content-Length; return head and body."""
    data = b""
    while b"\r\n\r\n" not in data:
        data += received(sock)
    head, _, body = data.partition(b"\r\n\r\n")
    size = next(
        int(line.partition(b":")[2])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    )
    while len(body) < size:
        body += received(sock)
    return head, body


def received(sock: Socket) -> bytes:
    """Return the next bytes; to get none is a failure."""
    data = sock.recv(65536)
    assert data, "closed in the middle of a response"
    return data


def is_silent(sock: Socket) -> bool:
    """Tell whether nothing comes, not even an end, for as long as a test waits for nothing."""
    sock.settimeout(SHORT_TIMEOUT)
    try:
        sock.recv(1)
    except TimeoutError:
        return True
    finally:
        sock.settimeout(LONG_TIMEOUT)
    return False


class Thread:
    """Stands in for `subprocess.Popen` and runs the server on a thread, so that its lines are measured."""

    def __init__(self, *_command: object, **_options: object) -> None:
        """Start it, with pipes as a process has them."""
        questions, self._questions_in = os.pipe()
        self._answers_out, answers = os.pipe()
        self.stdin = open(self._questions_in, "w")  # noqa: SIM115 - closed by FaultServer.close
        self.stdout = open(self._answers_out)  # noqa: SIM115
        self.pid = os.getpid()
        self.returncode: int | None = None
        self._thread = threading.Thread(target=self._run, args=(questions, answers))
        self._thread.start()

    def wait(self, timeout: float | None = None) -> int:
        """Wait until the server has stopped."""
        self._thread.join(timeout)
        if self._thread.is_alive():
            raise subprocess.TimeoutExpired("thread", timeout or 0)
        self.returncode = 0
        return 0

    def kill(self) -> None:
        """Nothing ends a thread."""

    def _run(self, questions: int, answers: int) -> None:
        with open(questions) as asked, open(answers, "w") as told, contextlib.suppress(BrokenPipeError):
            control.serve(asked, told)


@contextlib.contextmanager
def closing_all(*sockets: Socket) -> Iterator[tuple[Socket, ...]]:
    """Close them at the end."""
    with contextlib.ExitStack() as stack:
        for sock in sockets:
            stack.enter_context(sock)
        yield sockets
