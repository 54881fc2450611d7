"""Sizes: how often responses break, by how large they are, before and after.

A middlebox that loses connections after so many bytes, or after so long, cuts large bodies more often than
small ones. So each page is asked for a few times by the session as it is, and by the adapter.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from ....retry.causes import Cause
from ....util.origin import origin_at, path_at
from ....waterfall.chart import Phase
from ..chance import leans
from ..doctor_options import Options
from ..finding import Finding, fail, ok, unknown
from ..hints import MOUNT, why_it_ends
from ..program_calls import OURS, SILENT, STOCK, Call, are_silent, calls, compared, failed, takes_long, usual
from ..root import Root
from ..section import Check, Section
from ..trouble import root_at, where
from ..visit import Visit

#: How often each page is asked for in each way: most, and least.
TRIALS: Final = 8
LEAST: Final = 3
#: Requests that are left for the sections that follow, if need be.
_LEFT: Final = 60


@dataclass(frozen=True, slots=True)
class Page:
    """A page, asked for a few times in two ways."""

    #: Bytes of its body; None: it never came whole.
    size: int | None
    #: By the session as it is, and by the adapter.
    stock: tuple[Call, ...]
    ours: tuple[Call, ...]
    #: Its URL without the query.
    shown: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """Pages of several sizes."""

    #: The smallest first; those of an unknown size are the last.
    pages: tuple[Page, ...]

    @property
    def stock(self) -> tuple[Call, ...]:
        """All calls by the session as it is."""
        return tuple(call for page in self.pages for call in page.stock)

    @property
    def ours(self) -> tuple[Call, ...]:
        """All calls by the adapter."""
        return tuple(call for page in self.pages for call in page.ours)

    def compare(self) -> str:
        """How the calls went, in a sentence for each."""
        return compared(self.stock, self.ours)


def measure(visit: Visit) -> Measured:
    """Ask for the page itself, and for those of `--sizes`."""
    urls = dict.fromkeys((visit.target.url, *visit.pages))
    trials = max(LEAST, min(TRIALS, (visit.budget.left - _LEFT) // (2 * len(urls))))
    pages = []
    for number, url in enumerate(urls, 1):
        visit.progress(f"page {number} of {len(urls)}")
        stock = calls(visit, STOCK, trials, url=url)
        ours = calls(visit, OURS, 1 if takes_long(stock) else trials, url=url)
        whole = [call.body_bytes for call in (*ours, *stock) if call.error is None]
        pages.append(Page(max(whole, default=None), stock, ours, origin_at(url) + path_at(url)))
        if sum(are_silent(page.stock) for page in pages) == SILENT:
            break
    return Measured(tuple(sorted(pages, key=_order)))


def _order(page: Page) -> tuple[bool, int]:
    return page.size is None, page.size or 0


def judge(measured: Measured) -> Iterator[Finding]:
    """Say whether bodies break, and whether size has a part in that."""
    yield _rates(measured)
    yield _adapter(measured)


def grows(pages: Sequence[Page]) -> bool:
    """Whether larger bodies are cut more often, beyond what chance does.

    Args:
        pages: the smallest first. What fails before the body comes does not count as cut.
    """
    sizes = [list(alike) for _, alike in groupby(pages, _order)]
    cuts = [(sum(map(_cuts, alike)), sum(len(page.stock) for page in alike)) for alike in sizes]
    return len(cuts) > 1 and leans(cuts)


def _cuts(page: Page) -> int:
    return sum(call.phase is Phase.BODY for call in failed(page.stock))


def _rates(measured: Measured) -> Finding:
    before = _table([(page.size, page.stock) for page in measured.pages])
    after = failed(measured.ours)
    told = (
        _table([(page.size, page.ours) for page in measured.pages]) if after else f"0 of {len(measured.ours)}"
    )
    value = f"failed: {before}; with the adapter {told}"
    lost = failed(measured.stock)
    if not lost:
        return ok("sizes.rates", "bodies of all sizes come whole", value)
    phase, cause, why = usual(lost)
    by_size = grows(measured.pages)
    root = Root.CUT_BY_SIZE if by_size else root_at(phase, cause)
    text = (
        f"the larger a body is, the more often it is cut ({why})"
        if by_size
        else f"calls fail {where(phase)} ({why}), and size makes no clear difference"
    )
    return fail(
        "sizes.rates", text, _hint(by_size and cause is Cause.TIMEOUT, bool(after)), value, root, False
    )


def _hint(stalls: bool, adapter_fails: bool) -> str:
    if stalls:
        return "ping -M do -s 1472 HOST   # are packets of full size dropped? Who runs the network can tell"
    if adapter_fails:
        return why_it_ends()
    return MOUNT


def _adapter(measured: Measured) -> Finding:
    made = measured.ours
    if not made:
        return unknown("sizes.adapter")
    lost, resumed = failed(made), sum(attempt.body_resumed for call in made for attempt in call.attempts)
    value = f"{len(lost)} of {len(made)} failed"
    if not lost:
        about = f", {resumed} times resumed" if resumed else ""
        return ok("sizes.adapter", "the adapter gets bodies of all sizes whole", value + about)
    phase, cause, why = usual(lost)
    text = f"the adapter fails, too, {where(phase)} ({why})"
    hint = "export RESILIENT_TRANSPORT_RETRIES=12"
    return fail("sizes.adapter", text, hint, value, root_at(phase, cause), False)


def _table(rows: Sequence[tuple[int | None, Sequence[Call]]]) -> str:
    return ", ".join(
        f"{len(failed(made))} of {len(made)} at {'unknown size' if size is None else f'{size:,} B'}"
        for size, made in rows
    )


def _most(options: Options) -> int:
    return 2 * TRIALS * (1 + len(options.sizes)) if options.sizes else 0


SIZES: Final = Section(
    "sizes",
    "Sizes",
    (
        Check("sizes.rates", "how often responses break, by their size"),
        Check("sizes.adapter", "whether the adapter gets them whole"),
    ),
    measure,
    judge,
    needs=("name", "connect", "proxy", "tls", "server-certificate", "client-certificate"),
    requests=_most,
    idle_because=lambda visit: visit.why_mute() if visit.options.sizes else "not asked for: --sizes",
)
