"""How often a call is attempted, and how it ends, by what was said and by what goes wrong.

Nothing here comes from the package: it is docs/behaviour.md once more. `predict` follows the calls through a
script, which is a list of the names of faults.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import requests

from tests.end_to_end.said import FAULTS, STAGES, Fault, Said, is_early


@dataclass
class Call:
    """One call: a hop of a redirect, a round of digest authentication.

    Attributes:
        method: GET, POST and so on.
        good: the status of the answer that it gets when nothing goes wrong.
        has_body: whether the request has one.
        rewindable: whether that can be sent again.
        key: whether it has an Idempotency-Key.
    """

    method: str
    good: int = 200
    has_body: bool = False
    rewindable: bool = True
    key: bool = False


class End(NamedTuple):
    """How often a call is attempted, and its response's status or its exception."""

    attempts: int
    outcome: int | type[Exception]


def hops(call: Mapping[str, Any]) -> list[Call]:
    """The calls that a call comes to when all goes well: hops of a redirect, rounds of a challenge."""
    method, body = call["method"], call["body"]
    of_all = {"key": call["key"], "rewindable": body != "iterator"}
    first = Call(method, has_body=body is not None, **of_all)
    if call["path"] == "/digest":
        return [Call(method, 401, body is not None, **of_all), first]
    if call["path"] == "/redirect":
        kept = call["redirect"] == 307
        later = Call(
            method if kept or method == "HEAD" else "GET", 200, kept and body is not None, key=call["key"]
        )
        return [Call(method, call["redirect"], body is not None, **of_all), later]
    return [first]


class Prediction:
    """Follows a call through a script.

    Args:
        said: the policy.
        call: the call.
        script: what is left of the faults.
    """

    def __init__(self, said: Said, call: Call, script: Iterator[str]) -> None:
        self.said, self.call, self.script = said, call, script
        #: Whether the last connection was reset before it had carried anything.
        self.doubted = False
        self.limits = said.limits()
        self.may_repeat = said.repeats(call.method, call.key)
        self.counted: list[Fault] = []
        self.furthest: Fault | None = None
        #: Whether a response was handed out before its body was read, and that was cut.
        self.was_left_and_cut = False
        #: How many failures there were when the response came whose body is resumed; None: none is.
        self.since: int | None = None

    def end(self) -> End:
        """Follow it to its end."""
        attempts = 0
        while True:
            attempts += 1
            outcome = self._attempt(next(self.script, "good"))
            if outcome is not None:
                return End(attempts, outcome)

    def _attempt(self, name: str) -> int | type[Exception] | None:
        """The outcome of the call, if this attempt is the last."""
        if name == "good" or (name in ("none", "little", "much", "bare") and self.call.method == "HEAD"):
            return self.call.good
        fault = FAULTS[name]
        if fault.stage == "body" and self.call.good in (302, 307):
            # The body of a redirect is nobody's business.
            return self.call.good
        goes_first = self.may_repeat and self.call.rewindable and not self._spends_less_early()
        is_confirmed = self.doubted or not goes_first
        if name == "confirm" and not is_confirmed:
            # It is met where the answer is waited for.
            fault = fault._replace(stage="request")
        if fault.stage not in ("resolve", "connect"):
            self._learn(fault, is_confirmed)
        if fault.stage == "status":
            return self._status(name, fault)
        if fault.stage == "body":
            return self._body(name, fault)
        if self.since is None:
            self._note(fault)
        return None if self._goes_on(fault) else self._failed()

    def _spends_less_early(self) -> bool:
        """Whether connects are repeated, but no request that has left: then that waits for proof."""
        none = [limit for limit in self.limits if limit.most < 1]
        early = [FAULTS[name] for name in ("hello", "refused", "name")]
        connects = not any(limit.covers(fault) for limit in none for fault in early)
        return connects and any(limit.covers(FAULTS["request"]) for limit in none)

    def _learn(self, fault: Fault, is_confirmed: bool) -> None:
        """What the pool has learned of the server, and so whether it confirms the next handshake."""
        self.doubted = is_early(fault) or (fault == ("request", "reset", fault.error) and not is_confirmed)

    def _status(self, name: str, fault: Fault) -> int | type[Exception] | None:
        status = int(name[:3])
        if name != "421" and not self.said.repeats_status(name):
            if self.was_left_and_cut:
                return self._failed()
            return status if self.since is None else self._begins_again()
        if self._goes_on(fault):
            return None
        if self.since is not None or self.was_left_and_cut:
            return self._failed()
        raises = self.said.value("raise_on_status", self.said.source == "Retry")
        raises = raises and (fault.cause != "misdirected" or self.said.repeats_status(name))
        if raises and self._is_used_up(fault) and not self._is_final(fault):
            return requests.exceptions.RetryError
        return status

    def _body(self, name: str, fault: Fault) -> type[Exception] | None:
        self._note(fault)
        # The head of a 401 is looked at before its body is read: what takes its place has to be one, too.
        self.was_left_and_cut = self.call.good == 401
        resumed = self.since is not None
        if resumed and name == "bare":
            return self._begins_again()
        if self.since is None and self._is_resumable(name):
            self.since = len(self.counted)
        if self.since is not None and name == "much":
            # Free of count, but not where such repetitions are turned off.
            if self._is_final(fault) or any(limit.most == 0 and limit.covers(fault) for limit in self.limits):
                return self._failed()
            if not self.said.has_counts():
                del self.counted[self.since :]
            return None
        return None if self._goes_on(fault) else self._failed()

    def _is_resumable(self, name: str) -> bool:
        if self.call.has_body:
            return False
        return self.call.method == "GET" and self.call.good == 200 and name != "bare"

    def _begins_again(self) -> type[Exception] | None:
        """Something came that is not the rest."""
        self.since = None
        return None if self._goes_on(FAULTS["bare"]) else self._failed()

    def _note(self, fault: Fault) -> None:
        rank = STAGES.index
        if self.furthest is None or rank(fault.stage) >= rank(self.furthest.stage):
            self.furthest = fault

    def _failed(self) -> type[Exception]:
        assert self.furthest is not None
        return self.furthest.error

    def _goes_on(self, fault: Fault) -> bool:
        """Whether a failure is followed by another attempt, which is counted."""
        self.counted.append(fault)
        return not self._is_final(fault) and not self._is_used_up(fault)

    def _is_used_up(self, fault: Fault) -> bool:
        return any(
            limit.covers(fault) and sum(map(limit.covers, self.counted)) > limit.most for limit in self.limits
        )

    def _is_final(self, fault: Fault) -> bool:
        """The table below "Will my POST be sent twice?" in docs/behaviour.md."""
        if fault.cause == "lasting":
            return True
        if is_early(fault):
            return False
        if not self.call.rewindable:
            return True
        if fault.cause == "misdirected":
            return [other.cause for other in self.counted].count("misdirected") > 1
        return not self.may_repeat


def predict(said: Said, calls: list[Call], script: list[str]) -> list[End]:
    """What each call comes to, as long as the one before has got the answer that leads to it."""
    ends: list[End] = []
    left = iter(script)
    for call in calls:
        ends.append(Prediction(said, call, left).end())
        if ends[-1].outcome != call.good:
            break
    return ends


def agree(seen: Sequence[End], predicted: Sequence[End]) -> bool:
    """Whether what was seen of the calls is what was predicted; an exception may be more special."""
    return [end.attempts for end in seen] == [end.attempts for end in predicted] and all(
        found == told if isinstance(told, int) else isinstance(found, type) and issubclass(found, told)
        for (_, found), (_, told) in zip(seen, predicted, strict=True)
    )
