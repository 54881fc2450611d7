"""Lines that can be typed: the same request by curl, and what to run next. Pure, and without secrets."""

from __future__ import annotations

import os
import shlex
from collections.abc import Collection, Iterator
from typing import Final

from .diagnosis import Verdict
from .doctor_options import Options
from .finding import Level
from .root import Root
from .target import Target

#: Stands for the query, which may be a secret.
QUERY: Final = "?QUERY"
_DOCTOR: Final = "python -m resilient_transport doctor"
#: Cold calls at once, seconds idle, and pages, that are proposed. A common limit of idle connections is 60 s.
_BURST: Final = "--burst 4"
_HOLD: Final = "--hold 65"
_SIZES: Final = "--sizes URL_OF_A_SMALL_PAGE URL_OF_A_LARGE_PAGE"
#: What comes and goes when connections begin.
_AT_START: Final = frozenset(
    {Root.HANDSHAKE_RESET, Root.HANDSHAKE_SILENT, Root.HANDSHAKE_RACE, Root.REQUEST_RESET, Root.SILENT}
)


def curl_line(target: Target, timeout: float) -> str:
    """The same request by curl; a query is replaced, and credentials are left out.

    Args:
        target: what was asked for.
        timeout: seconds for one step.
    """
    words = ["curl", "-v", "--http1.1", "-o", os.devnull, "--max-time", f"{6 * timeout:g}"]
    words += _trust(target.verify) if target.is_tls else []
    if target.is_tls and target.cert:
        certificate, key = (target.cert, None) if isinstance(target.cert, str) else target.cert
        words += ["--cert", certificate, *(("--key", key) if key else ())]
    words += ["--proxy", target.proxy_shown] if target.proxy_shown else ["--noproxy", "*"]
    return shlex.join([*words, _page(target)])


def _trust(verify: bool | str) -> list[str]:
    if isinstance(verify, str):
        return ["--capath" if os.path.isdir(verify) else "--cacert", verify]
    return [] if verify else ["--insecure"]


def _page(target: Target) -> str:
    return target.shown + (QUERY if "?" in target.resource else "")


def again_line(options: Options, target: Target, verdict: Verdict, sections: Collection[str]) -> str:
    """The same examination with what would tell more; empty: nothing would.

    Args:
        options: of this examination.
        target: what was examined.
        verdict: what it came to.
        sections: the names of those that there are.
    """
    more = () if options.only else tuple(_more(options, verdict, sections))
    return " ".join([_DOCTOR, _asked(options, target), *more]) if more else ""


def _more(options: Options, verdict: Verdict, sections: Collection[str]) -> Iterator[str]:
    """The options that would tell more. There are three cases: all works, a start fails, a body is cut."""
    works = verdict.level is not Level.FAIL
    there = [name for name in sections if name not in options.skip]
    if "burst" in there and not options.burst and (works or verdict.root in _AT_START):
        yield _BURST
    if "idle" in there and not options.hold and works:
        yield _HOLD
    if "sizes" in there and not options.sizes and verdict.root in (Root.CUT_BODY, Root.CUT_BY_SIZE):
        yield _SIZES


def _asked(options: Options, target: Target) -> str:
    """The arguments as they were, without secrets."""
    named = (
        ("--cert", options.cert),
        ("--key", options.key),
        ("--ca", options.ca),
        ("--proxy", target.proxy_shown if options.proxy else options.proxy),
        ("--session", options.session),
    )
    words = [_page(target)]
    for name, value in named:
        words += [name, value] if value is not None else []
    return shlex.join(words)
