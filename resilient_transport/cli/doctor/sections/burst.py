"""The burst: cold calls at once, each by an agent of its own, as a program makes them at its start.

They are made by the session as it is first, alone and together, and then through the adapter's gate. Where
calls work alone and fail together, handshakes that overlap are what the server, or something before it, does
not bear.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final

from ..chance import leans
from ..doctor_options import Options
from ..finding import Finding, fail, ok, skipped, unknown, warn
from ..hints import MOUNT, why_it_ends
from ..program_calls import (
    OURS,
    STOCK,
    Call,
    are_silent,
    calls,
    compared,
    failed,
    is_refused,
    takes_long,
    usual,
)
from ..root import Root
from ..section import Check, Section
from ..trouble import root_at, where
from ..visit import Visit

#: Calls that are made one after the other, before; and after, where the first ones do not tell enough.
ALONE: Final = 8
MORE: Final = 12
#: The least calls of all rounds together, and the most rounds.
_CALLS: Final = 12
_ROUNDS: Final = 3

#: What an end of the connection comes from, be it in the handshake or in TLS 1.3 right after it.
_ENDED: Final = frozenset({Root.HANDSHAKE_RESET, Root.REQUEST_RESET, Root.HANDSHAKE_SILENT})


@dataclass(frozen=True, slots=True)
class Measured:
    """Cold calls, alone and at once."""

    #: How many at once.
    at_once: int
    #: Whether there are handshakes.
    is_tls: bool
    #: By the session as it is, one after the other, and at once.
    alone: tuple[Call, ...]
    stock: tuple[Call, ...]
    #: By the adapter, at once.
    ours: tuple[Call, ...]

    def compare(self) -> str:
        """How the calls went, in a sentence for each."""
        return compared(self.stock, self.ours, f", made {self.at_once} at once")


def rounds_for(at_once: int) -> int:
    """How many rounds are made, by how many calls each has: enough to be sure, within the limits."""
    return min(_ROUNDS, ceil(_CALLS / at_once))


def measure(visit: Visit) -> Measured:
    """Make calls alone, at once, and at once by the adapter; more alone, if chance may explain it."""
    at_once = visit.options.burst
    alone = calls(visit, STOCK, ALONE)
    if takes_long(alone):
        return Measured(at_once, visit.target.is_tls, alone, (), ())
    stock, ours = _rounds(visit, STOCK, at_once), _rounds(visit, OURS, at_once)
    if failed(stock) and not failed(alone) and not leans(_lots(alone, stock)):
        alone += calls(visit, STOCK, MORE)
    return Measured(at_once, visit.target.is_tls, alone, stock, ours)


def _rounds(visit: Visit, transport: str, at_once: int) -> tuple[Call, ...]:
    made: tuple[Call, ...] = ()
    for number in range(rounds_for(at_once)):
        visit.progress(f"{at_once} calls at once by {transport}, round {number + 1}")
        made += calls(visit, transport, at_once, together=True)
        if are_silent(made) or is_refused(made):
            break
    return made


def _lots(alone: Sequence[Call], together: Sequence[Call]) -> tuple[tuple[int, int], ...]:
    return (len(failed(alone)), len(alone)), (len(failed(together)), len(together))


def judge(measured: Measured) -> Iterator[Finding]:
    """Say whether calls bear one another."""
    yield _alone(measured)
    if not measured.stock:
        why = "no call works alone"
        yield from (skipped(check, why) for check in ("burst.together", "burst.gate"))
        return
    yield _together(measured)
    yield from _statuses(measured)
    yield _gate(measured)


def _alone(measured: Measured) -> Finding:
    made, ours = measured.alone, measured.ours
    lost = failed(made)
    value = f"{len(lost)} of {len(made)} failed"
    if not lost:
        return ok("burst.alone", "calls that are made one after the other work", value)
    phase, cause, told = usual(lost)
    text = f"calls fail even one after the other, {where(phase)} ({told})"
    hint = MOUNT if ours and not failed(ours) else why_it_ends()
    return fail("burst.alone", text, hint, value, root_at(phase, cause), blocks=False)


def _together(measured: Measured) -> Finding:
    alone, made = measured.alone, measured.stock
    lost, many = failed(made), measured.at_once
    value = f"{len(lost)} of {len(made)} failed, {len(failed(alone))} of {len(alone)} alone"
    if not lost:
        return ok("burst.together", f"{many} calls at once by {made[0].transport} work", value)
    phase, cause, told = usual(lost)
    root = root_at(phase, cause)
    is_race = leans(_lots(alone, made)) and root in _ENDED and measured.is_tls
    when = "fail, and none fails alone" if is_race else "fail"
    text = f"of {many} calls at once by {made[0].transport}, some {when} ({phase.value}: {told})"
    hint = "export RESILIENT_TRANSPORT_HANDSHAKES=1" if failed(measured.ours) else MOUNT
    return fail("burst.together", text, hint, value, Root.HANDSHAKE_RACE if is_race else root, blocks=False)


def _statuses(measured: Measured) -> Iterator[Finding]:
    """A limit of the server's: it answers some of many calls with an error, and each that comes alone."""
    if any(_is_bad(call) for call in measured.alone):
        return
    bad = Counter(call.status for call in measured.stock if _is_bad(call))
    if bad:
        status, count = bad.most_common(1)[0]
        text = f"of {measured.at_once} calls at once, some are answered with status {status}"
        fewer = max(1, measured.at_once // 2)
        hint = f"{MOUNT[:-1]}, pool_maxsize={fewer}, pool_block=True)"
        yield warn("burst.together", text, hint, f"{count} of {len(measured.stock)}", Root.STATUS)


def _is_bad(call: Call) -> bool:
    return call.status is not None and call.status >= 400


def _gate(measured: Measured) -> Finding:
    lost, made = failed(measured.ours), measured.ours
    if not made:
        return unknown("burst.gate")
    value = f"{len(lost)} of {len(made)} failed"
    repeated = sum(max(0, len(call.attempts) - 1) for call in made)
    if not lost:
        about = f", {repeated} repetitions" if repeated else ""
        return ok("burst.gate", "calls at once by this adapter work", value + about)
    phase, cause, told = usual(lost)
    text = f"calls at once by this adapter fail, too, {where(phase)} ({told})"
    hint = "export RESILIENT_TRANSPORT_HANDSHAKES=1"
    return fail("burst.gate", text, hint, value, root_at(phase, cause), blocks=False)


def _most(options: Options) -> int:
    return ALONE + MORE + 2 * rounds_for(options.burst) * options.burst if options.burst else 0


BURST: Final = Section(
    "burst",
    "Burst",
    (
        Check("burst.alone", "whether calls on new connections work one after the other"),
        Check("burst.together", "whether they work at once"),
        Check("burst.gate", "whether they work at once by the adapter, which limits handshakes"),
    ),
    measure,
    judge,
    needs=("name", "connect", "proxy", "tls", "server-certificate", "client-certificate"),
    requests=_most,
    idle_because=lambda visit: visit.why_mute() if visit.options.burst else "not asked for: --burst",
)
