"""What a `Retry` does, stock does: as many requests, and the same response or type of exception.

urllib3's own `Retry` under stock `HTTPAdapter` is the oracle. Where stock is not followed, `UNSAFE` says why.
"""

import itertools
import random

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from resilient_transport import ResilientAdapter
from tests.end_to_end.verbatim_server import FIN, RST, Answer, VerbatimServer, told

GOOD = Answer(told("200 OK", b"good", Content_Length="4"))


def status(code, **fields):
    """Return an answer with this status."""
    body = b"" if code in (204, 304) else b"busy"
    return Answer(told(f"{code} Told", body, Content_Length=str(len(body)), **fields))


SOON = {"Retry_After": "0"}
#: What a server does to the first requests; the last entry goes on for ever.
STORIES = {
    **{f"{code}": [status(code)] for code in (200, 204, 404, 408, 413, 429, 500, 502, 503, 504)},
    **{f"{code}, soon": [status(code, **SOON)] for code in (200, 404, 413, 429, 500, 503)},
    "503, then good": [status(503), GOOD],
    "503 soon, then good": [status(503, **SOON), GOOD],
    "503 soon, then 500": [status(503, **SOON), status(500)],
    "500, then 503 soon": [status(500), status(503, **SOON)],
    "429 soon, 500, good": [status(429, **SOON), status(500), GOOD],
    "closed": [Answer(b"", FIN)],
    "closed, then good": [Answer(b"", FIN), GOOD],
    "reset, then 503 soon": [Answer(b"", RST), status(503, **SOON)],
    "500, closed, good": [status(500), Answer(b"", FIN), GOOD],
}
FIELDS = {
    "total": [None, False, 0, 1, 2, 3],
    "connect": [None, 0],
    "read": [None, False, 0, 1],
    "status": [None, 0, 1],
    "other": [None, 0],
    "allowed_methods": [Retry.DEFAULT_ALLOWED_METHODS, None, {"POST"}],
    "status_forcelist": [(), {500}, {503, 429}, {404, 500, 502, 503, 504}],
    "raise_on_status": [True, False],
    "respect_retry_after_header": [True, False],
}
#: With these a field leaves the others room.
PLAIN = {
    **{"total": 3, "connect": None, "read": None, "status": None, "other": None, "allowed_methods": None},
    **{"status_forcelist": {500, 503}, "raise_on_status": True, "respect_retry_after_header": True},
}
METHODS = ("GET", "POST", "PUT", "HEAD")


def combinations():
    """Every field at each of its values, half of the others as chance has it, and always the same."""
    chance = random.Random(20261129)
    for field, values in FIELDS.items():
        for value, story in itertools.product(values, STORIES):
            drawn = {name: chance.choice(others) for name, others in FIELDS.items()}
            fields = {name: chance.choice([drawn[name], PLAIN[name]]) for name in FIELDS} | {field: value}
            if fields["total"] is None:
                # Or it would go on for ever.
                fields |= {"read": chance.choice([False, 0, 1]), "status": chance.choice([0, 1])}
            yield fields, chance.choice(METHODS), story


def ended(adapter, answers, method, **values):
    """Call once; return how many requests that took, and the status or the type of the exception."""
    with (
        VerbatimServer(lambda head: answers[min(len(server.heads), len(answers)) - 1]) as server,
        requests.Session() as session,
    ):
        session.trust_env = False
        session.mount("http://", adapter)
        try:
            found = session.request(method, server.url, timeout=30, **values).status_code
        except requests.RequestException as error:
            found = type(error).__name__
        return len(server.heads), found


def unlike(fields, method, story):
    """Return what stock and ours did, if that differs."""
    retry = Retry(backoff_factor=0, **fields)
    stock = ended(HTTPAdapter(max_retries=retry), STORIES[story], method)
    ours = ended(ResilientAdapter(max_retries=retry), STORIES[story], method)
    return None if stock == ours else (fields, method, story, stock, ours)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(4))
def test_a_retry_does_what_stock_does(part):
    """As many requests, and the same response or exception, over all fields, methods and stories."""
    found = [unlike(*each) for each in list(combinations())[part::4]]

    assert [each for each in found if each] == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_history_has_what_was_repeated(method):
    """One entry for each repetition, as in stock."""
    retry, found = Retry(3, backoff_factor=0, status_forcelist=[503], raise_on_status=False), []
    for adapter in (HTTPAdapter(max_retries=retry), ResilientAdapter(max_retries=retry)):
        with VerbatimServer(lambda head: status(503)) as server, requests.Session() as session:
            session.trust_env = False
            session.mount("http://", adapter)
            found.append([one.status for one in session.request(method, server.url).raw.retries.history])

    assert found == [[503] * (3 if method == "GET" else 0)] * 2


def test_another_retry_is_noticed():
    """The control: with one repetition more, or another word on statuses, the comparison fails."""
    fields = {**PLAIN, "backoff_factor": 0}
    stock = ended(HTTPAdapter(max_retries=Retry(**fields)), STORIES["503"], "GET")

    assert ended(ResilientAdapter(max_retries=Retry(**fields)), STORIES["503"], "GET") == stock
    assert (
        ended(ResilientAdapter(max_retries=Retry(**{**fields, "total": 4})), STORIES["503"], "GET") != stock
    )
    assert (
        ended(
            ResilientAdapter(max_retries=Retry(**{**fields, "raise_on_status": False})), STORIES["503"], "GET"
        )
        != stock
    )


CUT = Answer(told("200 OK", b"half", Content_Length="8"), RST)
#: Where stock is not followed: what is asked, what is answered, what stock and ours make of it.
UNSAFE = {
    "an answer that is no HTTP never becomes one": (
        {"method": "GET"},
        [Answer(b"ICY 200 OK\r\n\r\n", FIN)],
        (3, "ConnectionError"),
        (1, "ConnectionError"),
    ),
    "a fraction in Retry-After says something": (
        {"method": "GET"},
        [status(503, Retry_After="0.0"), GOOD],
        (1, "InvalidHeader"),
        (2, 200),
    ),
    "bodies are repeated, too": ({"method": "GET"}, [CUT, GOOD], (1, "ChunkedEncodingError"), (2, 200)),
    "a PUT with a precondition would meet its own doing": (
        {"method": "PUT", "headers": {"If-Match": '"v1"'}},
        [Answer(b"", FIN), status(412)],
        (2, 412),
        (1, "ConnectionError"),
    ),
    "a misdirected request was not executed": ({"method": "POST"}, [status(421), GOOD], (1, 421), (2, 200)),
}


@pytest.mark.parametrize("reason", UNSAFE)
def test_where_stock_is_not_followed(reason):
    """Stock is unsafe, or gives up what heals: each with its reason."""
    values, answers, stock, ours = UNSAFE[reason]
    retry = Retry(2, backoff_factor=0)
    adapters = (HTTPAdapter(max_retries=retry), ResilientAdapter(max_retries=retry))
    found = [ended(adapter, answers, **values) for adapter in adapters]

    assert found == [stock, ours]
