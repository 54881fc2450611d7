"""What a section is given to measure with."""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import monotonic, time
from typing import Any, Final, TypeVar

import certifi
import requests

from ...retry.causes import Cause
from ...waterfall.chart import Bar, Chart, Row
from .allowance import Budget
from .doctor_options import Options
from .line import Line
from .target import Target, pages_for, session_from, target_for
from .trust import load

T = TypeVar("T")

#: So many requests that met silence, and no other, show that none is answered.
_MUTE: Final = 3
#: What a key that has a passphrase is told, so that OpenSSL asks nobody at the terminal.
_NO_PASSPHRASE: Final = b""


class Visit:
    """One examination of one server: what is asked for, what may still be asked, what was measured so far.

    Args:
        options: what the user has asked for.

    Raises:
        UnusableTarget: that names nothing that can be examined.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        session = session_from(options)
        self.target: Target = target_for(session, options)
        #: The pages of `--sizes`, as requests prepares them.
        self.pages: tuple[str, ...] = pages_for(session, options, self.target)
        self.budget = Budget()
        #: When it began, on the monotonic clock and as POSIX has it.
        self.began, self.began_at = monotonic(), time()
        #: What each section has measured, by the section's name.
        self.measured: dict[str, Any] = {}
        #: Where lines lead, so that a dead address of several does not stop them; None: to the name's first.
        #: Set by the section on the connect.
        self.answering: Any = None
        #: Seconds that a call waits at an address. Set by the section on the connect, to less where one of
        #: several is silent: stock waits there each time.
        self.connect_timeout = options.timeout
        #: Pages of which no more is read than tells enough: large ones, and those that never end.
        self.long: set[str] = set()
        #: Requests by hand that were answered, and those that met silence.
        self._answered = self._silent = 0
        self._context: ssl.SSLContext | None = None
        self._rows: list[tuple[str, Row]] = []
        #: The title of the chart that rows are added to. Set by who runs the sections.
        self.chart = ""
        #: Is told what is waited for, where that takes long. Set by who shows it.
        self.progress: Callable[[str], object] = lambda _: None

    def of(self, section: str, kind: type[T]) -> T | None:
        """What an earlier section has measured; None: it has not run.

        Args:
            section: its name.
            kind: the class of what it measures.
        """
        found = self.measured.get(section)
        return found if isinstance(found, kind) else None

    def new_session(self) -> requests.Session:
        """The program's session, made anew; or a plain one."""
        return session_from(self.options)

    def context(self, verifies: bool = True, shows_certificate: bool = True) -> ssl.SSLContext:
        """The client's side of TLS as the session would have it, made with `ssl` alone.

        Args:
            verifies: whether to check the server's certificate; the session's own word counts, too.
            shows_certificate: whether to have the client certificate, if there is one.

        Raises:
            OSError: a file cannot be read or used (`ssl.SSLError` is one).
        """
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        verify, cert = self.target.verify, self.target.cert
        if verifies and verify:
            load(context, certifi.where() if verify is True else str(verify))
        else:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.set_alpn_protocols(["http/1.1"])
        if shows_certificate and cert:
            certificate, key = (cert, None) if isinstance(cert, str) else cert
            context.load_cert_chain(certificate, key, password=lambda: _NO_PASSPHRASE)
        return context

    def line(self, address: Any = None) -> Line:
        """A connection by hand, not begun.

        Args:
            address: a family, and what `connect` takes; None: one that answers.
        """
        return Line(self.target, self.budget, self.options.timeout, address or self.answering)

    def connect(self, line: Line) -> None:
        """Connect a line by TCP, through the proxy, and by TLS as the session would: a full handshake.

        Raises:
            line.FAILURES: what it has met.
        """
        line.dial()
        line.tunnel()
        if self.target.is_tls:
            # Made once: to load the authorities takes longer than a handshake. No session is offered.
            self._context = self._context or self.context()
            line.shake_hands(self._context)

    @contextmanager
    def kept(self, line: Line, title: str) -> Iterator[Line]:
        """Use a line; in the end it is closed, and becomes a row of the chart.

        Args:
            line: it may be used in any way, and may raise.
            title: says what it is for: "handshake 1, by hand".
        """
        outcome, failed = "", True
        try:
            yield line
            failed = line.trouble is not None
        except OSError as error:
            outcome = type(error).__name__
            raise
        finally:
            line.close()
            self._note(line)
            outcome = line.trouble.error if line.trouble else outcome
            self.add(self._row(line, title, outcome, failed))

    @property
    def was_answered(self) -> bool:
        """Whether a request by hand was answered so far."""
        return self._answered > 0

    @property
    def is_mute(self) -> bool:
        """Whether the server answers no request, as far as that was tried: more would only take time."""
        return self._silent >= _MUTE and not self.was_answered

    def why_mute(self) -> str | None:
        """Why a section does not apply that needs an answer; None: it does."""
        return "the server answers no request" if self.is_mute else None

    def _note(self, line: Line) -> None:
        """Learn from what became of a line."""
        trouble = line.trouble
        if line.answer is not None:
            self._answered += 1
            if line.answer.is_left:
                self.long.add(self.target.url)
        elif line.asked and trouble is not None and trouble.cause is Cause.TIMEOUT:
            self._silent += 1

    def add(self, row: Row) -> None:
        """Add a row to the chart of the section that runs."""
        self._rows.append((self.chart, row))

    def charts(self) -> tuple[Chart, ...]:
        """What was done so far, a chart for each section."""
        titles = dict.fromkeys(title for title, _ in self._rows)
        return tuple(
            Chart(title, tuple(row for of, row in self._rows if of == title), self.began_at)
            for title in titles
        )

    def _row(self, line: Line, title: str, outcome: str, failed: bool) -> Row:
        answer = line.answer
        outcome = outcome or ("done" if answer is None else f"status {answer.status}")
        return Row(
            title, self._since(line.bars), outcome, failed, method=line.asked,
            url=self.target.shown if line.asked else "", status=answer.status if answer else None,
            address=line.peer,
            bytes_in=answer.body_bytes if answer else 0, tls_version=line.tls_version, label="by hand",
        )  # fmt: skip

    def _since(self, bars: list[Bar]) -> tuple[Bar, ...]:
        """Bars whose times count from the beginning of the visit."""
        return tuple(
            Bar(bar.phase, bar.began - self.began, bar.seconds, bar.failed, bar.note) for bar in bars
        )
