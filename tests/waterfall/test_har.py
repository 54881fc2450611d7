"""The HAR: what it makes of a chart."""

import json

import pytest

from resilient_transport import __version__
from resilient_transport.waterfall.chart import Bar, Chart, Phase, Row
from resilient_transport.waterfall.har import har

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
