"""Whether an encoded body has reached its own end: what gzip and its kin say of it, checksum included.

A body that came in one piece is decoded as stock does it, which takes a short one for whole. One that was put
together from parts must be whole by its own account, too.

Leans on `_decoder` of urllib3's response, on `_decoders`, `_obj` and `has_unconsumed_tail` of its decoders
and on `_state` of `GzipDecoder`, pinned in `tests/test_upstream.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from io import BytesIO
from typing import Any, Final

from urllib3.exceptions import DecodeError
from urllib3.response import GzipDecoderState, HTTPResponse

#: How much is decoded at a time, in bytes.
_PIECE: Final = 65536


def why_not_whole(body: bytes, headers: Mapping[str, str]) -> str | None:
    """Why an encoded body is not whole; None: it is, or nobody can say.

    Args:
        body: as it came, encoded.
        headers: of the first response.
    """
    encoding = headers.get("content-encoding")
    if encoding is None or not body:
        return None
    try:
        decoder = decoder_of(body, encoding)
    except DecodeError:
        return "Content-Encoding: the resumed body cannot be decoded"
    return None if is_at_end(decoder) else CUT


def decoder_of(body: bytes, encoding: str) -> Any:
    """Decode all of a body, and return what has decoded it; None: nothing can.

    Args:
        body: as it came, maybe cut.
        encoding: its Content-Encoding.

    Raises:
        urllib3.exceptions.DecodeError: it cannot be decoded.
    """
    # Its other fields stay away: by a Content-Length, a cut body would be an error.
    headers = {"content-encoding": encoding}
    reader: Any = HTTPResponse(body=BytesIO(body), headers=headers, preload_content=False)
    for _ in reader.stream(_PIECE, decode_content=True):
        pass
    return reader._decoder


def is_at_end(decoder: Any) -> bool:
    """Whether a decoder of urllib3's has reached the end of what it decodes; yes, if it cannot say."""
    if hasattr(decoder, "_decoders"):
        return all(map(is_at_end, decoder._decoders))
    if getattr(decoder, "has_unconsumed_tail", False):
        # It was not asked for all that it has.
        return True
    if getattr(decoder, "_state", None) == GzipDecoderState.SWALLOW_DATA:
        # Behind the end there is something else, which is passed over.
        return True
    engine = getattr(decoder, "_obj", None)
    finished = getattr(engine, "is_finished", None)
    return bool(finished()) if callable(finished) else bool(getattr(engine, "eof", True))


#: What is wrong with a body that ends too early.
CUT: Final = "Content-Encoding: the resumed body ends before its encoding does"
