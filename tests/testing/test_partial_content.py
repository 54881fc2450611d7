"""Ranges and validators (RFC 9110 §13 and §14), as a client that resumes needs them."""

import pytest

from resilient_transport.testing.engine.pages import noise, zipped

BODY = noise(1000)


@pytest.mark.parametrize(
    ("wanted", "status", "content_range", "body"),
    [
        ("bytes=0-", 206, "bytes 0-999/1000", BODY),
        ("bytes=400-", 206, "bytes 400-999/1000", BODY[400:]),
        ("bytes=400-499", 206, "bytes 400-499/1000", BODY[400:500]),
        ("bytes=999-5000", 206, "bytes 999-999/1000", BODY[999:]),
        ("bytes=1000-", 416, "bytes */1000", b""),
        ("bytes=5-4", 200, None, BODY),
        ("bytes=-5", 200, None, BODY),
        ("bytes=0-1,5-6", 200, None, BODY),
        ("lines=0-1", 200, None, BODY),
    ],
)
def test_one_range_is_served(server, session, wanted, status, content_range, body):
    """What is not one range is not a range to this server."""
    response = session.get(server.url + "/bytes/1000", headers={"Range": wanted})

    assert response.status_code == status
    assert response.headers.get("Content-Range") == content_range
    assert response.content == body
    assert response.headers["Accept-Ranges"] == "bytes"


@pytest.mark.parametrize(("validator", "status"), [('"bytes-1000"', 206), ('"other"', 200), ("", 200)])
def test_if_range_compares(server, session, validator, status):
    """Another validator means another body: all of it."""
    headers = {"Range": "bytes=400-", "If-Range": validator}
    response = session.get(server.url + "/bytes/1000", headers=headers)

    assert response.status_code == status
    assert response.content == (BODY[400:] if status == 206 else BODY)


def test_a_compressed_body_is_resumed_by_its_encoded_bytes(server, session):
    """Offsets count what is on the wire."""
    headers = {"Range": "bytes=100-", "If-Range": '"gzip-1000"'}
    with session.get(server.url + "/gzip/1000", headers=headers, stream=True) as response:
        assert response.status_code == 206
        assert response.raw.read(decode_content=False) == zipped(1000)[100:]


@pytest.mark.parametrize("page", ["chunked", "until-close"])
def test_bodies_without_length_have_ranges_too(server, session, page):
    """The framing does not matter."""
    response = session.get(f"{server.url}/{page}/1000", headers={"Range": "bytes=400-"})

    assert (response.status_code, response.content) == (206, BODY[400:])


@pytest.mark.parametrize(
    ("query", "etag", "status"),
    [
        ("", '"bytes-1000"', 206),
        ("?etag=weak", 'W/"bytes-1000"', 200),
        ("?etag=none", None, 206),
        ("?ranges=none", '"bytes-1000"', 200),
    ],
)
def test_the_query_takes_validators_and_ranges_away(server, session, query, etag, status):
    """For clients that must notice."""
    first = session.get(server.url + "/bytes/1000" + query)
    response = session.get(server.url + "/bytes/1000" + query, headers={"Range": "bytes=400-"})

    assert first.headers.get("ETag") == etag
    assert ("Accept-Ranges" in first.headers) is (query != "?ranges=none")
    assert response.status_code == status


def test_a_changing_body_never_matches(server, session):
    """Another validator each time, so what If-Range names is gone."""
    url = server.url + "/bytes/1000?etag=changing"
    first = session.get(url).headers["ETag"]
    response = session.get(url, headers={"Range": "bytes=400-", "If-Range": first})

    assert response.status_code == 200
    assert response.headers["ETag"] != first
