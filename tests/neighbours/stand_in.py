"""A server that stands in for somebody's API: pages of a test's own, and resets where the test wants them."""

import json
import socket
import ssl
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from urllib.parse import parse_qs, urlsplit

#: Where a connection is reset: when its handshake has begun; when the request was executed and before it is
#: answered. Or closed: in the middle of the answer's body.
HANDSHAKE, EXECUTED, BODY = "handshake", "executed", "body"
#: Closes with a reset, and not with a FIN.
_RESETTING = struct.pack("ii", 1, 0)


@dataclass
class Asked:
    """A request."""

    method: str
    path: str
    query: dict[str, str]
    fields: dict[str, str]
    body: bytes


@dataclass
class Answered:
    """What is answered. A list of bytes is sent in chunks; what follows a 101 is, as it is, to the end."""

    body: bytes | list[bytes] = b""
    status: int = 200
    fields: dict[str, str] = field(default_factory=dict)
    #: Is called between the head and the body.
    before_body: Callable[[], object] = lambda: None


def told_as_json(value, status=200):
    """An answer in JSON."""
    return Answered(json.dumps(value).encode(), status, {"Content-Type": "application/json"})


class StandIn(ThreadingHTTPServer):
    """Answers as `page` says, from entering to leaving.

    Args:
        page: makes an `Answered` of an `Asked`.
        authority: whose certificate it shows; None: it speaks no TLS.
        path: that of a Unix socket, on which it listens then.
    """

    daemon_threads = True

    def __init__(self, page, authority=None, path=None):
        self.address_family = socket.AF_UNIX if path else socket.AF_INET
        super().__init__(path or ("127.0.0.1", 0), _Handler)
        self.page = page
        self.context = None
        if authority is not None:
            self.context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            self.context.load_cert_chain(*authority.server("good"))
        #: Each strikes once, in this order.
        self.faults = []
        #: Every request that was executed.
        self.asked = []
        #: Who is talked to, by the thread that does.
        self.peers = {}

    def __enter__(self):
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self.shutdown()
        self._thread.join()
        for thread, peer in list(self.peers.items()):
            with suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)
            thread.join()
        self.server_close()

    def server_bind(self):
        """Bind, without asking for the names of an address."""
        TCPServer.server_bind(self)

    @property
    def url(self):
        """Where it is, without a slash at the end."""
        if self.address_family == socket.AF_UNIX:
            return f"unix://{self.server_address}"
        return f"http{'s' if self.context else ''}://localhost:{self.server_address[1]}"

    def strikes(self, moment):
        """Tell whether a fault is due, and use it up."""
        return self.faults[:1] == [moment] and bool(self.faults.pop(0))

    def process_request_thread(self, request, client_address):
        """Talk to a peer; however that ends, nothing is printed."""
        self.peers[threading.current_thread()] = request
        with request, suppress(OSError):
            self.finish_request(request, client_address)
        del self.peers[threading.current_thread()]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def setup(self):
        # Sooner it would meet a defect of `ssl`, which then leaves the client's socket open.
        self.request.recv(1, socket.MSG_PEEK)
        self._reset_if(HANDSHAKE, self.request)
        if self.server.context is not None:
            self.request = self.server.context.wrap_socket(self.request, server_side=True)
            self.server.peers[threading.current_thread()] = self.request
        super().setup()

    def finish(self):
        super().finish()
        self.request.close()

    def _reset_if(self, moment, peer):
        if self.server.strikes(moment):
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESETTING)
            raise ConnectionAbortedError("a reset")

    def answer(self):
        url = urlsplit(self.path)
        fields = {name.lower(): value for name, value in self.headers.items()}
        query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        asked = Asked(self.command, url.path, query, fields, self._read_body(fields))
        self.server.asked.append(asked)
        answered = self.server.page(asked)
        self._reset_if(EXECUTED, self.connection)
        self.send_response(answered.status)
        self.close_connection = self.close_connection or answered.status == 101
        for name, value in answered.fields.items():
            self.send_header(name, value)
        self._send_body(answered.body, answered.before_body)

    def _read_body(self, fields):
        if fields.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(fields.get("content-length", 0)))
        body = b""
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _send_body(self, body, before):
        if self.close_connection:
            self.end_headers()
            before()
            self.wfile.write(body)
        elif isinstance(body, list):
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            for piece in [*body, b""]:
                self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        else:
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.close_connection = self.server.strikes(BODY)
            self.wfile.write(body[: len(body) // 2] if self.close_connection else body)

    do_GET = do_POST = do_PUT = do_DELETE = do_LIST = answer

    def log_message(self, *_):
        """Print nothing."""
