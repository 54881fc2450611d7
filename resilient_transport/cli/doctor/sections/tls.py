"""TLS with the server: whether handshakes work, what is agreed, and what is kept for the next one.

The server's certificate is not looked at here, and the client's is only shown: each has a section of its own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from statistics import median
from typing import Final

from ....retry.causes import Cause
from ....waterfall.chart import Phase
from ..finding import Finding, fail, ok
from ..handshake import Handshake, Place, Prober, idle_because, is_silent, usable_context
from ..hints import MOUNT, why_it_ends
from ..line import FAILURES, Line
from ..root import Root
from ..section import Check, Section
from ..trouble import root_at
from ..visit import Visit

#: How often a handshake is tried, and how often at the most until one is not reset: the sections that follow
#: need one. Where seven in ten are reset, all twelve are once in 70 times.
TRIALS: Final = 4
MOST_TRIALS: Final = 12
#: Seconds for which a server's first word is waited for, at the least, so that a reset is not missed.
_PATIENCE: Final = 0.05
#: How often a session is offered, where that meets something else.
_OFFERS: Final = 2

#: What OpenSSL says of an answer that is no TLS (`retry/causes.py` has them among others).
_NO_TLS: Final = (
    "WRONG_VERSION_NUMBER", "UNKNOWN_PROTOCOL", "BAD_PROTOCOL_VERSION_NUMBER", "HTTP_REQUEST",
    "HTTPS_PROXY_REQUEST",
)  # fmt: skip
#: The status of servers that speak TLS, when they read a plain request.
_WANTS_TLS: Final = 400
_VERB: Final = {Cause.RESET: "are reset or closed", Cause.TIMEOUT: "meet silence"}
#: What a connection comes to that is not even begun.
_NOT_CONNECTED: Final = {
    (Phase.NAME, None): Root.NAME,
    (Phase.DIAL, Cause.REFUSED): Root.REFUSED,
    (Phase.DIAL, None): Root.UNREACHABLE,
    (Phase.TUNNEL, None): Root.PROXY_REFUSES,
}


@dataclass(frozen=True, slots=True)
class Measured:
    """What came of the handshakes."""

    #: `scheme://host:port`, and the same page without TLS.
    origin: str
    plain_url: str
    #: Handshakes one after the other, each on a new connection.
    tries: tuple[Handshake, ...]
    #: One that was offered what another had been given; None: nothing was given.
    resumed: Handshake | None = None
    #: One that has asked for a page, because no ticket had come before; None: not needed.
    asking: Handshake | None = None
    #: One that was offered HTTP/2 besides; None: none was made.
    choosing: Handshake | None = None
    #: The status of a plain HTTP response from the same port; None: there was none, or nobody has asked.
    plain_status: int | None = None

    @property
    def works(self) -> bool:
        """Whether a connection can be had, or only the client certificate stands in its way."""
        return any(one.is_done or one.is_refusal for one in self.tries) or self.wants_certificate

    @property
    def wants_certificate(self) -> bool:
        """Whether each ended without a word after the server had asked in vain for a client certificate."""
        return _want_certificate(self.tries)


def measure(visit: Visit) -> Measured:
    """Shake hands a few times, then once with what that gave, and once with HTTP/2 on offer."""
    prober, target = Prober(visit, usable_context(visit)), visit.target
    plain = replace(target, scheme="http", url="http" + target.url[len(target.scheme) :])
    tries: list[Handshake] = []
    status = None
    while len(tries) < _wanted(tries) and not is_silent(tries) and not _is_plain(status):
        tries.append(prober.shake(f"handshake {len(tries) + 1}, by hand", patience=_PATIENCE))
        if len(tries) == 1 and tries[0].place in (Place.HELLO, Place.FLIGHT):
            status = _plain_status(visit, Line(plain, visit.budget, visit.options.timeout))
    measured = Measured(target.origin, plain.shown, tuple(tries), plain_status=status)
    if any(one.is_done for one in tries):
        asking = None if prober.session else prober.shake("HEAD by hand", then=_ask)
        choosing = Prober(visit, usable_context(visit, ("h2", "http/1.1"))).shake(
            "handshake with h2 on offer"
        )
        return replace(measured, asking=asking, resumed=_resumed(prober), choosing=choosing)
    return measured


def _wanted(tries: Sequence[Handshake]) -> int:
    """How many handshakes are to be made in all, by what came of those before."""
    resets = [one for one in tries if one.trouble is not None and one.trouble.cause is Cause.RESET]
    return MOST_TRIALS if len(resets) == len(tries) and not _want_certificate(tries) else TRIALS


def _want_certificate(tries: Sequence[Handshake]) -> bool:
    return bool(tries) and all(one.ends_without_certificate for one in tries)


def _ask(line: Line) -> None:
    """Ask for the server's first page: nobody has looked at its certificate, so it is told no path."""
    line.ask("HEAD", "/")


def _resumed(prober: Prober) -> Handshake | None:
    made = None
    for _ in range(_OFFERS if prober.session else 0):
        made = prober.shake("handshake that resumes", session=prober.session)
        if made.is_done:
            break
    return made


def _plain_status(visit: Visit, line: Line) -> int | None:
    """What a plain request is answered by the server; an HTTP proxy would answer it itself."""
    if (visit.target.proxy or "").startswith("http"):
        return None
    with suppress(*FAILURES), visit.kept(line, "plain HTTP by hand"):
        line.dial()
        line.tunnel()
        return line.ask("HEAD", "/").status
    return None


def _is_plain(status: int | None) -> bool:
    """Whether the answer to a plain request is that of a server without TLS."""
    return status not in (None, _WANTS_TLS)


def judge(measured: Measured) -> Iterator[Finding]:
    """Say whether handshakes work, and what they agree on."""
    yield _of_handshakes(measured)
    done = next((one for one in measured.tries if one.is_done), None)
    if done is not None:
        yield _of_version(done)
        yield _of_protocol(measured.choosing)
        yield from _of_resumption(measured, done)
        yield _of_time(measured)


def _of_handshakes(measured: Measured) -> Finding:
    """There are four cases: all work, none connects, none speaks the same TLS, some or all are ended."""
    tries = measured.tries
    failed = [one for one in tries if not one.is_done and not one.is_refusal]
    value = f"{len(tries) - len(failed)} of {len(tries)} handshakes work"
    if measured.wants_certificate:
        return ok("tls.handshake", "handshakes work until the server asks for a client certificate")
    if not failed:
        return ok("tls.handshake", "every handshake works", f"{len(tries)} of {len(tries)}")
    all_failed = len(failed) == len(tries)
    found = _not_connected(failed) or _not_agreed(measured, failed) if all_failed else None
    return found or _of_ended(measured, failed, value)


def _not_connected(failed: Sequence[Handshake]) -> Finding | None:
    trouble = failed[0].trouble
    if trouble is None or any(one.place is not Place.BEFORE for one in failed):
        return None
    if trouble.phase is Phase.DIAL and trouble.cause is Cause.RESET:
        # It was made, and ended at once.
        return None
    found = _NOT_CONNECTED.get((trouble.phase, trouble.cause), _NOT_CONNECTED.get((trouble.phase, None)))
    text = f"no connection can be made, so there is no handshake ({trouble.phase.value}: {trouble.error})"
    return fail(
        "tls.handshake",
        text,
        "--only name --only connect --only proxy   # they say why",
        "",
        found or Root.OTHER,
    )


def _not_agreed(measured: Measured, failed: Sequence[Handshake]) -> Finding | None:
    """What is found if there is no TLS at that port, or none in common."""
    errors = [one.trouble.error for one in failed if one.trouble is not None]
    plain = measured.plain_status
    if all(error.endswith(_NO_TLS) for error in errors) or _is_plain(plain):
        told = (
            "the server answers in plain HTTP" if plain is not None else "what the server answers is not TLS"
        )
        value = errors[0] if plain is None else f"status {plain}"
        return fail("tls.handshake", told, f"use {measured.plain_url}", value, Root.NO_TLS)
    if not all(one.trouble is not None and one.trouble.cause is Cause.NO_COMMON_TLS for one in failed):
        return None
    said = f"the server's alert is {failed[0].alert}" if failed[0].alert else errors[0]
    return fail(
        "tls.handshake", f"client and server have no TLS version or cipher in common ({said})",
        f"ask the operator of {measured.origin} to allow TLS 1.2 or 1.3; this client speaks nothing older",
        errors[0], Root.NO_COMMON_TLS,
    )  # fmt: skip


def _of_ended(measured: Measured, failed: Sequence[Handshake], value: str) -> Finding:
    places = Counter((one.place, one.trouble.cause) for one in failed if one.trouble is not None)
    (place, cause), _ = places.most_common(1)[0]
    told = next(
        one.trouble.error for one in failed
        if one.trouble is not None and (one.place, one.trouble.cause) == (place, cause)
    )  # fmt: skip
    never = not measured.works
    how_many = "all handshakes" if never else f"{len(failed)} of {len(measured.tries)} handshakes"
    hint = why_it_ends("handshakes", measured.origin) if never else MOUNT
    # What the two cannot agree on, they never can.
    comes_and_goes = cause is Cause.NO_COMMON_TLS and not never
    root = Root.HANDSHAKE_RESET if comes_and_goes else root_at(Phase.HANDSHAKE, cause)
    text = f"{how_many} {_VERB.get(cause, 'fail')} {place} ({told})"
    return fail("tls.handshake", text, hint, value, root, blocks=never)


def _of_version(done: Handshake) -> Finding:
    only = ", and no 1.3" if done.version == "TLSv1.2" else ""
    return ok("tls.version", f"the server speaks {_spelled(done.version)}{only}", done.cipher or "")


def _spelled(version: str | None) -> str:
    """A version as people write it: TLS 1.3."""
    return (version or "").replace("TLSv", "TLS ")


def _of_protocol(choosing: Handshake | None) -> Finding:
    if choosing is None or not choosing.is_done:
        return ok("tls.alpn", "it is not known what the server chooses by ALPN")
    chosen = choosing.protocol
    if chosen is None:
        return ok("tls.alpn", "the server chooses nothing by ALPN, so HTTP/1.1 is spoken")
    besides = "; requests offers only HTTP/1.1, and speaks that" if chosen == "h2" else ""
    return ok("tls.alpn", f"of HTTP/2 and HTTP/1.1 the server chooses {chosen}{besides}", chosen)


def _of_resumption(measured: Measured, done: Handshake) -> Iterator[Finding]:
    asking, resumed = measured.asking, measured.resumed
    late = asking.late_tickets if asking is not None else 0
    when = "with the handshake" if done.version == "TLSv1.2" else "right after the handshake"
    count = max(one.tickets for one in measured.tries) or late
    if resumed is None:
        yield ok(
            "tls.resumption",
            "the server gives no session ticket, so each handshake is a full one",
            "0 tickets",
        )
        return
    given = f"{count} session ticket{'' if count == 1 else 's'}" if count else "a session identifier"
    told = f"the server gives {given} {'with its first response' if late else when}"
    if not resumed.is_done:
        yield ok("tls.resumption", f"{told}; whether it resumes sessions is not known", given)
    elif resumed.is_resumed:
        yield ok("tls.resumption", f"{told}, and resumes sessions by them", given)
    else:
        yield ok("tls.resumption", f"{told}, but makes a full handshake all the same", given)


def _of_time(measured: Measured) -> Finding:
    full = median(one.seconds for one in measured.tries if one.seconds is not None)
    resumed = measured.resumed
    text = f"a full handshake takes {full * 1000:.1f} ms"
    if resumed is not None and resumed.is_resumed and resumed.seconds is not None:
        text += f", a resumed one {resumed.seconds * 1000:.1f} ms"
    return ok("tls.time", text)


TLS: Final = Section(
    "tls",
    "TLS",
    (
        Check("tls.handshake", "whether handshakes work, how often, and where they end"),
        Check("tls.version", "which version and cipher are agreed"),
        Check("tls.alpn", "what the server would choose of HTTP/2 and HTTP/1.1"),
        Check("tls.resumption", "whether tickets are given, when, and whether they work"),
        Check("tls.time", "how long full and resumed handshakes take"),
    ),
    measure,
    judge,
    needs=("name", "connect", "proxy"),
    requests=lambda _: 2,
    idle_because=idle_because,
)
