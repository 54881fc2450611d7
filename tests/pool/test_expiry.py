"""When a certificate is told: times in, verdict out. And which certificates are in use."""

import ssl

import pytest

from resilient_transport.events import CertificateExpiring
from resilient_transport.pool import expiry
from resilient_transport.pool.certificate import Certificate
from resilient_transport.pool.expiry import DAY, CertificatesInUse, due, shown_of, thresholds
from resilient_transport.telemetry.stats import ClientCertificate

HOUR, MINUTE = 3600.0, 60.0
#: The last second of a life.
END = 2_000_000_000.0


@pytest.mark.parametrize(
    ("life", "told"),
    [
        (3650 * DAY, [30 * DAY, 7 * DAY, DAY, 0]),
        (90 * DAY, [30 * DAY, 7 * DAY, DAY, 0]),
        (90 * DAY - 1, [18 * DAY - 0.2, 0]),
        (45 * DAY, [9 * DAY, 0]),
        (5 * DAY, [DAY, 0]),
        (HOUR, [12 * MINUTE, 0]),
    ],
)
def test_when_a_certificate_is_told(life, told):
    """By how long it lives, from its first second to its last, both included (RFC 5280, 4.1.2.5)."""
    assert thresholds(END - life + 1, END) == pytest.approx(tuple(told))


@pytest.mark.parametrize(
    ("life", "left", "verdict"),
    [
        (365 * DAY, 60 * DAY, None),
        (365 * DAY, 30 * DAY + 1, None),
        (365 * DAY, 30 * DAY, 30 * DAY),
        (365 * DAY, 7 * DAY + 1, 30 * DAY),
        (365 * DAY, 5 * DAY, 7 * DAY),
        (365 * DAY, 20 * HOUR, DAY),
        (365 * DAY, 1, DAY),
        (365 * DAY, 0, 0),
        (365 * DAY, -400 * DAY, 0),
        (HOUR, HOUR, None),
        (HOUR, 13 * MINUTE, None),
        (HOUR, 12 * MINUTE, 12 * MINUTE),
        (HOUR, 1, 12 * MINUTE),
        (HOUR, -1, 0),
        # What ends before it begins has no life.
        (-DAY, -HOUR, 0),
    ],
)
def test_the_verdict(life, left, verdict):
    """The last threshold that is behind it, so that what is met late is told once."""
    assert due(END - life + 1, END, END - left) == verdict


def certificate(name, not_after=END, not_before=0.0, is_self_issued=False):
    """Return a certificate of which only this is known."""
    return Certificate(name, not_before, not_after, name.encode(), is_self_issued)


@pytest.mark.parametrize(
    ("chain", "shown"),
    [
        ([], []),
        ([certificate("leaf")], [("leaf", False)]),
        ([certificate("leaf"), certificate("other")], [("leaf", False), ("other", True)]),
        ([certificate("leaf"), certificate("other", END - 1)], [("other", True), ("leaf", False)]),
        ([certificate("leaf"), certificate("root", END - 1, is_self_issued=True)], [("leaf", False)]),
        ([certificate("leaf", is_self_issued=True)], [("leaf", False)]),
    ],
)
def test_each_of_a_chain_counts(chain, shown):
    """The first to expire ends its use; a root behind the client's own is the server's own affair."""
    found = shown_of(chain)

    assert [(one.certificate.subject, one.is_intermediate) for one in found] == shown


@pytest.fixture
def now(monkeypatch):
    """The two clocks: the time of day, and the monotonic one."""
    now = {"realtime": END - 100 * DAY, "monotonic": 5.0}
    for name in now:
        monkeypatch.setattr(expiry, name, lambda name=name: now[name])
    monkeypatch.setattr(expiry, "_told", {})
    return now


def context_with(*names):
    """Return a TLS context that shows certificates."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    expiry._shown.put(context, shown_of([certificate(name) for name in names]))
    return context


def test_each_threshold_is_told_once(now):
    """By whichever context and file; another certificate beside it is told, too."""
    one, same = (context_with("a") for _ in range(2))
    other = context_with("a", "b")
    uses = CertificatesInUse()

    def told(*contexts):
        return sum(len(uses.use(context, file)) for file in ("x", "y") for context in contexts)

    counts = [told(one, same)]
    for left in (30, 20, 7, 1, 0, -5):
        now["realtime"] = END - left * DAY
        counts.append(told(one, same))

    assert counts == [0, 1, 0, 1, 1, 1, 0]
    assert told(one, other) == 1


def test_what_was_told_is_bounded(now, monkeypatch):
    """The newest are remembered."""
    monkeypatch.setattr(expiry, "_MOST_TOLD", 3)
    now["realtime"] = END
    contexts = [context_with(name) for name in "abcde"]
    uses = CertificatesInUse()

    assert all(uses.use(context, "x") for context in contexts)
    assert [uses.use(context, "x") for context in contexts[2:]] == [[]] * 3


def test_in_use_is_what_was_used_within_a_day(now):
    """By file; one that was replaced, or has none that can be read, is gone at once."""
    contexts = {name: context_with(name) for name in "abc"}
    unread = context_with()
    uses = CertificatesInUse()

    def used():
        return {file: one.subject for file, one in uses.figures().items()}

    for name, context in contexts.items():
        uses.use(context, name)
    seen = [used()]
    now["monotonic"] += expiry.IN_USE - 1
    uses.use(contexts["c"], "b")
    uses.use(unread, "c")
    seen.append(used())
    now["monotonic"] += 2
    seen.append(used())
    figures = uses.figures()
    uses.clear()

    assert seen == [{"a": "a", "b": "b", "c": "c"}, {"a": "a", "b": "c"}, {"b": "c"}]
    assert figures == {"b": ClientCertificate("c", 0.0, END)}
    assert used() == {}


def test_the_files_are_bounded(now, monkeypatch):
    """The one that was not used for longest makes room."""
    monkeypatch.setattr(expiry, "_MOST", 2)
    context = context_with("a")
    uses = CertificatesInUse()
    for file in "xyxz":
        now["monotonic"] += 1
        uses.use(context, file)

    assert list(uses.figures()) == ["x", "z"]


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (29.5 * DAY, "expires in 29 days"),
        (DAY, "expires in 1 day"),
        (20 * HOUR, "expires in 20 hours"),
        (10 * MINUTE, "expires in 10 minutes"),
        (0.5, "expires in 0 seconds"),
        (0, "has expired 0 seconds ago"),
        (-61, "has expired 1 minute ago"),
    ],
)
def test_what_is_said(left, words):
    """Whose, from where, in which time, on which date, and what to do."""
    event = CertificateExpiring("https://api.example", "CN=client", "client.pem", END, left)

    assert str(event) == (
        f"https://api.example: the client certificate CN=client, from client.pem, {words} "
        "(May 18 03:33:20 2033 GMT). Renew it; a replaced file is noticed within a second."
    )


def test_what_is_said_of_others():
    """One behind the client's own, and one that comes from no file."""
    event = CertificateExpiring("https://api.example", "CN=CA", "", END, DAY, is_intermediate=True)

    assert str(event) == (
        "https://api.example: the intermediate certificate CN=CA expires in 1 day "
        "(May 18 03:33:20 2033 GMT). Renew it."
    )
