"""The HAR: what it makes of a chart."""

import json

import pytest

from resilient_transport import __version__
from resilient_transport.waterfall.chart import Bar, Chart, Phase, Row
from resilient_transport.waterfall.har import har
from tests.missing import require
from tests.waterfall.har_schema import HAR

NEW = (
    Bar(Phase.WAIT, 0.5, 0.001),
    Bar(Phase.NAME, 0.501, 0.002),
    Bar(Phase.DIAL, 0.503, 0.004),
    Bar(Phase.TUNNEL, 0.507, 0.008),
    Bar(Phase.HANDSHAKE, 0.515, 0.016),
    Bar(Phase.CONFIRM, 0.531, 0.032),
    Bar(Phase.FIRST_BYTE, 0.563, 0.064),
    Bar(Phase.BODY, 0.627, 0.128),
    Bar(Phase.PAUSE, 0.755, 1.0),
)
URL = "https://api.example/words"


def entry(*bars, **values):
    """The one entry of the HAR of a chart with this row, which began in 1970."""
    row = Row("attempt 1", bars, **{"method": "GET", "url": URL} | values)
    (found,) = har([Chart("call 1", (row,), 3600.0)])["log"]["entries"]
    return found


def test_phases_become_timings():
    """Those of a connection are in `connect`, those of TLS in `ssl` as well; a pause is in none."""
    found = entry(*NEW)

    assert found["timings"] == {
        "blocked": 1.0,
        "dns": 2.0,
        "connect": 60.0,
        "ssl": 48.0,
        "send": 0.0,
        "wait": 64.0,
        "receive": 128.0,
    }
    assert found["time"] == 255.0
    assert found["startedDateTime"] == "1970-01-01T01:00:00.500+00:00"
    assert "then a pause of 1 s" in found["comment"]


def test_what_there_was_not_is_minus_one():
    """A reused connection has no name and no connect; and the three that are asked for are there."""
    found = entry(Bar(Phase.FIRST_BYTE, 0.0, 0.01), reused=True)

    assert found["timings"] == {
        "blocked": -1.0,
        "dns": -1.0,
        "connect": -1.0,
        "ssl": -1.0,
        "send": 0.0,
        "wait": 10.0,
        "receive": 0.0,
    }
    assert found["time"] == 10.0


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("192.0.2.1:443", ("192.0.2.1", "443")),
        ("[2001:db8::1]:8443", ("2001:db8::1", "8443")),
        (None, (None, None)),
    ],
)
def test_the_address(address, expected):
    """Without brackets, and without a port; that is the connection's."""
    found = entry(*NEW, address=address)

    assert (found.get("serverIPAddress"), found.get("connection")) == expected


def test_a_response_and_none():
    """A failure has the status 0, as in browsers."""
    good = entry(*NEW, status=503, bytes_in=17, bytes_out=200)
    bad = entry(
        Bar(Phase.DIAL, 0.0, 1.0, failed=True), failed=True, outcome="refused", details=("not again",)
    )

    assert (good["response"]["status"], good["response"]["statusText"]) == (503, "Service Unavailable")
    assert good["response"]["bodySize"] == good["response"]["content"]["size"] == 17
    assert "200 bytes" in good["request"]["comment"]
    assert (bad["response"]["status"], bad["response"]["statusText"]) == (0, "")
    assert bad["comment"] == "attempt 1; refused; not again; failed in the phase dial"


def test_an_unknown_status_has_no_phrase():
    """Nobody has registered it."""
    assert entry(status=599)["response"]["statusText"] == ""


def test_the_rest_of_the_comment():
    """What has no field of its own."""
    found = entry(label="worker-1", reused=True, tls_version="TLSv1.3")

    assert found["comment"] == "attempt 1; worker-1; reused connection; TLSv1.3"


def test_pages_are_charts():
    """Each chart is a page; a row that asks nothing is no entry."""
    asked, bare = Row("attempt 1", NEW, method="GET", url=URL), Row("a connection", NEW)
    log = har([Chart("one", (asked, bare), 1.0, "saved"), Chart("two", (asked,), 2.0)])["log"]

    assert log["creator"] == {"name": "resilient_transport", "version": __version__}
    assert [(page["id"], page["title"], page.get("comment")) for page in log["pages"]] == [
        ("page_1", "one", "saved"),
        ("page_2", "two", None),
    ]
    assert [entry["pageref"] for entry in log["entries"]] == ["page_1", "page_2"]


@pytest.mark.parametrize(
    "url", ["https://u:pw@api.example/a?key=pw#pw", "https://api.example/a?pw", "https://[pw/?pw"]
)
def test_a_url_loses_its_secrets(url):
    """Whoever has made the row: no userinfo, no query, no fragment."""
    found = json.dumps(entry(url=url))

    assert "pw" not in found


def complaints(found):
    """Return what is wrong with a HAR, by the schema and by what a schema cannot say."""
    validator = require("jsonschema").Draft202012Validator(HAR)
    validator.check_schema(HAR)
    said = [f"{error.json_path}: {error.validator}" for error in validator.iter_errors(found)]
    log = found["log"]
    pages = {page["id"] for page in log.get("pages", ())}
    said += [f"no page {one['pageref']}" for one in log["entries"] if one.get("pageref") not in pages]
    for one in log["entries"]:
        timings = {what: max(taken, 0) for what, taken in one["timings"].items() if what != "comment"}
        if abs(sum(timings.values()) - timings.get("ssl", 0) - one["time"]) > 0.01:
            said.append("the time is not the sum of the timings")
        if timings.get("ssl", 0) > timings.get("connect", 0):
            said.append("ssl is not a part of connect")
    return said


def rich():
    """A HAR with all kinds of rows."""
    rows = (
        Row(
            "attempt 1", NEW, "reset", True, ("again",), "GET", URL, None, "192.0.2.1:443", 200, 0, "TLSv1.3"
        ),
        Row("attempt 2", NEW[-3:], "status 200", method="GET", url=URL, status=200, bytes_in=17, reused=True),
        Row("attempt 3", (), "under way", method="POST", url=URL, label="worker-1"),
        Row("a connection", NEW[:3], "connected"),
    )
    return har([Chart("one", rows, 1.7e9, "saved"), Chart("none", (), 0.0)])


def test_a_har_is_one():
    """By a schema made from the specification."""
    assert complaints(rich()) == []
    assert complaints(json.loads(json.dumps(rich()))) == []
    assert complaints(har([])) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda log: log.update(version="1.1"), "$.log.version: const"),
        (lambda log: log.pop("creator"), "$.log: required"),
        (lambda log: log.update(other=1), "$.log: additionalProperties"),
        (lambda log: log["entries"][0]["timings"].update(send=-1), "$.log.entries[0].timings.send: minimum"),
        (lambda log: log["entries"][1]["timings"].update(dns=-2), "$.log.entries[1].timings.dns: anyOf"),
        (lambda log: log["entries"][1]["request"].pop("headers"), "$.log.entries[1].request: required"),
        (
            lambda log: log["pages"][0].update(startedDateTime="now"),
            "$.log.pages[0].startedDateTime: pattern",
        ),
        (lambda log: log["entries"][0].update(pageref="page_9"), "no page page_9"),
        (lambda log: log["entries"][0].update(time=1.0), "the time is not the sum of the timings"),
        (lambda log: log["entries"][0]["timings"].update(ssl=999.0), "ssl is not a part of connect"),
    ],
)
def test_what_is_no_har_is_found(change, said):
    """The control: each breaks one rule."""
    broken = rich()
    change(broken["log"])

    assert complaints(broken) == [said]


def test_extensions_are_allowed():
    """Comments, and what begins with an underscore; as the specification has it."""
    extended = rich()
    extended["log"]["entries"][0]["_ours"] = {"any": "thing"}
    extended["log"]["entries"][0]["timings"]["comment"] = "measured"

    assert complaints(extended) == []
