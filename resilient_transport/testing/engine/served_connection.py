"""One accepted connection, from accept to its end, on its own thread; every moment of a script is in here."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
from typing import Protocol

from ..observations import Execution, Tunnel
from ..script import How, Moment, Script
from ..server_options import ServerOptions
from . import pages, tunnel
from .channel import Channel, TLSChannel
from .hand import Hand, Hit, Visit
from .ledger import Ledger
from .messages import BODILESS, BadRequest, Reader, Reply, Request
from .peer import Peer
from .server_contexts import Contexts
from .termination import Ending, PeerGone

_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_ESTABLISHED = b"HTTP/1.1 200 Connection established\r\n\r\n"


class Site(Protocol):
    """What a connection needs of the server it belongs to."""

    options: ServerOptions
    contexts: Contexts | None
    ledger: Ledger
    memory: pages.Memory


class Connection:
    """What happens between one client connection and the server.

    `hand` and `script` are replaced by the site when a new script begins; only their user is this thread.
    """

    def __init__(self, site: Site, peer: Peer, script: Script, accept: int) -> None:
        """Serve this socket, as the script's accept with this number."""
        self.hand = Hand(script, accept)
        self.script = script
        #: Whether it waits for a request: read by the site to end idle connections.
        self.idle = False
        self.peer = peer
        self._site = site
        self._accept = accept
        self._channel = Channel(peer) if site.contexts is None else TLSChannel(peer)
        self._reader = Reader(self._channel.recv)
        self._visit = Visit()
        self._facts = pages.Facts(None, accept, False, None, None)

    def run(self) -> None:
        """Serve until the connection ends; never raises for what a client does."""
        with contextlib.closing(self.peer), contextlib.suppress(PeerGone, ssl.SSLError, BadRequest):
            try:
                self._serve()
            except Ending as ending:
                self._end(ending)

    def _serve(self) -> None:
        self._strike(Moment.ACCEPT)
        if isinstance(self._channel, TLSChannel) and self._site.contexts is not None:
            self._shake_hands(self._channel, self._site.contexts)
        while self._serve_request():
            pass
        raise Ending(How.CLOSE_NOTIFY)

    def _shake_hands(self, channel: TLSChannel, contexts: Contexts) -> None:
        channel.read_hello()
        handshake, done = self._site.ledger.began(), False
        try:
            self._visit = Visit(crowd=handshake.crowd)
            self._strike(Moment.CLIENT_HELLO)
            self.peer.pause(self.script.handshake_delay)
            # Again, for those who came meanwhile: both sides of an overlap are hit.
            self._visit = Visit(crowd=handshake.crowd)
            self._strike(Moment.CLIENT_HELLO)
            # Known before the answer: a connection that is to end after it gets no ticket.
            hit = self.hand.hit(Moment.HANDSHAKE, self._visit)
            self._answer_hello(channel, contexts, hit)
            done = True
        finally:
            self._site.ledger.finished(handshake, done, channel.resumed)
        channel.server_name = contexts.asked_name()
        self._facts = pages.Facts(
            channel.client, self._accept, channel.resumed, channel.tls_version, channel.server_name
        )
        self._visit = Visit(crowd=handshake.crowd)
        if hit:
            raise _ending(hit)

    def _answer_hello(self, channel: TLSChannel, contexts: Contexts, hit: Hit | None) -> None:
        try:
            if hit is None:
                channel.handshake(contexts.ordinary(), self._site.options.tickets == "first-response")
            elif hit.fault.how is How.ALERT:
                channel.handshake(contexts.refusing())
            else:
                channel.handshake(contexts.ticketless())
        except ssl.SSLError:
            if hit is not None and hit.fault.how is How.ALERT:
                self.peer.pause(hit.fault.seconds)
            channel.flush()
            raise

    def _serve_request(self) -> bool:
        """Serve the next request and return whether another may follow."""
        request = self._next_request()
        if request is None:
            return False
        self._visit = Visit(self._visit.request + 1, request.path, self._visit.crowd)
        if request.method == "CONNECT":
            return self._connect(request)
        self._site.ledger.requested()
        if reply := pages.early(request):
            return self._respond(request, reply)
        body = self._read_body(request)
        self._strike(Moment.REQUEST)
        self._site.ledger.executed(self._execution(request, body))
        self._strike(Moment.EXECUTED)
        self.peer.pause(self.script.response_delay + pages.delay(request))
        return self._respond(request, pages.answer(request, body, self._facts, self._site.memory))

    def _next_request(self) -> Request | None:
        self.idle = not self._reader.buffered
        try:
            return self._reader.head(self._site.options.idle_timeout, self._left_idle)
        except PeerGone:
            if self.idle:
                # As servers do: a plain close, after which a late request meets a reset.
                self.peer.close()
            raise

    def _left_idle(self) -> None:
        self.idle = False

    def _read_body(self, request: Request) -> bytes:
        hit = self.hand.hit(Moment.UPLOAD, self._visit)
        if hit is not None and hit.after == 0:
            raise _ending(hit)
        if request.headers.get("expect", "").lower() == "100-continue":
            self._channel.send(_CONTINUE)
        pieces, size = [], 0
        for piece in self._reader.body(request):
            pieces.append(piece)
            size += len(piece)
            if hit is not None and size >= hit.after:
                raise _ending(hit)
        return b"".join(pieces)

    def _respond(self, request: Request, reply: Reply) -> bool:
        reply.close = reply.close or request.wants_close or not self._site.options.keep_alive
        head = reply.head()
        bodiless = request.method == "HEAD" or reply.status in BODILESS
        payload = b"" if bodiless else reply.body
        if hit := self.hand.hit(Moment.HEAD, self._visit):
            self._channel.send(head[: len(head) // 2])
            raise _ending(hit)
        hit = None if bodiless else self.hand.hit(Moment.BODY, self._visit)
        if hit is not None and hit.after <= len(payload):
            self._channel.send(head + reply.framed(payload, hit.after))
            raise _ending(hit, payload[hit.after : hit.after + 64])
        self._channel.send(head if bodiless else head + reply.framed(payload))
        return not reply.close

    def _execution(self, request: Request, body: bytes) -> Execution:
        headers, facts = request.headers, self._facts
        authorization = headers.get("authorization")
        return Execution(
            request_id=headers.get("x-request-id") or self._site.ledger.anonymous(),
            method=request.method,
            path=request.origin_form,
            body_bytes=len(body),
            body_sha256=hashlib.sha256(body).hexdigest(),
            client=facts.client,
            idempotency_key=headers.get("idempotency-key"),
            authorization_scheme=authorization.partition(" ")[0] if authorization else None,
            proxy_authorization=pages.digest(headers.get("proxy-authorization")),
            connection=facts.connection,
            resumed=facts.resumed,
            tls_version=facts.tls_version,
            server_name=facts.server_name,
        )

    def _connect(self, request: Request) -> bool:
        credentials = pages.digest(request.headers.get("proxy-authorization"))
        hit = self.hand.hit(Moment.TUNNEL, self._visit)
        status = self._site.options.connect_status
        upstream = tunnel.dial(request.target) if hit is None and status == 200 else None
        if status == 200 and upstream is None:
            status = 502
        self._site.ledger.tunnelled(Tunnel(request.target, 0 if hit else status, credentials, self._accept))
        if hit:
            raise _ending(hit)
        if upstream is None:
            return self._respond(request, _refusal(status))
        self._channel.send(_ESTABLISHED)
        tunnel.splice(self._channel, upstream, self._reader.leftover())
        return False

    def _strike(self, moment: Moment) -> None:
        if hit := self.hand.hit(moment, self._visit):
            raise _ending(hit)

    def _end(self, ending: Ending) -> None:
        try:
            _WAYS[ending.how](self._channel, ending)
        except Ending as overruled:
            # Another thread wants it ended its own way, for instance in the middle of a stall.
            _WAYS[overruled.how](self._channel, overruled)


def _ending(hit: Hit, spoil: bytes = b"") -> Ending:
    return Ending(hit.fault.how, hit.fault.seconds, spoil or b"HTTP/1.1 200 OK\r\n")


def _refusal(status: int) -> Reply:
    headers = {"Proxy-Authenticate": 'Basic realm="proxy"'} if status == 407 else {}
    return Reply(status, b"", headers)


def _reset(channel: Channel, _ending: Ending) -> None:
    channel.peer.reset()


def _finish(channel: Channel, _ending: Ending) -> None:
    channel.peer.finish()


def _close_notify(channel: Channel, _ending: Ending) -> None:
    channel.notify()
    channel.peer.finish()


def _stall(channel: Channel, ending: Ending) -> None:
    channel.peer.stall(ending.seconds)
    channel.peer.obey()
    channel.peer.close()


def _corrupt(channel: Channel, ending: Ending) -> None:
    channel.corrupt(ending.spoil)
    channel.peer.finish()


_WAYS = {
    How.RST: _reset,
    How.FIN: _finish,
    How.CLOSE_NOTIFY: _close_notify,
    How.STALL: _stall,
    How.CORRUPT: _corrupt,
}
