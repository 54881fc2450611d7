"""The parent's end of a fault server: start the process, talk to it, end it."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from .authority import Authority
from .observations import Counts, Execution, Tunnel
from .own_group import OWN_GROUP
from .script import FAULTLESS, Script
from .server_options import ServerOptions

_LAUNCH = str(Path(__file__).with_name("engine") / "launch.py")
_END_SECONDS = 5.0
_POLL_SECONDS = 0.002


class FaultServer:
    """A TLS server on a loopback port, in its own process, that fails as its script says.

    `script` is what goes wrong; `options`, or single fields of `ServerOptions` by name, what the server is
    like; `authority` whose certificates it uses, by default the process's shared one. It runs from
    construction to `close()`, or as a context manager. Raises `ValueError` for a script that such a server
    cannot play.

    >>> with FaultServer(Script((Rule(Fault(Moment.BODY, after_bytes=100), first=1),))) as server:
    ...     session.get(server.url + "/bytes/1000")

    What it serves, to any method: `/`, `/words/N`, `/bytes/N`, `/gzip/N`, `/chunked/N`, `/until-close/N`,
    `/echo`, `/status/CODE?times=K&id=I&retry_after=S` (CODE for the first K requests with that id, then 200),
    `/redirect?to=PATH&status=CODE`, `/ntlm`, `/whoami`, `/slow/SECONDS`, and `/early/CODE` (before it reads
    the body). The pages of N bytes have strong validators and ranges; `?etag=weak`, `?etag=none`,
    `?etag=changing` and `?ranges=none` take them away. It is a proxy too: it answers URLs itself and carries
    CONNECT to loopback.
    """

    def __init__(
        self,
        script: Script = FAULTLESS,
        options: ServerOptions | None = None,
        *,
        authority: Authority | None = None,
        **fields: Any,
    ) -> None:
        """Start the process and wait until it listens."""
        self._options = dataclasses.replace(options or ServerOptions(), **fields)
        self._authority = authority
        self._check(script)
        # A question and its answer belong together. No call of a client comes here: the server is a process.
        self._lock = threading.Lock()
        # Isolated and without site: it needs the standard library only, whatever surrounds it.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", _LAUNCH],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **OWN_GROUP,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._questions, self._answers = self._process.stdin, self._process.stdout
        try:
            opening = {"options": dataclasses.asdict(self._options), "script": script.to_plain()}
            self._port = int(self._ask({**opening, "material": self._material()})["port"])
        except BaseException:
            self.close()
            raise

    @property
    def port(self) -> int:
        """The port it listens on."""
        return self._port

    @property
    def host(self) -> str:
        """The host to ask for: `localhost`, or the address for IPv6."""
        return "[::1]" if self._options.host == "::1" else "localhost"

    @property
    def url(self) -> str:
        """Where it is, without a trailing slash."""
        return f"{'https' if self._options.tls else 'http'}://{self.host}:{self._port}"

    @property
    def options(self) -> ServerOptions:
        """What the server is like."""
        return self._options

    @property
    def authority(self) -> Authority:
        """Whose certificates it uses."""
        if self._authority is None:
            self._authority = Authority.shared()
        return self._authority

    @property
    def pid(self) -> int:
        """The server's process."""
        return self._process.pid

    def play(self, script: Script) -> None:
        """Begin another script at accept 1, with all counters at zero.

        Connections that are open already are no accept of it, so no rule hits them: call `reset_peers` first
        to begin without any. Raises `ValueError` for a script this server cannot play.
        """
        self._check(script)
        self._ask({"do": "play", "script": script.to_plain()})

    def counts(self) -> Counts:
        """Return the counters since the script began."""
        return Counts(**self._ask({"do": "counts"}))

    def executions(self) -> tuple[Execution, ...]:
        """Return the requests executed since the script began, in order."""
        return tuple(Execution(**each) for each in self._ask({"do": "executions"})["executions"])

    def tunnels(self) -> tuple[Tunnel, ...]:
        """Return the CONNECTs read since the script began, in order."""
        return tuple(Tunnel(**each) for each in self._ask({"do": "tunnels"})["tunnels"])

    def wait_for(self, predicate: Callable[[Counts], bool], timeout: float = 5.0) -> Counts:
        """Return the first counters for which the predicate holds.

        Raises `TimeoutError` with the last counters after `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        while not predicate(counts := self.counts()):
            if time.monotonic() > deadline:
                raise TimeoutError(f"not within {timeout} s: {counts.brief()}")
            time.sleep(_POLL_SECONDS)
        return counts

    def reset_peers(self) -> int:
        """Reset every open connection now, and return how many there were."""
        return int(self._ask({"do": "reset_peers"})["ended"])

    def close_idle(self) -> int:
        """End every connection that waits for a request, with a FIN, and return how many there were."""
        return int(self._ask({"do": "close_idle"})["ended"])

    def close(self) -> None:
        """End the process and wait for it; again is harmless."""
        with self._lock:
            # A server that died has left a question in the pipe.
            with contextlib.suppress(BrokenPipeError):
                self._questions.close()
            self._answers.close()
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def __enter__(self) -> FaultServer:
        """Return the server."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End it."""
        self.close()

    def __repr__(self) -> str:
        """Say where it is and whether it runs."""
        state = "closed" if self._process.returncode is not None else f"pid {self.pid}"
        return f"<FaultServer {self.url} {state}>"

    def _material(self) -> dict[str, str] | None:
        if not self._options.tls:
            return None
        certificate, key = self.authority.server(self._options.certificate)
        return {"certificate": certificate, "key": key, "ca": self.authority.ca_file}

    def _check(self, script: Script) -> None:
        if self._options.tls:
            return
        for rule in script.rules:
            if rule.fault.needs_tls or rule.in_flight_over is not None:
                raise ValueError(f"a server without TLS cannot play {rule}")

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        with self._lock:
            if self._questions.closed:
                raise RuntimeError("the fault server is closed")
            with contextlib.suppress(BrokenPipeError):
                self._questions.write(json.dumps(question) + "\n")
                self._questions.flush()
            answer = self._answers.readline()
        if not answer:
            raise RuntimeError(f"the fault server ended with status {self._process.wait(_END_SECONDS)}")
        plain: dict[str, Any] = json.loads(answer)
        if "error" in plain:
            raise RuntimeError(f"the fault server cannot start: {plain['error']}")
        return plain
