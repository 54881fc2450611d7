"""Situations for the doctor: each begins servers that end with the test, and says what to examine, and how.

A situation takes a `World` and returns the arguments of `Options`.
"""

import socket
import ssl
import struct
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from itertools import cycle
from typing import Any

import pytest

from resilient_transport.testing import Authority, Fault, FaultServer, How, Moment, Rule, Script
from tests.cli.doctor.raw_server import RawServer, Then, ranged, response
from tests.cli.doctor.visiting import dead_port, resolve_to
from tests.end_to_end.slow_peers import Answering, Slow
from tests.end_to_end.socks5 import SOCKS5
from tests.loopback import full_queue
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

#: A page that is longer than where BODY faults cut it.
PAGE = "/bytes/3000"
#: The bytes after which they do.
CUT_AFTER = 1500


@dataclass(frozen=True)
class World:
    """What situations are made in."""

    #: Ends what they begin.
    stack: ExitStack
    #: A fault server with TLS that wants a client certificate, and one without TLS; they are shared.
    server: FaultServer
    plain: FaultServer
    #: Takes back what is patched.
    patch: pytest.MonkeyPatch

    @property
    def authority(self) -> Authority:
        """Whose certificates all servers use."""
        return self.server.authority


Arguments = dict[str, Any]
Situation = Callable[[World], Arguments]


def page_of(server: FaultServer, path: str, **more: Any) -> Arguments:
    """The arguments for a page of a fault server, with alice's certificate."""
    if not server.options.tls:
        return {"url": server.url + path} | more
    certificate, key = server.authority.client
    trusted = {"ca": server.authority.ca_file, "cert": certificate, "key": key}
    return {"url": server.url + path} | trusted | more


def shared(*rules: Rule, path: str = PAGE, seed: int = 1, delay: float = 0.0, **more: Any) -> Situation:
    """The shared server plays rules; with none it does nothing wrong."""

    def begin(world: World) -> Arguments:
        world.server.reset_peers()
        world.server.play(Script(rules, seed=seed, handshake_delay=delay))
        return page_of(world.server, path, **more)

    return begin


def plain(*rules: Rule, path: str = PAGE, seed: int = 1, **more: Any) -> Situation:
    """The same, without TLS."""

    def begin(world: World) -> Arguments:
        world.plain.reset_peers()
        world.plain.play(Script(rules, seed=seed))
        return page_of(world.plain, path, **more)

    return begin


def always(at: Moment, how: How, **more: Any) -> Rule:
    """Strike each connection, at each of its requests."""
    fault = Fault(at, how, after_bytes=CUT_AFTER if at is Moment.BODY else 0, seconds=_seconds(how))
    return Rule(fault, on_request=None if at.value in _LATE else 1, **more)


def half(at: Moment, how: How) -> Rule:
    """Strike each second connection, by the seed."""
    return always(at, how, probability=0.5)


_LATE = ("request", "executed", "head", "body")


def _seconds(how: How) -> float:
    return 0.0 if how is How.ALERT else 30.0


def another(path: str = "/words/30", **options: Any) -> Situation:
    """A fault server of another kind."""
    more = {name: options.pop(name) for name in ("hold", "ca", "cert", "key", "session") if name in options}

    def begin(world: World) -> Arguments:
        server = world.stack.enter_context(FaultServer(authority=world.authority, **options))
        return page_of(server, path, **more)

    return begin


def showing(kind: str) -> Situation:
    """The shared server is shown another client certificate, by its name in `Authority`; "": none."""

    def begin(world: World) -> Arguments:
        arguments = shared()(world)
        authority = world.authority
        if kind == "mismatch":
            return arguments | {"key": authority.other_client[1]}
        certificate, key = getattr(authority, kind) if kind else (None, None)
        return arguments | {"cert": certificate, "key": key}

    return begin


def unknown_authority(world: World) -> Arguments:
    """The session trusts what requests trusts, and that does not have the server's authority."""
    return shared()(world) | {"ca": None}


class TLSServer(RawServer):
    """A `RawServer` that speaks TLS.

    Args:
        reply, idle: as there.
        contexts: the server's side, for one connection after the other; None: that one is reset.
    """

    def __init__(self, reply: Any, contexts: Any, idle: float | None = None) -> None:
        super().__init__(reply, idle)
        self._contexts = cycle(contexts)

    @property
    def url(self) -> str:
        """Where it is, without a path."""
        return f"https://localhost:{self.port}"

    def _serve(self, client: socket.socket) -> None:
        # Here, in the order of the connections.
        self._run(self._shake, client, next(self._contexts))

    def _shake(self, client: socket.socket, context: ssl.SSLContext | None) -> None:
        with client, suppress(OSError):
            if context is None:
                # Stock leaks a socket that was reset before it began to shake hands on it.
                client.recv(1)
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return
            client.settimeout(LONG_TIMEOUT)
            inner = context.wrap_socket(client, server_side=True)
            self._clients.append(inner)
            self._talk(inner)


def context_of(authority: Authority, kind: str = "good") -> ssl.SSLContext:
    """The server's side of TLS, with one of the certificates of `Authority.server`."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server(kind))
    return context


def answering(reply: Any, kinds: tuple[str | None, ...] = ("good",), **more: Any) -> Situation:
    """A server whose every answer is given, with certificates of these kinds in turn; None: a reset.

    With no kind it speaks no TLS, which takes a third of the time.
    """

    def begin(world: World) -> Arguments:
        given = reply() if isinstance(reply, type) else reply
        if not kinds:
            return {"url": f"{world.stack.enter_context(RawServer(given)).url}/page"} | more
        contexts = [kind and context_of(world.authority, kind) for kind in kinds]
        server = world.stack.enter_context(TLSServer(given, contexts))
        return {"url": f"{server.url}/page", "ca": world.authority.ca_file} | more

    return begin


def good(_number: int, _head: str) -> tuple[bytes, Then]:
    """A usual answer."""
    return response(b"x" * 100), Then.KEEP


def with_status(status: str, **fields: str) -> Any:
    """A server that answers with a status."""
    return lambda number, head: (response(b"no", status, **fields), Then.KEEP)


def no_head(_number: int, head: str) -> tuple[bytes, Then]:
    """A server that knows no HEAD."""
    status = "405 Method Not Allowed" if head.startswith("HEAD") else "200 OK"
    return response(b"" if head.startswith("HEAD") else b"x" * 100, status), Then.KEEP


def closing(_number: int, _head: str) -> tuple[bytes, Then]:
    """A server that says keep-alive, and closes."""
    return response(b"x" * 100, Connection="keep-alive"), Then.CLOSE


def by_1_0(_number: int, _head: str) -> tuple[bytes, Then]:
    """A server of HTTP/1.0."""
    return response(b"x" * 100, version="HTTP/1.0"), Then.CLOSE


def garbage(_number: int, _head: str) -> tuple[bytes, Then]:
    """A server that speaks no HTTP."""
    return b"what?\r\n\r\n", Then.CLOSE


def lying(_number: int, head: str) -> tuple[bytes, Then]:
    """A server whose second half of a page is another page's."""
    body = b"y" * 1000 if "Range:" in head else b"x" * 1000
    return ranged(body, head, ETag='"same"'), Then.KEEP


class Rationed:
    """A server that answers so many requests, and then says that they were too many."""

    def __init__(self, most: int = 12) -> None:
        self._left = most

    def __call__(self, _number: int, _head: str) -> tuple[bytes, Then]:
        """Answer one."""
        self._left -= 1
        if self._left < 0:
            return response(b"slow down", "429 Too Many Requests"), Then.KEEP
        return response(b"x" * 100), Then.KEEP


class _Plain(Slow):
    """A server without TLS, that says so to whatever it hears."""

    def talk(self, client: Any) -> None:
        """Answer each word."""
        while client.recv(65536):
            client.sendall(response(b"what?", "400 Bad Request"))


def without_tls(world: World) -> Arguments:
    """Plain HTTP behind https://."""
    return {"url": f"https://localhost:{world.stack.enter_context(_Plain()).port}/"}


def nothing_in_common(world: World) -> Arguments:
    """The server has one cipher of TLS 1.2, and the client does not have that."""
    context = context_of(world.authority)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE-ECDSA-CAMELLIA256-SHA384:ECDHE-ECDSA-AES128-SHA256:@SECLEVEL=0")
    server = world.stack.enter_context(TLSServer(good, [context]))
    real = ssl.SSLContext.wrap_socket

    def wrap(self: ssl.SSLContext, *args: Any, **kwargs: Any) -> ssl.SSLSocket:
        if self.protocol == ssl.PROTOCOL_TLS_CLIENT:
            self.maximum_version = ssl.TLSVersion.TLSv1_2
            self.set_ciphers("ECDHE+AESGCM")
        return real(self, *args, **kwargs)

    world.patch.setattr(ssl.SSLContext, "wrap_socket", wrap)
    return {"url": f"{server.url}/page", "ca": world.authority.ca_file}


def dead(scheme: str) -> Situation:
    """Nobody listens at the port."""
    return lambda world: {"url": f"{scheme}://127.0.0.1:{dead_port()}/", "ca": world.authority.ca_file}


def no_such_name(world: World) -> Arguments:
    """The resolver says that there is no such name."""
    return {"url": "https://nowhere.invalid/"}


def black_holed(*, all_of_them: bool) -> Situation:
    """A name with two addresses, one or both of which answer nobody."""

    def begin(world: World) -> Arguments:
        arguments = plain()(world)
        port = world.plain.port
        holes = [full_queue(socket.AF_INET, world.stack, SHORT_TIMEOUT, "127.0.0.2", port).getsockname()]
        if all_of_them:
            port = holes[0][1]
            holes.append(
                full_queue(socket.AF_INET, world.stack, SHORT_TIMEOUT, "127.0.0.3", port).getsockname()
            )
        resolve_to(world.patch, *holes, *([] if all_of_them else [("127.0.0.1", port)]))
        return arguments | {"url": f"http://server:{port}{PAGE}"}

    return begin


def behind(proxy: Callable[[World], str], to: Situation) -> Situation:
    """Another situation, through a proxy."""
    return lambda world: to(world) | {"proxy": proxy(world)}


def carrying(world: World) -> str:
    """A proxy that does its work."""
    return world.stack.enter_context(FaultServer(authority=world.authority, tls=False)).url


def saying(status: int) -> Callable[[World], str]:
    """A proxy that answers everything with a status."""

    def begin(world: World) -> str:
        text = b"HTTP/1.1 %d Word\r\nContent-Length: 0\r\n\r\n" % status
        return f"http://127.0.0.1:{world.stack.enter_context(Answering(text)).port}"

    return begin


def dead_proxy(_: World) -> str:
    """Nobody listens at the proxy's port."""
    return f"http://127.0.0.1:{dead_port()}"


class _Refusing(Slow):
    """A SOCKS5 proxy that takes no user, and then refuses to connect."""

    def talk(self, client: Any) -> None:
        """Answer the greeting, and the request."""
        for answer in (b"\x05\x00", b"\x05\x02\x00\x01\x7f\x00\x00\x01\x00\x00"):
            client.recv(65536)
            client.sendall(answer)


def socks(world: World) -> str:
    """A SOCKS5 proxy that does its work."""
    proxy = SOCKS5()
    world.stack.callback(proxy.close)
    return f"socks5h://127.0.0.1:{proxy.port}"


def refusing_socks(world: World) -> str:
    """A SOCKS5 proxy whose rules do not allow it."""
    return f"socks5h://127.0.0.1:{world.stack.enter_context(_Refusing()).port}"


class _Interceptor(TLSServer):
    """A proxy that answers CONNECT, and then is the server itself."""

    def _shake(self, client: socket.socket, context: ssl.SSLContext | None) -> None:
        head = b""
        with suppress(OSError):
            while not head.endswith(b"\r\n\r\n") and (byte := client.recv(1)):
                head += byte
            client.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        super()._shake(client, context)


def intercepting(world: World) -> str:
    """A proxy that reads along, by a certificate of its own."""
    server = world.stack.enter_context(_Interceptor(good, [context_of(world.authority, "untrusted")]))
    return f"http://127.0.0.1:{server.port}"


def trusted_interceptor(world: World) -> str:
    """The same, by a certificate that is trusted."""
    server = world.stack.enter_context(_Interceptor(good, [context_of(world.authority)]))
    return f"http://127.0.0.1:{server.port}"
