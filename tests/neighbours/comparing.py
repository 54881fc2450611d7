"""What HTTP clients do when a server resets connections: how often they call, as the server has counted.

`docs/comparison.md` has the results as a table. Run as a program, it plays all of it for one client and
prints the cells; for a client that no test runs:

    python -m tests.neighbours.comparing NAME COMMAND...
"""

import json
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from resilient_transport.settings.environment import clean_environment
from resilient_transport.testing import Fault, FaultServer, How, Moment, Rule, Script
from tests.programs import ROOT

CALLING = str(ROOT / "tests" / "neighbours" / "calling.py")
#: Bytes of a page, and how many of them come before it is cut.
SIZE, CUT = 1000, 100
#: What a POST asks for.
POSTED = "/words/3"
KEY = {"Idempotency-Key": "order-1"}
RESET_HANDSHAKE = Fault(Moment.CLIENT_HELLO)
RESET_ANSWER = Fault(Moment.EXECUTED)
CUT_BODY = Fault(Moment.BODY, How.FIN, after_bytes=CUT)


@dataclass(frozen=True)
class Play:
    """One row of the table: what is asked, and what the server does."""

    #: Method.
    method: str
    #: Path, and what it is to hold.
    path: str = f"/bytes/{SIZE}"
    #: What goes wrong.
    rule: Rule | None = None
    #: Whether an earlier call has left its connection open.
    reused: bool = False
    #: Whether the connections count, and not the requests.
    connections: bool = False
    #: Headers.
    headers: dict[str, str] = field(default_factory=dict)


def outcome(came, path):
    """Say in a word or two what a caller got of a page."""
    if "error" in came:
        return "error"
    if came["status"] >= 400:
        return str(came["status"])
    is_cut = came["size"] is not None and path.endswith(f"/{SIZE}") and came["size"] < SIZE
    return "short" if is_cut else "answer"


def _once(fault):
    return Rule(fault, first=1)


def _reused(fault):
    return Rule(fault, first=1, on_request=2)


#: By the name of the row.
PLAYS = {
    "handshake reset once, POST: connections": Play("POST", POSTED, _once(RESET_HANDSHAKE), connections=True),
    "each handshake reset, GET: connections": Play("GET", rule=Rule(RESET_HANDSHAKE), connections=True),
    "answer reset, new connection, GET": Play("GET", rule=_once(RESET_ANSWER)),
    "answer reset, new connection, POST": Play("POST", POSTED, _once(RESET_ANSWER)),
    "answer reset, reused connection, GET": Play("GET", rule=_reused(RESET_ANSWER), reused=True),
    "answer reset, reused connection, POST": Play("POST", POSTED, _reused(RESET_ANSWER), reused=True),
    "the same with `Idempotency-Key`": Play("POST", POSTED, _reused(RESET_ANSWER), reused=True, headers=KEY),
    "each answer reset, GET": Play("GET", rule=Rule(RESET_ANSWER)),
    "503 once, GET": Play("GET", "/status/503?times=1&id=a"),
    "503 once, `Retry-After: 1`, GET": Play("GET", "/status/503?times=1&id=b&retry_after=1"),
    "503 once, `Retry-After: 1`, POST": Play("POST", "/status/503?times=1&id=c&retry_after=1"),
    "body cut, with a length": Play("GET", rule=_once(CUT_BODY)),
    "body cut, chunked": Play("GET", f"/chunked/{SIZE}", _once(CUT_BODY)),
    "body cut, without a length, no `close_notify`": Play("GET", f"/until-close/{SIZE}", _once(CUT_BODY)),
}
#: What three calls take of a server that closes each connection after its answer.
CONTEXTS, RESUMED = "TLS contexts for 3 connections", "TLS sessions resumed, of 2"
#: Whose certificate a new connection shows when the files were replaced. No test waits for it.
ROTATED = "client certificate replaced on disk"
#: What eight first calls at once meet. It depends on the machine, so no test compares it.
AT_ONCE = {
    "8 first calls at once": (),
    "the same, handshakes beside others are reset": (Rule(RESET_HANDSHAKE, in_flight_over=1),),
}


class Client:
    """A process that calls; see `calling.py`."""

    def __init__(self, command):
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            env={**clean_environment(), "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, do, **what):
        """Tell it to do something, and return its answer."""
        self.process.stdin.write(json.dumps({"do": do, **what}) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def close(self):
        """End it."""
        self.process.stdin.close()
        self.process.stdout.close()
        self.process.wait()


@contextmanager
def client(command, *material):
    """Start such a process, and end it."""
    started = Client([*command, *material])
    try:
        yield started
    finally:
        started.close()


def played(play, caller, peer, server):
    """Play one row with a new client; return its cell: what came, and how often the server was asked."""
    server.reset_peers()
    server.play(Script((play.rule,) if play.rule else ()))
    caller.ask("begin", peer=peer)
    asked = {"method": play.method, "url": server.url + play.path, "headers": play.headers}
    if play.reused:
        caller.ask("call", **asked)
    came = caller.ask("call", **asked)
    counts = server.counts()
    often = counts.accepts if play.connections else counts.executed - play.reused
    return f"{outcome(came, play.path)}, {often}×"


def cells(caller, peer, server):
    """Return the cells of all rows, by their names."""
    return {name: played(play, caller, peer, server) for name, play in PLAYS.items()}


def tls(caller, peer, closing):
    """Return what three calls take of TLS, of a server that closes each connection after its answer."""
    closing.play(Script())
    caller.ask("begin", peer=peer)
    for _ in range(3):
        caller.ask("call", method="GET", url=f"{closing.url}/bytes/{SIZE}", headers={})
    counts = closing.counts()
    return {CONTEXTS: str(caller.ask("contexts")), RESUMED: str(counts.resumptions)}


def at_once(name, caller, peer, server):
    """Return how many of eight first calls are answered, and what their handshakes were."""
    rules = AT_ONCE[name]
    server.reset_peers()
    server.play(Script(rules, handshake_delay=0.05 if rules else 0))
    caller.ask("begin", peer=peer)
    url = f"{server.url}/bytes/{SIZE}"
    came = [outcome(one, url) for one in caller.ask("burst", count=8, method="GET", url=url, headers={})]
    counts = server.counts()
    full = counts.handshakes - counts.resumptions
    return f"{came.count('answer')} of 8 answers, {counts.accepts} connections, {full} full handshakes"


def rotated(caller, peer, server, files, others):
    """Return whose certificate a new connection shows once the files are replaced: "the old" or "the new"."""
    server.play(Script())
    caller.ask("begin", peer=peer)
    before = called_as(caller, server)
    for path, other in zip(files, others, strict=True):
        Path(path).write_bytes(Path(other).read_bytes())
    until = time.monotonic() + 4
    while (after := called_as(caller, server)) == before and time.monotonic() < until:
        time.sleep(0.2)
    return "the old" if after == before else "the new"


def called_as(caller, server):
    """Call on a new connection; return the name in the certificate that the server has seen."""
    server.reset_peers()
    caller.ask("call", method="GET", url=f"{server.url}/bytes/{SIZE}", headers={})
    return server.executions()[-1].client


def main(peer, *command):
    """Print all cells of a client. Each part has a process of its own, in which nothing was called before."""
    command = command or [sys.executable, CALLING]
    with FaultServer() as server, FaultServer(authority=server.authority, keep_alive=False) as closing:
        authority = server.authority
        with client(command, authority.ca_file, *authority.client) as caller:
            print(peer, caller.ask("begin", peer=peer))
            told = tls(caller, peer, closing) | cells(caller, peer, server)
        for name in AT_ONCE:
            with client(command, authority.ca_file, *authority.client) as caller:
                told[name] = at_once(name, caller, peer, server)
        with TemporaryDirectory() as folder:
            files = [shutil.copy(path, folder) for path in authority.client]
            with client(command, authority.ca_file, *files) as caller:
                told[ROTATED] = rotated(caller, peer, server, files, authority.issue("bob"))
    for name, cell in told.items():
        print(f"  {name:50} {cell}")


if __name__ == "__main__":
    main(*sys.argv[1:])
