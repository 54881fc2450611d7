"""The server's end of the control channel: JSON, one object a line; questions on stdin, answers on stdout."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, TextIO

from ..script import How, Script
from ..server_options import ServerOptions
from .server_contexts import Material
from .site import Site


def serve(questions: TextIO, answers: TextIO) -> None:
    """Obey until the questions end; the first one says what server to be."""
    line = questions.readline()
    if not line:
        return
    try:
        site = _open(json.loads(line))
    except (OSError, ValueError) as error:
        _answer(answers, {"error": f"{type(error).__name__}: {error}"})
        return
    try:
        _answer(answers, {"port": site.port})
        for line in questions:
            question = json.loads(line)
            _answer(answers, _ORDERS[question["do"]](site, question))
    finally:
        site.stop()


def main() -> None:
    """Serve the parent process, and end with it."""
    # An interrupt is the parent's to handle: it closes stdin when it is done. None comes from a terminal
    # (`own_group`), but from whoever sends it to all processes there are.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(BrokenPipeError):
        serve(sys.stdin, sys.stdout)
    # Without finalisation: a daemon thread may hold what it would wait for.
    os._exit(0)


def _open(opening: dict[str, Any]) -> Site:
    material = Material(**opening["material"]) if opening["material"] else None
    site = Site(ServerOptions(**opening["options"]), material)
    site.play(Script.from_plain(opening["script"]))
    site.start()
    return site


def _answer(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


def _play(site: Site, question: dict[str, Any]) -> dict[str, Any]:
    site.play(Script.from_plain(question["script"]))
    return {}


def _counts(site: Site, _question: dict[str, Any]) -> dict[str, Any]:
    return site.ledger.counts().to_plain()


def _executions(site: Site, _question: dict[str, Any]) -> dict[str, Any]:
    return {"executions": [dataclasses.asdict(each) for each in site.ledger.executions()]}


def _tunnels(site: Site, _question: dict[str, Any]) -> dict[str, Any]:
    return {"tunnels": [dataclasses.asdict(each) for each in site.ledger.tunnels()]}


def _reset_peers(site: Site, _question: dict[str, Any]) -> dict[str, Any]:
    return {"ended": site.end_all(How.RST)}


def _close_idle(site: Site, _question: dict[str, Any]) -> dict[str, Any]:
    return {"ended": site.close_idle()}


_ORDERS: dict[str, Callable[[Site, dict[str, Any]], dict[str, Any]]] = {
    "play": _play,
    "counts": _counts,
    "executions": _executions,
    "tunnels": _tunnels,
    "reset_peers": _reset_peers,
    "close_idle": _close_idle,
}
