"""Whatever happens on the wire, a caller gets exactly one version of a body, whole, or an exception.

`BODY_EXAMPLES` says how many examples are tried, 10000 for the issue's figure.
"""

import gzip
import os
import re
import zlib

import pytest
import requests
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from resilient_transport import RetryPolicy, mount
from resilient_transport.call import origin_state
from tests.end_to_end.verbatim_server import FIN, KEEP, RST, Answer, VerbatimServer, told

EXAMPLES = int(os.environ.get("BODY_EXAMPLES", "150"))
#: In how many tests: each ends in seconds, on a busy machine, too.
SHARES = 5
ENCODERS = {"": bytes, "gzip": gzip.compress, "deflate": zlib.compress}
HASTY = RetryPolicy(backoff=0.0, jitter=0.0)

versions = st.lists(
    st.tuples(st.binary(min_size=1, max_size=40), st.integers(1, 20)).map(lambda parts: parts[0] * parts[1]),
    min_size=1,
    max_size=3,
    unique=True,
)
#: What a server does with each request: which version it has, how it says so, where it cuts, and whether it
#: heeds ranges.
steps = st.lists(
    st.fixed_dictionaries(
        {
            "version": st.sampled_from([0, 0, 0, 0, 0, 1, 2]),
            "frame": st.sampled_from(["length", "chunks"]),
            "cut": st.sampled_from([None, *[at / 20 for at in range(20)]]),
            "then": st.sampled_from([RST, FIN]),
            "tag": st.sampled_from(["strong"] * 6 + ["weak", "none", "date"]),
            "ranges": st.sampled_from([True, True, True, False]),
            "if_range": st.sampled_from([True, True, True, False]),
            "short": st.one_of(st.none(), st.integers(1, 200)),
            "size": st.integers(1, 90),
        }
    ),
    min_size=1,
    max_size=6,
)
reads = st.sampled_from(["content", "buffered", 1, 7, 512, None, "raw.read", "raw.read1", "lines"])


def answer(head, step, bodies, encoding):
    """What a server that has these bodies says to a request."""
    number = step["version"] % len(bodies)
    body = ENCODERS[encoding](bodies[number])
    tags = {
        "strong": {"ETag": f'"v{number}"'},
        "weak": {"ETag": 'W/"v"'},
        "none": {},
        "date": {
            "Last_Modified": f"Mon, 02 Nov 2026 1{number}:00:00 GMT",
            "Date": "Tue, 03 Nov 2026 10:00:00 GMT",
        },
    }[step["tag"]]
    if encoding:
        tags["Content_Encoding"] = encoding
    status, fields, content = "200 OK", tags, body
    asked = re.search(rb"\r\nRange: bytes=(\d+)-(\d*)", head)
    told_of = re.search(rb"\r\nIf-Range: ([^\r]*)", head)
    known = tags.get("ETag", tags.get("Last_Modified", "")).encode()
    if asked and step["ranges"] and (not step["if_range"] or told_of is None or told_of[1] == known):
        first = int(asked[1])
        if first >= len(body):
            status, fields, content = "416 No", {**tags, "Content_Range": f"bytes */{len(body)}"}, b""
        else:
            content = body[first:][: step["short"]]
            span = f"bytes {first}-{first + len(content) - 1}/{len(body)}"
            status, fields = "206 Partial Content", {**tags, "Content_Range": span}
    if step["frame"] == "chunks":
        size = step["size"]
        pieces = [content[at : at + size] for at in range(0, len(content), size)]
        framed = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
        data = told(status, b"", Transfer_Encoding="chunked", **fields)
    else:
        framed = content
        data = told(status, b"", Content_Length=str(len(content)), **fields)
    if step["cut"] is None:
        return Answer(data + framed)
    return Answer(data + framed[: int(step["cut"] * len(framed))], step["then"])


def read(session, url, how):
    """Read a body in one of the ways there are."""
    if how == "buffered":
        return session.get(url).content
    with session.get(url, stream=True) as response:
        if how == "content":
            return response.content
        if how == "raw.read":
            return response.raw.read(decode_content=True)
        if how == "raw.read1" and hasattr(response.raw, "read1"):
            return b"".join(iter(lambda: response.raw.read1(64, decode_content=True), b""))
        if how == "lines":
            return b"".join(response.iter_lines())
        return b"".join(response.iter_content(how if isinstance(how, int) else None))


@pytest.fixture(scope="module")
def session():
    """Return a session that all examples share, as a program does."""
    with requests.Session() as session:
        session.trust_env = False
        mount(session, policy=HASTY)
        yield session


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
@settings(max_examples=max(1, EXAMPLES // SHARES), deadline=None, suppress_health_check=list(HealthCheck))
@given(bodies=versions, script=steps, encoding=st.sampled_from(list(ENCODERS)), how=reads)
def test_one_version_whole_or_an_exception(session, bodies, script, encoding, how, share):
    """For any bodies, encodings, frames, cuts, validators and changes of version."""
    origin_state.clear()
    asked = []

    def say(head):
        asked.append(head)
        # In the end it does nothing wrong.
        step = script[len(asked) - 1] if len(asked) <= len(script) else {**script[-1], "cut": None}
        return answer(head, step, bodies, encoding)

    with VerbatimServer(say) as server:
        try:
            found = read(session, server.url, how)
        except (requests.RequestException, requests.packages.urllib3.exceptions.HTTPError) as error:
            event(type(error).__name__)
            return

    event(f"{min(len(asked), 4)} requests")
    assert found in (bodies if how != "lines" else [b"".join(body.splitlines()) for body in bodies])


def test_a_body_is_told_from_a_mixed_one(session):
    """The control: a server whose tags lie makes a mixed body, and such a one would be noticed."""
    old, new = b"old" * 50, b"new" * 50
    head = told("200 OK", b"", Content_Length="150", ETag='"v"')
    rest = told("206 OK", b"", Content_Length="50", Content_Range="bytes 100-149/150", ETag='"v"')
    with VerbatimServer([Answer(head + old[:100], RST), Answer(rest + new[100:], KEEP)]) as server:
        assert session.get(server.url).content not in (old, new)
