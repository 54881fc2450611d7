"""A response whose body is read after it was handed out; its errors carry their attempts.

Leans on `_fp_bytes_read`, `_handle_chunk`, `_decoder`, `_decoded_buffer` and `_has_decoded_content` of
urllib3's response, pinned in `tests/test_upstream.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, NoReturn

from urllib3.exceptions import IncompleteRead, ProtocolError, ReadTimeoutError, SSLError
from urllib3.response import HTTPResponse

from .decoded_end import CUT, is_at_end
from .release import close_and_release

#: What urllib3 makes of whatever goes wrong on the wire while a body is read.
_BROKEN: Final = (ProtocolError, ReadTimeoutError, SSLError)


class Streamed(HTTPResponse):
    """urllib3's response, whose errors say what was tried."""

    #: Called with the error that ends the body and the number of bytes that came; returns what the caller
    #: gets. None: it was called.
    broke_off: Callable[[BaseException, int], BaseException] | None = None
    #: Whether other responses have gone on with the body. Set by who resumes it.
    is_resumed = False

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        """Read, as urllib3 does."""
        try:
            data = super().read(*args, **kwargs)
            if self.is_resumed:
                self._check_end()
            return data
        except _BROKEN as error:
            self._raise(error)

    def read_chunked(self, *args: Any, **kwargs: Any) -> Generator[bytes, None, None]:
        """Read chunk by chunk, as urllib3 does."""
        try:
            yield from super().read_chunked(*args, **kwargs)
            self._check_end()
        except _BROKEN as error:
            self._raise(error)

    #: Whether the response was closed, maybe by another thread: then its body is not resumed.
    is_abandoned = False

    def close(self) -> None:
        """Close it, as urllib3 does, and give its place in a blocking pool back."""
        self.is_abandoned = True
        close_and_release(self)

    def __del__(self) -> None:
        # That of `io.IOBase` does not close what is closed already, as it is if a ring goes in its own order.
        if self._connection is not None:
            self.close()

    def _check_end(self) -> None:
        """See to it that a resumed body has reached the end of its encoding, when all of it was read."""
        if not (self.is_resumed and self.closed and self._has_decoded_content) or self.is_abandoned:
            return
        if not len(self._decoded_buffer) and not is_at_end(self._decoder):
            raise ProtocolError(CUT)

    if hasattr(HTTPResponse, "shutdown"):

        def shutdown(self) -> None:
            """Wake up a reader in another thread, as urllib3 does: that is the end of the body."""
            self.is_abandoned = True
            super().shutdown()

    def _raise(self, error: BaseException) -> NoReturn:
        """Report an error, and raise it, or what has to be raised in its place."""
        # The error's traceback holds this object: nothing that this holds may hold the error.
        report, self.broke_off = self.broke_off, None
        raised = error if report is None else report(error, self._fp_bytes_read)
        try:
            if raised is error:
                raise error
            raise raised from error
        finally:
            del raised, error

    if hasattr(HTTPResponse, "read1"):

        def read1(self, *args: Any, **kwargs: Any) -> bytes:
            """Read what has come, as urllib3 does; an end before the end is an error, too."""
            try:
                data = super().read1(*args, **kwargs)
                if not data and self.length_remaining and self.enforce_content_length and self.closed:
                    cut = IncompleteRead(self._fp_bytes_read, self.length_remaining)
                    raise ProtocolError(f"Connection broken: {cut!r}", cut)
                self._check_end()
            except _BROKEN as error:
                self._raise(error)
            return data


class Followed(Streamed):
    """The same, for who wants to hear of the end of the body."""

    #: Called once with whether all of it was read, and the number of bytes that came. Set in the instance
    #: when the response is handed out: how one ends that is repeated is nobody's business.
    ended: Callable[[bool, int], object]
    #: How many bytes came in chunks that urllib3 itself has read: it counts them nowhere.
    _in_chunks = 0

    def read(self, *args: Any, **kwargs: Any) -> bytes:
        """Read, as urllib3 does."""
        data = super().read(*args, **kwargs)
        self._look()
        return data

    def read_chunked(self, *args: Any, **kwargs: Any) -> Generator[bytes, None, None]:
        """Read chunk by chunk, as urllib3 does."""
        yield from super().read_chunked(*args, **kwargs)
        self._look()

    def _handle_chunk(self, amt: int | None) -> bytes:
        piece = super()._handle_chunk(amt)
        self._in_chunks += len(piece)
        return piece

    if hasattr(HTTPResponse, "read1"):

        def read1(self, *args: Any, **kwargs: Any) -> bytes:
            """Read what has come, as urllib3 does."""
            data = super().read1(*args, **kwargs)
            self._look()
            return data

    def close(self) -> None:
        """Close it: nobody reads on."""
        try:
            super().close()
        finally:
            self._tell(whole=False)

    def __del__(self) -> None:
        # A finaliser may run in the middle of anything, where no hook is to be called.
        vars(self).pop("ended", None)
        super().__del__()

    def _raise(self, error: BaseException) -> NoReturn:
        try:
            super()._raise(error)
        finally:
            del error
            self._tell(whole=False)

    def _look(self) -> None:
        if self.closed:
            self._tell(whole=not self.is_abandoned)

    def _tell(self, whole: bool) -> None:
        # One step: another thread may close it meanwhile.
        ended = vars(self).pop("ended", None)
        if ended is not None:
            ended(whole, self._fp_bytes_read + self._in_chunks)


def report_errors(
    raw: Any,
    broke_off: Callable[[BaseException, int], BaseException],
    follow: bool,
) -> None:
    """Report the errors of urllib3's own response; a response of another class is left as it is.

    Args:
        raw: urllib3's.
        broke_off: as `Streamed` has it.
        follow: whether somebody wants to hear of its end, too (`Followed`).
    """
    if type(raw) is HTTPResponse:
        raw.__class__ = Followed if follow else Streamed
        raw.broke_off = broke_off  # type: ignore[attr-defined]
