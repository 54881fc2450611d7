"""Fresh processes, one for each start, and their parent's end of the pipe."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from typing import IO, Any, Final

from ...settings.environment import clean_environment
from ...testing.own_group import OWN_GROUP
from .order import Order, Outcome, Start
from .zygote import CAN_FORK

_PROGRAM: Final = "from resilient_transport.cli.demo.zygote import main; main(forks={})"
_END_SECONDS: Final = 5.0


class Nursery:
    """Fresh processes, one for each start.

    Args:
        forks: let all be born from one process; otherwise each is a new interpreter.
    """

    def __init__(self, forks: bool = CAN_FORK) -> None:
        self._forks = forks
        self._process = self._new()

    def start(self, order: Order) -> Start:
        """Let a fresh process carry out an order, and return what came of it."""
        if self._process.poll() is not None:
            self._process = self._new()
        self._hand_over(order)
        answer = self._answer()
        if not self._forks:
            self.close()
        if "died" in answer:
            return _stillborn(order, int(answer["died"]))
        return Start.from_plain(answer)

    def close(self) -> None:
        """End the process; again is harmless."""
        questions, answers = self._pipes()
        questions.close()
        answers.close()
        try:
            self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def kill(self) -> None:
        """End the process and the start that it is busy with, at once; wait for nothing."""
        if self._process.returncode is not None:
            return
        if hasattr(os, "killpg"):
            os.killpg(self._process.pid, signal.SIGKILL)
        else:
            self._process.kill()

    def _new(self) -> subprocess.Popen[str]:
        return subprocess.Popen(  # noqa: S603
            [sys.executable, "-c", _PROGRAM.format(self._forks)],
            env=_default_settings(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **OWN_GROUP,
        )

    def _hand_over(self, order: Order) -> None:
        questions, _ = self._pipes()
        questions.write(json.dumps(order.to_plain()) + "\n")
        questions.flush()

    def _answer(self) -> dict[str, Any]:
        _, answers = self._pipes()
        answer: dict[str, Any] = json.loads(answers.readline() or "{}")
        return answer or {"died": self._process.wait(_END_SECONDS)}

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        process: Any = self._process
        return process.stdin, process.stdout


def _default_settings() -> Mapping[str, str]:
    """The environment without what changes how requests, or this package, send."""
    clean = clean_environment()
    return {
        name: value for name, value in clean.items() if not name.upper().startswith("RESILIENT_TRANSPORT_")
    }


def _stillborn(order: Order, status: int) -> Start:
    error = f"process ended with status {status}"
    return Start(tuple(Outcome(call.request_id, call.method, error) for call in order.calls))
