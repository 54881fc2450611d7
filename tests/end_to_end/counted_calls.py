"""Count what the interpreter does for one GET over a warm connection, and print it as JSON.

    python -m tests.end_to_end.counted_calls            # print it
    python -m tests.end_to_end.counted_calls update     # and make it the budget of this Python version
    python -m tests.end_to_end.counted_calls wasteful   # the control: by an adapter that does too much

It needs no more than the package and what that requires, so that an environment of any Python will do.
Counts are of the calling thread alone, and of the least of several calls, so a busy machine changes
nothing: the threads of the server and ours are not in them, no garbage is collected meanwhile, and what
happens now and then (a file that is looked at once a second) is left out. `own` is what code of this
package does; `all` is what all code does, that of `requests`, urllib3 and the standard library too. It is
HTTP without TLS, whose work is not Python's.
"""

import gc
import json
import platform
import sys
import threading
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

import requests

import resilient_transport
from tests.plain_server import plain_server

#: What each version of Python may take.
BUDGET = Path(__file__).with_name("budget.json")
PYTHON = ".".join(platform.python_version_tuple()[:2])
HOME = str(Path(resilient_transport.__file__).parent)
#: Calls before the first that counts: the interpreter adapts to what it runs. Then so many are counted.
WARM, COUNTED = 20, 7
#: Calls that a wasteful adapter makes more.
WASTE = 100


class Count:
    """How often something happens in this thread: anywhere, and in this package."""

    def __init__(self) -> None:
        self.all = self.own = 0
        self._thread = threading.get_ident()

    def add(self, code: CodeType, _: object = None) -> None:
        """Count one."""
        if threading.get_ident() == self._thread:
            self.all += 1
            self.own += code.co_filename.startswith(HOME)

    def profile(self, frame: FrameType, event: str, _: object) -> None:
        """Count a call: one of C is its caller's."""
        if event in ("call", "c_call"):
            self.add(frame.f_code)

    def trace(self, frame: FrameType, event: str, _: object) -> Any:
        """Count a bytecode; a frame that begins will tell of its own."""
        if event == "call":
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
        elif event == "opcode":
            self.add(frame.f_code)
        return self.trace


def calls_of(action: Callable[[], object]) -> Count:
    """Count the calls of Python and of C functions."""
    count = Count()
    sys.setprofile(count.profile)
    action()
    sys.setprofile(None)
    return count


def bytecodes_of(action: Callable[[], object]) -> Count:
    """Count the bytecodes. Since Python 3.12 a tracer is not told of all of them, and a monitor is."""
    count = Count()
    if sys.version_info < (3, 12):
        before = sys.gettrace()
        sys.settrace(count.trace)
        action()
        sys.settrace(before)
        return count
    tool, event = sys.monitoring.PROFILER_ID, sys.monitoring.events.INSTRUCTION
    sys.monitoring.use_tool_id(tool, "counted_calls")
    sys.monitoring.register_callback(tool, event, count.add)
    sys.monitoring.set_events(tool, event)
    action()
    sys.monitoring.set_events(tool, 0)
    sys.monitoring.free_tool_id(tool)
    return count


def counted(action: Callable[[], object]) -> dict[str, int]:
    """Return the least that one call took, of each."""
    for _ in range(WARM):
        action()
    gc.collect()
    gc.disable()
    runs = {"calls": calls_of, "bytecodes": bytecodes_of}
    found = {what: [count(action) for _ in range(COUNTED)] for what, count in runs.items()}
    gc.enable()
    return {
        f"{whose} {what}": min(getattr(count, whose) for count in counts)
        for what, counts in found.items()
        for whose in ("own", "all")
    }


class Wasteful(resilient_transport.ResilientAdapter):
    """The control: an adapter that calls for nothing."""

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        """Do more than is needed."""
        for _ in range(WASTE):
            len(args)
        return super().send(*args, **kwargs)


def measured(adapter: requests.adapters.HTTPAdapter) -> dict[str, dict[str, int]]:
    """Count both ways to call."""
    with plain_server() as url, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", adapter)
        request = session.prepare_request(requests.Request("GET", url))
        return {
            "Session.get": counted(lambda: session.get(url).content),
            "adapter.send": counted(lambda: adapter.send(request).content),
        }


def report(adapter: requests.adapters.HTTPAdapter) -> dict[str, Any]:
    """Return the counts, and what they depend on."""
    return {"versions": {name: version(name) for name in ("requests", "urllib3")}, **measured(adapter)}


def update(found: dict[str, Any]) -> None:
    """Make this the budget of the running version of Python."""
    budgets = json.loads(BUDGET.read_text(encoding="utf-8")) if BUDGET.exists() else {}
    budgets = dict(sorted({**budgets, PYTHON: found}.items(), key=lambda each: each[0].zfill(5)))
    BUDGET.write_text(json.dumps(budgets, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    found = report(Wasteful() if "wasteful" in sys.argv else resilient_transport.ResilientAdapter())
    if "update" in sys.argv:
        update(found)
    print(json.dumps(found))
