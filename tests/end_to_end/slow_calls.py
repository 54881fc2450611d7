"""Calls that never end by themselves, by name, and how late they end when there is a deadline."""

import io
import ssl
import sys
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import Any

import pytest
import requests
import urllib3

from resilient_transport import RetryPolicy, mount, override
from tests.end_to_end import dead_ends, slow_peers
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

OK = b"HTTP/1.1 200 OK\r\n"
SIZED, CHUNKED = OK + b"Content-Length: 1000000000\r\n\r\n", OK + b"Transfer-Encoding: chunked\r\n\r\n"
GZIPPED = SIZED[:-2] + b"Content-Encoding: gzip\r\n\r\n"
#: What comes at once and what drips, of bodies without an end.
BODIES = {
    "sized": (SIZED, b"x"),
    "chunks": (CHUNKED, b"1\r\nx\r\n"),
    "line of a chunk": (CHUNKED + b"1;", b"x"),
    "trailer": (CHUNKED + b"1\r\nx\r\n0\r\nX-Drip: ", b"x"),
    "until close": (OK + b"\r\n", b"x"),
    # Blocks with nothing in them: who decodes has nothing to hand on, ever.
    "gzip": (GZIPPED + b"\x1f\x8b\x08\0\0\0\0\0\0\xff", b"\0\0\0\xff\xff"),
}
#: Ways to read a response that is streamed.
READINGS = {
    "iter_content": lambda response: deque(response.iter_content(1024), 0),
    "iter_lines": lambda response: deque(response.iter_lines(), 0),
    "raw.stream": lambda response: deque(response.raw.stream(1024), 0),
    "raw.read": lambda response: response.raw.read(),
    "raw.read1": lambda response: deque(iter(response.raw.read1, b""), 0),
}
if not hasattr(urllib3.HTTPResponse, "read1"):
    del READINGS["raw.read1"]


@dataclass(frozen=True)
class Case:
    """A call that never ends by itself."""

    #: Makes its peer; is given a TLS context, which it may do without.
    peer: Callable[[ssl.SSLContext], Any]
    #: How the body is read; None: it is not streamed.
    read: Callable[[requests.Response], Any] | None = None
    #: What is uploaded.
    upload: Callable[[], Any] = lambda: None
    #: The time-out per operation with which it takes for ever all the same: many drops come within it.
    patience: float = 2.5 * SHORT_TIMEOUT
    #: Whether it takes ours for that, since stock gives up or is content.
    needs_ours: bool = False
    #: What else there is in the policy.
    policy: Mapping[str, Any] = field(default_factory=dict)

    def call(self, session, peer, **values):
        """Call, and read."""
        data = self.upload()
        settings = {"data": data, "proxies": peer.proxies, "stream": self.read is not None, **values}
        with session.request("GET" if data is None else "PUT", peer.url, **settings) as response:
            if self.read is not None:
                self.read(response)


def both(name, peer, **values):
    """Return a case without TLS, and the same with TLS."""
    return {
        f"{name}, http": Case(lambda tls: peer(), **values),
        f"{name}, https": Case(lambda tls: peer(context=tls), **values),
    }


def dripping(*answer, **values):
    """Return what makes a peer that answers so."""
    return lambda **more: slow_peers.Dripping(*answer, **values, **more)


def interim(status):
    """Return what makes a peer that says this, again and again."""
    return dripping(b"", b"HTTP/1.1 " + status + b"\r\nLink: </a>\r\n\r\n")


#: For what Python bounds as a whole, be it dripping or not: a handshake, a TLS record, the sending of bytes.
PATIENT = {"patience": LONG_TIMEOUT}
#: For what stock gives up.
RESUMED = {"needs_ours": True}
#: What takes for ever, by name.
CASES = {
    "stalled handshake": Case(lambda tls: slow_peers.Stalling(scheme="https"), **PATIENT),
    "dripping handshake": Case(lambda tls: slow_peers.Trickling(tls, handshake=True), **PATIENT),
    "dripping record": Case(lambda tls: slow_peers.Trickling(tls, handshake=False), **PATIENT),
    "dripping record, stream": Case(
        lambda tls: slow_peers.Trickling(tls, handshake=False), READINGS["iter_content"], **PATIENT
    ),
    **both("silence", slow_peers.Stalling, **PATIENT),
    **both("dripping status line", dripping(b"HTTP/1.1 200 ")),
    **both("dripping head", dripping(OK + b"X-Drip: ")),
    **both("100 for ever", interim(b"100 Continue")),
    **both("103 for ever", interim(b"103 Early Hints"), needs_ours=True),
    **both("proxy stalls at CONNECT", lambda **tls: slow_peers.Stalling(proxy=True, **tls), **PATIENT),
    **both("proxy drips", dripping(OK + b"X-Drip: ", proxy=True)),
    **both(
        "handshake stalls behind a proxy",
        lambda **tls: slow_peers.Answering(OK + b"\r\n", proxy=True, **tls),
        **PATIENT,
    ),
    "proxy stalls in its handshake": Case(
        lambda tls: slow_peers.Stalling(scheme="https", proxy=True), **PATIENT
    ),
    **both("upload", slow_peers.Reading, upload=lambda: bytes(1 << 24), **PATIENT),
    "slow upload": Case(
        lambda tls: slow_peers.Reading(gulp=65536), upload=lambda: io.BytesIO(bytes(1 << 24))
    ),
    "resumed": Case(lambda tls: slow_peers.Breaking(), **RESUMED),
    "resumed stream": Case(lambda tls: slow_peers.Breaking(), READINGS["iter_content"], **RESUMED),
    "resolver": Case(lambda tls: dead_ends.Resolver()),
}
if find_spec("socks"):
    CASES["proxy stalls, socks"] = Case(
        lambda tls: slow_peers.Stalling(scheme="socks5", proxy=True), **PATIENT
    )
    CASES["proxy drips, socks"] = Case(lambda tls: slow_peers.Socks())
if sys.platform == "linux":
    CASES["full queue"] = Case(lambda tls: dead_ends.Full(), **PATIENT)
    CASES[f"{dead_ends.ADDRESSES} full queues"] = Case(lambda tls: dead_ends.Full(names=True), **PATIENT)
for _body, _answer in BODIES.items():
    CASES |= both(f"body, {_body}", dripping(*_answer))

#: Every body, and every way to read it as a stream.
STREAMS = {
    f"{name}, by {way}": case
    for body, answer in BODIES.items()
    for way, read in READINGS.items()
    for name, case in both(f"stream, {body}", dripping(*answer), read=read).items()
}


def context_of(authority):
    """Return the TLS context of a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server("good"))
    return context


def dial(authority, **policy):
    """Return a session that trusts the peers, with an adapter of ours."""
    session = stock(authority)
    mount(session, policy=RetryPolicy(**policy))
    return session


def stock(authority):
    """Return a session of stock requests that trusts the peers."""
    session = requests.Session()
    session.trust_env = False
    session.verify = authority.ca_file
    return session


def overrun(call, within=SHORT_TIMEOUT):
    """Return how many seconds after its time a call ends, and in what error.

    Args:
        call: what does not end well.
        within: seconds that it may take.
    """
    began = time.monotonic()
    with pytest.raises(requests.RequestException) as caught:
        call()
    return time.monotonic() - began - within, caught.value


def lateness(case, way, authority, **values):
    """Return how late a case ends that has a deadline, and in what error.

    The deadline is SHORT_TIMEOUT. On a busy machine it may be over before the peer has become slow. That does
    not count, and a later one is tried.

    Args:
        case: one that becomes slow.
        way: "policy" or "override", to set the deadline.
        authority: whose certificates there are.
        values: more for the call.
    """
    for within in (SHORT_TIMEOUT, 3 * SHORT_TIMEOUT, 8 * SHORT_TIMEOUT):
        late, error, was_slow = _ending(case, way, within, authority, **values)
        if was_slow:
            return late, error
    pytest.fail("it was never slow")


def _ending(case, way, within, authority, **values):
    here = override(deadline=within) if way == "override" else nullcontext()
    policy = {**case.policy, "deadline": within if way == "policy" else None}

    def call():
        with here:
            case.call(session, peer, **values)

    with case.peer(context_of(authority)) as peer, dial(authority, **policy) as session:
        late, error = overrun(call, within)
        return late, error, peer.slow.wait(SHORT_TIMEOUT)
