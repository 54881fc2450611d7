"""A headless Chromium, told what to do over a pipe: by the DevTools protocol, without a port and a package.

The browser reads commands from its descriptor 3 and writes answers and events to 4: JSON, each message ended
by a NUL byte. https://chromedevtools.github.io/devtools-protocol/
"""

import base64
import contextlib
import itertools
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from tests.timeouts import LONG_TIMEOUT

#: Takes the places of both descriptors, and becomes the browser. Chromium knows no other numbers, and a child
#: of `subprocess` has what it inherits under the numbers of its parent.
_BECOME = """
import fcntl, os, sys
ends = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3]]
for place, end in zip((3, 4), ends):
    os.dup2(end, place)
os.execvp(sys.argv[3], sys.argv[3:])
"""
#: Nothing but what is asked for: no first look around, no network of its own.
_OPTIONS = (
    "--headless=new",
    "--remote-debugging-pipe",
    "--no-sandbox",  # Needs a user who is not root.
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-extensions",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND",
)
#: Ten times as long as a busy machine has taken to start a browser.
_PATIENCE = 6 * LONG_TIMEOUT
#: What tells that something is wrong with a page: what it says on the console, and what the browser refuses.
_COMPLAINTS = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")


class BrowserFailed(Exception):
    """The browser has ended, has said nothing for too long, or has refused a command."""


class Browser:
    """A browser process. Leave it to end it, with all that it has started.

    Args:
        program: its path.
        directory: for its profile, which is nobody else's.
    """

    def __init__(self, program: str, directory: Path) -> None:
        told, self._commands = os.pipe()
        self._answers, says = os.pipe()
        command = [program, *_OPTIONS, f"--user-data-dir={directory}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _BECOME, str(told), str(says), *command],
            pass_fds=(told, says),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": str(directory)},
            start_new_session=True,
        )
        os.close(told)
        os.close(says)
        self._numbers = itertools.count(1)
        self._read = b""
        #: Events that nobody has asked for yet: their session, their name and their values.
        self.events: list[tuple[str, str, dict[str, Any]]] = []

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(BrowserFailed):
            self.call("Browser.close")
        os.close(self._commands)
        os.close(self._answers)
        try:
            self._process.wait(LONG_TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(LONG_TIMEOUT)

    def call(self, method: str, session: str = "", **values: Any) -> dict[str, Any]:
        """Send a command, and return its answer."""
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": values} | (
            {"sessionId": session} if session else {}
        )
        try:
            os.write(self._commands, json.dumps(message).encode() + b"\0")
        except BrokenPipeError as error:
            raise BrowserFailed("it has ended") from error
        late = time.monotonic() + _PATIENCE
        while True:
            answer = self._receive(late)
            if answer.get("id") == number:
                if "error" in answer:
                    raise BrowserFailed(f"{method}: {answer['error']}")
                result: dict[str, Any] = answer["result"]
                return result

    def wait_for(self, session: str, name: str) -> None:
        """Wait for an event of a page; those before it are forgotten, but for complaints."""
        late = time.monotonic() + _PATIENCE
        while not any(told[:2] == (session, name) for told in self.events):
            self._receive(late)
        self.events = [told for told in self.events if told[1] in _COMPLAINTS]

    def _receive(self, late: float) -> dict[str, Any]:
        """The next message; an event is kept as well."""
        while b"\0" not in self._read:
            ready, _, _ = select.select([self._answers], [], [], max(late - time.monotonic(), 0))
            if not ready:
                raise BrowserFailed("it has said nothing for too long")
            data = os.read(self._answers, 1 << 20)
            if not data:
                raise BrowserFailed(f"it has ended, with {self._process.poll()}")
            self._read += data
        line, _, self._read = self._read.partition(b"\0")
        message: dict[str, Any] = json.loads(line)
        if "method" in message:
            self.events.append((message.get("sessionId", ""), message["method"], message["params"]))
        return message

    def page(self) -> "Page":
        """A new page, which is empty."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable", session)
        return Page(self, session)


class Page:
    """A page of a browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session

    def call(self, method: str, **values: Any) -> dict[str, Any]:
        """Send a command about this page, and return its answer."""
        return self._browser.call(method, self._session, **values)

    def open(self, path: Path, width: int = 1600, scheme: str = "light") -> None:
        """Load a file into a window of this width, for who likes it light or dark."""
        self.resize(width, scheme)
        self.call("Page.navigate", url=path.as_uri())
        self._browser.wait_for(self._session, "Page.loadEventFired")

    def resize(self, width: int, scheme: str = "light") -> None:
        """Give the window another width."""
        mobile = width < 600
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=mobile
        )
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def evaluate(self, expression: str) -> Any:
        """The value of an expression of JavaScript, in types that JSON has."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        if "exceptionDetails" in told:
            raise BrowserFailed(str(told["exceptionDetails"]))
        return told["result"].get("value")

    def press(self, key: str) -> None:
        """Press a key and let go of it."""
        text = {"Enter": "\r"}.get(key, "")
        codes = {"Enter": 13, "Tab": 9}
        values = {"key": key, "code": key, "windowsVirtualKeyCode": codes[key]}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **values)
        self.call("Input.dispatchKeyEvent", type="keyUp", **values)

    def complaints(self) -> list[str]:
        """What was said on the console since this was asked last, and what was refused."""
        self.evaluate("1")
        said = [
            json.dumps(values)
            for session, name, values in self._browser.events
            if session == self._session and name in _COMPLAINTS
        ]
        self._browser.events = []
        return said

    def picture(self, path: Path) -> None:
        """Write a picture of all of it, as PNG."""
        data = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))
