"""What each path answers. Pages see a request and the connection's facts, and return a `Reply`."""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from .messages import BadRequest, Reply, Request
from .partial_content import ranged

_BLOCK = random.Random(0).randbytes(1 << 16)
_WORDS = ("reset", "again", "whole", "quiet", "early", "stale", "fresh", "ready")
_TEXT = "text/plain; charset=utf-8"


@dataclass(slots=True)
class Memory:
    """What pages remember between requests, until the next script."""

    #: How often each `/status` page was asked for.
    asked: Counter[str] = field(default_factory=Counter)
    #: Guards it.
    lock: threading.Lock = field(default_factory=threading.Lock)

    def nth(self, key: str) -> int:
        """Count one more and return how many there were."""
        with self.lock:
            self.asked[key] += 1
            return self.asked[key]


@dataclass(slots=True)
class Facts:
    """What pages may know of the connection; the NTLM user is set here by the page and stays."""

    #: Common name of the client certificate.
    client: str | None
    #: Which accept it was.
    connection: int
    #: Whether the handshake resumed a session.
    resumed: bool
    #: `TLSv1.2`, `TLSv1.3` or `None`.
    tls_version: str | None
    #: The name asked for in the handshake.
    server_name: str | None
    #: Who authenticated this connection, NTLM-like.
    user: str | None = None


def answer(request: Request, body: bytes, facts: Facts, memory: Memory) -> Reply:
    """Return the answer to an executed request."""
    page, _, rest = request.path.lstrip("/").partition("/")
    try:
        return _PAGES[page](Asked(request, rest, body, facts, memory))
    except KeyError:
        return _text(f"no page {request.path}\n", 404)
    except ValueError as error:
        return _text(f"{error}\n", 400)


@dataclass(frozen=True, slots=True)
class Asked:
    """Everything a page may look at."""

    #: The request head.
    request: Request
    #: The path after the page's name.
    rest: str
    #: The request body.
    body: bytes
    #: The connection.
    facts: Facts
    #: What is remembered between requests.
    memory: Memory


def early(request: Request) -> Reply | None:
    """Return the answer to a request whose body must not be read: `/early/CODE`."""
    page, _, rest = request.path.lstrip("/").partition("/")
    if page != "early":
        return None
    if not rest.isdecimal():
        raise BadRequest("not a status")
    return Reply(int(rest), b"early\n", {"Content-Type": _TEXT}, close=True)


def delay(request: Request) -> float:
    """Return the seconds that `/slow/S` waits."""
    page, _, rest = request.path.lstrip("/").partition("/")
    try:
        return float(rest) if page == "slow" else 0.0
    except ValueError:
        return 0.0


def _home(_asked: Asked) -> Reply:
    return _text("a server that fails on purpose\n")


def _slow(asked: Asked) -> Reply:
    return _text(f"after {float(asked.rest)} s\n")


def _words(asked: Asked) -> Reply:
    count = int(asked.rest)
    return _text(" ".join(_WORDS[n % len(_WORDS)] for n in range(count)))


def _bytes(asked: Asked) -> Reply:
    return ranged(asked.request, noise(int(asked.rest)), f"bytes-{int(asked.rest)}", asked.memory)


def _gzip(asked: Asked) -> Reply:
    reply = ranged(asked.request, zipped(int(asked.rest)), f"gzip-{int(asked.rest)}", asked.memory)
    reply.headers["Content-Encoding"] = "gzip"
    return reply


def _chunked(asked: Asked) -> Reply:
    reply = ranged(asked.request, noise(int(asked.rest)), f"chunked-{int(asked.rest)}", asked.memory)
    reply.framing = "chunked"
    return reply


def _until_close(asked: Asked) -> Reply:
    reply = ranged(asked.request, noise(int(asked.rest)), f"until-close-{int(asked.rest)}", asked.memory)
    reply.framing, reply.close = "close", True
    return reply


def _echo(asked: Asked) -> Reply:
    return Reply(200, asked.body, {"Content-Type": "application/octet-stream"})


def _status(asked: Asked) -> Reply:
    query = asked.request.query
    nth = asked.memory.nth(f"{asked.request.path}?{query.get('id', '')}")
    if "times" in query and nth > int(query["times"]):
        return _text("ok\n")
    reply = _text(f"as asked, for the {nth}. time\n", int(asked.rest))
    if "retry_after" in query:
        reply.headers["Retry-After"] = query["retry_after"]
    return reply


def _redirect(asked: Asked) -> Reply:
    query = asked.request.query
    reply = _text("elsewhere\n", int(query.get("status", "302")))
    reply.headers["Location"] = query.get("to", "/")
    return reply


def _ntlm(asked: Asked) -> Reply:
    scheme, _, token = asked.request.headers.get("authorization", "").partition(" ")
    if scheme.upper() == "NTLM" and token:
        asked.facts.user = token
    if asked.facts.user is None or scheme.upper() not in ("", "NTLM"):
        reply = _text("who are you?\n", 401)
        reply.headers["WWW-Authenticate"] = "NTLM"
        return reply
    return _text(asked.facts.user)


def _whoami(asked: Asked) -> Reply:
    facts = asked.facts
    told = {
        "client": facts.client,
        "connection": facts.connection,
        "resumed": facts.resumed,
        "tls_version": facts.tls_version,
        "server_name": facts.server_name,
    }
    return Reply(200, json.dumps(told).encode(), {"Content-Type": "application/json"})


def _text(text: str, status: int = 200) -> Reply:
    return Reply(status, text.encode(), {"Content-Type": _TEXT})


@lru_cache(maxsize=8)
def noise(size: int) -> bytes:
    """Return so many deterministic pseudo-random bytes."""
    if size < 0:
        raise ValueError("a negative size")
    return (_BLOCK * (size // len(_BLOCK) + 1))[:size]


@lru_cache(maxsize=8)
def zipped(size: int) -> bytes:
    """Return the same bytes, compressed; deterministic."""
    return gzip.compress(noise(size), compresslevel=1, mtime=0)


def digest(credentials: str | None) -> str | None:
    """Return scheme and SHA-256 of a credentials header, so that they can be told apart and not be read."""
    if credentials is None:
        return None
    scheme, _, secret = credentials.partition(" ")
    return f"{scheme} {hashlib.sha256(secret.strip().encode('latin-1')).hexdigest()}"


_PAGES: dict[str, Callable[[Asked], Reply]] = {
    "": _home,
    "words": _words,
    "bytes": _bytes,
    "gzip": _gzip,
    "chunked": _chunked,
    "until-close": _until_close,
    "echo": _echo,
    "status": _status,
    "redirect": _redirect,
    "ntlm": _ntlm,
    "whoami": _whoami,
    "slow": _slow,
}
