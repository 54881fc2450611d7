"""Cookies of responses that are repeated: sent with the repetition, and kept in the session's jar."""

import pytest
import requests
from requests.adapters import HTTPAdapter

from tests.end_to_end.verbatim_server import RST, Answer, VerbatimServer, told

GOOD = Answer(told("200 OK", b"", Content_Length="0"))


def busy(*cookies):
    """Return a 503 that sets cookies."""
    lines = "".join(f"Set-Cookie: {cookie}\r\n" for cookie in cookies).encode()
    return Answer(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n" + lines + b"\r\n")


def test_a_queue_lets_in_who_comes_back(session):
    """A server that knows its callers by a cookie sees the same one again."""
    with VerbatimServer([busy("place=7"), busy("place=7"), GOOD, GOOD]) as server:
        assert session.get(server.url).status_code == 200
        session.get(server.url)

        sent = [server.fields(number).get("cookie") for number in range(4)]

    assert sent == [None, "place=7", "place=7", "place=7"]
    assert dict(session.cookies) == {"place": "7"}


def test_stock_hands_the_503_out():
    """The control: it repeats nothing, and has the cookie from the response."""
    with VerbatimServer([busy("place=7"), GOOD]) as server, requests.Session() as stock:
        stock.trust_env = False
        stock.mount("http://", HTTPAdapter())

        assert [stock.get(server.url).status_code for _ in range(2)] == [503, 200]
        assert server.fields(1)["cookie"] == "place=7"
        assert dict(stock.cookies) == {"place": "7"}


@pytest.mark.parametrize(
    ("cookies", "set_by", "sent", "kept"),
    [
        ({"a": "1"}, ["b=2"], "a=1; b=2", {"b": "2"}),
        # One for this request, and one for the host: as requests has it when it follows a redirect.
        ({"a": "1"}, ["a=2"], "a=1; a=2", {"a": "2"}),
        ({}, ["a=1", "b=2; HttpOnly"], "a=1; b=2", {"a": "1", "b": "2"}),
        ({}, ["a=1; Secure"], None, {"a": "1"}),
        ({}, ["a=1; Domain=elsewhere.test"], None, {}),
        ({}, ["a=1; Path=/other"], None, {"a": "1"}),
        ({}, ["a=1; Max-Age=0"], None, {}),
        ({}, ["a=1; Max-Age=60"], "a=1", {"a": "1"}),
    ],
)
def test_what_is_sent_is_what_a_jar_says(session, cookies, set_by, sent, kept):
    """By domain, path, age and security; the session gets what it would have got from one response."""
    with VerbatimServer([busy(*set_by), GOOD]) as server:
        session.get(server.url, cookies=cookies)

        found = server.fields(1).get("cookie")

    assert (None if found is None else "; ".join(sorted(found.split("; ")))) == sent
    assert dict(session.cookies) == kept


def test_a_field_written_by_hand_stays(session):
    """What a response has set takes the place of the cookie of its name."""
    with VerbatimServer([busy("b=3", "c=4"), GOOD]) as server:
        session.get(server.url, headers={"Cookie": "a=1; b=2"})

        assert server.fields(1)["cookie"] == "a=1; b=3; c=4"


def test_a_field_of_bytes(session):
    """requests allows them."""
    with VerbatimServer([busy("b=3"), GOOD]) as server:
        session.get(server.url, headers={"Cookie": b"a=1"})

        assert server.fields(1)["cookie"] == "a=1; b=3"


def read_now(response, *args, **kwargs):
    """Be a hook that reads the body."""
    assert response.content == b""


@pytest.mark.parametrize("hooks", [[], [read_now]])
def test_the_cookie_of_a_body_that_was_cut(session, hooks):
    """The response is repeated, and so its cookie counts."""
    cut = Answer(told("200 OK", b"ha", Content_Length="4", Set_Cookie="a=1"), RST)
    with VerbatimServer([cut, GOOD]) as server:
        session.get(server.url, hooks={"response": hooks})

        assert server.fields(1)["cookie"] == "a=1"
        assert dict(session.cookies) == {"a": "1"}


@pytest.mark.parametrize(
    ("first", "last", "kept"),
    [
        ("a=1", "a=; Max-Age=0", {}),
        ("a=1", "a=2", {"a": "2"}),
        ("a=1", "b=; Max-Age=0", {"a": "1"}),
        ("a=1; Path=/", "a=; Path=/; Max-Age=0", {}),
        ("a=1; Path=/", "a=; Path=/other; Max-Age=0", {"a": "1"}),
        ("a=1; Path=/", "a=; Max-Age=0", {}),
        ("a=1; Path=/", "a=; path=/; expires=Thu, 01 Jan 1970 00:00:00 GMT", {}),
        ("a=1; Path=/", "a=2", {"a": "2"}),
    ],
)
def test_what_the_last_answer_deletes_is_gone(session, first, last, kept):
    """One by one, as if the session had seen each answer."""
    good = Answer(told("200 OK", b"", Content_Length="0", Set_Cookie=last))
    with VerbatimServer([busy(first), good]) as server:
        session.get(server.url)

    assert dict(session.cookies) == kept


def test_the_callers_request_is_not_changed(session):
    """The repetition is a copy."""
    with VerbatimServer([busy("a=1"), GOOD]) as server:
        prepared = session.prepare_request(requests.Request("POST", server.url, data=b"x"))
        prepared.headers["Idempotency-Key"] = "k"

        response = session.send(prepared)

        assert "Cookie" not in prepared.headers
        assert response.request.headers["Cookie"] == "a=1"


def test_the_last_word_counts(session):
    """A cookie that the final response sets replaces an earlier one."""
    good = Answer(told("200 OK", b"", Content_Length="0", Set_Cookie="a=2"))
    with VerbatimServer([busy("a=1"), good]) as server:
        response = session.get(server.url)

    assert dict(session.cookies) == {"a": "2"}
    assert dict(response.cookies) == {"a": "2"}
