"""The pages on behaviour say what the code does: their tables and their numbers are the code's."""

import inspect
import re
from collections.abc import Iterable

import pytest
import requests
from urllib3.util import Retry

from resilient_transport import Breaker, ResilientAdapter, RetryPolicy, settings
from resilient_transport.body.ranges import _CLOCKS_APART
from resilient_transport.call.origin_state import ORIGINS
from resilient_transport.call.resume import FREE_BYTES, FREE_SHARE
from resilient_transport.connection import (
    connection,
    failed_addresses,
    happy_eyeballs,
    keepalive,
    liveness,
    preconnect,
    resolver,
    socket_options,
    tls_sessions,
)
from resilient_transport.gate import cold_start, gate, window
from resilient_transport.pool import expiry, key, reaper, shared_pool
from resilient_transport.retry import budget
from resilient_transport.retry.causes import CAUSES, DEFAULT_LIMITS
from resilient_transport.retry.decision import RESET_PAUSE
from resilient_transport.retry.stages import TABLE, Stage
from resilient_transport.util.frozen import names_of
from tests.programs import ROOT

BEHAVIOUR, CONNECTIONS, BODIES = "behaviour", "connections", "bodies"
POLICY, BREAKER = RetryPolicy(), Breaker()
DEFAULTS = {setting.name: setting.default for setting in settings.SETTINGS}


def text_of(page: str) -> str:
    """Return what is in a page."""
    return (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")


def table_below(heading: str, text: str) -> list[list[str]]:
    """Return the cells of the first table below a heading, without its head."""
    below = text.split(f"\n## {heading}\n", 1)[1]
    lines = re.search(r"(?:^\|.*\n)+", below, re.MULTILINE)
    assert lines, f"there is no table below {heading}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[0].splitlines()[2:]]


def seconds(value: float | None) -> str:
    """Return a time as the pages have it."""
    return "none" if value is None else f"{value:g} s"


def milliseconds(value: float) -> str:
    """Return a short time as the pages have it."""
    return f"{value * 1000:g} ms"


def listed(values: Iterable[object] | None) -> str:
    """Return a set as the pages have it."""
    return ", ".join(sorted(map(str, values or ())))


def replay_table() -> list[list[str]]:
    """Return the code's own table of what may be sent again."""
    return [[row.value, *(verdict.value for verdict in verdicts)] for row, verdicts in TABLE.items()]


def causes() -> list[list[str]]:
    """Return the code's own table of causes: how often a call is repeated for each, and by what setting."""
    return [
        [cause.value, treatment.about, *repetitions(treatment.limit)] for cause, treatment in CAUSES.items()
    ]


def repetitions(limit: str | None) -> list[str]:
    """Return how often a limit has a call repeated, and its name."""
    return ["none", ""] if limit is None else [str(DEFAULT_LIMITS[limit]), f"`{limit}`"]


#: The defaults, as the table of all of them says them.
DEFAULTS_TOLD = {
    "repetitions after a reset, before the request has left": str(DEFAULT_LIMITS["connect_retries"]),
    "repetitions after a name was not found": str(DEFAULT_LIMITS["name_retries"]),
    "repetitions after a refused connection": str(DEFAULT_LIMITS["refused_retries"]),
    "repetitions after a time-out, or for an unreachable host": str(DEFAULT_LIMITS["timeout_retries"]),
    "repetitions for a proxy that is not ready": str(DEFAULT_LIMITS["proxy_retries"]),
    "repetitions after a failure without a name": str(DEFAULT_LIMITS["other_retries"]),
    "repetitions once the request has left": str(DEFAULT_LIMITS["retries"]),
    "statuses that are repeated": listed(POLICY.statuses),
    "methods that may be repeated": listed(POLICY.allowed_methods),
    "ceiling of the first pause": seconds(POLICY.backoff),
    "ceiling of every pause": seconds(POLICY.backoff_max),
    "ceiling after a reset in a handshake": seconds(RESET_PAUSE),
    "part of the ceiling that is waited for": "0 to all of it"
    if POLICY.jitter is None
    else seconds(POLICY.jitter),
    "longest Retry-After that is obeyed": seconds(POLICY.retry_after_max),
    "quota of an origin; a repetition; after a time-out; given back": (
        f"{budget.CAPACITY}; {budget.RETRY_COST}; {budget.TIMEOUT_COST}; {budget.PAY_BACK} tokens"
    ),
    "origins that are remembered": str(ORIGINS),
    "breaker": "off" if POLICY.breaker is None else "on",
    "failures, window and cool-down of a `Breaker()`": (
        f"{BREAKER.failures}, {seconds(BREAKER.window)}, {seconds(BREAKER.cool_down)}"
    ),
    "time-out to connect": seconds(DEFAULTS["connect_timeout"]),
    "time-out between two bytes": seconds(DEFAULTS["read_timeout"]),
    "deadline of a call": seconds(POLICY.deadline),
    "time for one attempt": seconds(POLICY.attempt_timeout),
    "order of a name's addresses": DEFAULTS["dns_order"],
    "silence until the next address is tried": seconds(happy_eyeballs.DELAY),
    "time for which a failed address is tried last; at the most": (
        f"{seconds(failed_addresses.FIRST)}; {seconds(failed_addresses.LONGEST)}"
    ),
    "handshakes at once for one origin": str(DEFAULTS["handshakes"]),
    "connects that may have stalled beside these": str(window.MOST_STALLED),
    "time after which a connect counts as stalled": seconds(gate.STALLED),
    "callers that shake hands ahead on a long path": f"{window.AHEAD}, or one in {window.AHEAD}",
    "round trip from which on a path is long": milliseconds(preconnect.LONG),
    "wait for the server's first word; after a reset": (
        f"{milliseconds(liveness.PROOF_WAIT)}; {milliseconds(liveness.PROOF_WAIT_IN_DOUBT)}"
    ),
    "time for which a failure of a cold pool is shared": milliseconds(cold_start.HOLDS),
    "time after the first connection in which some calls wait for it; on a long path": (
        f"{milliseconds(shared_pool.THRIFT)}; {milliseconds(gate.MOST_THRIFT)}"
    ),
    "TLS sessions that are kept for a pool": str(tls_sessions.MOST),
    "idle time of a connection": seconds(DEFAULTS["idle_timeout"]),
    "age of a connection": seconds(DEFAULTS["max_age"]),
    "share of that age by which a connection may end sooner": (
        f"{100 * (1 - connection.LEAST_SHARE_OF_AGE):.0f} %"
    ),
    "idle connections of the process": str(DEFAULTS["max_idle"]),
    "idle connections of an origin": str(requests.adapters.DEFAULT_POOLSIZE),
    "time between two looks at what is idle": seconds(reaper.LOOK_EVERY),
    "silence until TCP asks whether the server is there": seconds(DEFAULTS["tcp_keepalive"]),
    "idle time that a request trusts which may not be repeated; at the most": (
        f"{seconds(keepalive.FRESH_FOR)}; {seconds(keepalive._SHARE * keepalive._SEEN_AT_MOST)}"
    ),
    "how much sooner than the server a connection is let go": seconds(keepalive.SPARE),
    "body that makes a resume free": f"{FREE_BYTES // 1024} kB, or {FREE_SHARE * 100:g} %",
    "age from which on a Last-Modified is a strong validator": seconds(_CLOCKS_APART),
    "close_notify at the end of a body without a length": "required"
    if POLICY.require_close_notify
    else "not needed",
    "part of a request body that is kept to be sent again": f"{POLICY.spool_bytes} bytes",
    "bytes that have to get through within one time-out": f"{connection.PIECE // 1024} kB",
    "time between two looks at certificate files": seconds(key._LOOK_EVERY),
    "days left at which you are warned of a client certificate's end": (
        "{:g}, {:g}, {:g}".format(*(left / expiry.DAY for left in expiry._LEFT))
    ),
    f"life that is left if it lives for less than {expiry._LONG / expiry.DAY:g} days": (
        f"1/{1 / expiry._SHARE:g}"
    ),
}


@pytest.mark.parametrize(
    ("heading", "code"),
    [("Will my POST be sent twice?", replay_table()), ("How often is a call repeated?", causes())],
)
def test_a_table_is_the_codes(heading, code):
    """Row by row, word by word: what may be sent again, and how often for which cause."""
    assert table_below(heading, text_of(BEHAVIOUR)) == code


def test_a_table_that_says_something_else_is_found():
    """The control: one cell of each is another one."""
    text = text_of(BEHAVIOUR).replace("| yes, at once | no |", "| yes | no |").replace("| 12 |", "| 13 |")

    assert table_below("Will my POST be sent twice?", text) != replay_table()
    assert table_below("How often is a call repeated?", text) != causes()


def test_the_limits_in_force_are_those_of_the_causes():
    """The control: the table's numbers are what a policy without arguments does."""
    assert {limit.name: limit.most for limit in RetryPolicy().in_force()} == DEFAULT_LIMITS


def test_the_stages_are_the_codes():
    """All of them, in the order in which an attempt passes them."""
    told = [row[0].strip("`") for row in table_below("The stages of an attempt", text_of(BEHAVIOUR))]

    assert told == [stage.value for stage in Stage]


def defaults_in(text: str) -> dict[str, str]:
    """Return each default of the table of all defaults, by what it is."""
    return {row[0]: row[1] for row in table_below("Defaults at a glance", text)}


def test_the_defaults_are_the_codes():
    """Each number of the table is the constant, or the setting's default."""
    assert defaults_in(text_of(BEHAVIOUR)) == DEFAULTS_TOLD


@pytest.mark.parametrize("number", [12, 55, 3600, 500])
def test_a_default_that_is_another_one_is_found(number):
    """The control: one more of it."""
    text = text_of(BEHAVIOUR).replace(f"| {number}", f"| {number + 1}")

    assert defaults_in(text) != DEFAULTS_TOLD


def unknown_settings(rows: list[list[str]]) -> list[str]:
    """Return what a table calls a setting, and is none."""
    known = {*names_of(RetryPolicy), *inspect.signature(ResilientAdapter).parameters, *DEFAULTS}
    return [row[2] for row in rows if row[2] and row[2].strip("`") not in known]


def test_the_settings_are_there():
    """Each is an argument of a policy or an adapter, or a variable of the environment."""
    rows = table_below("Defaults at a glance", text_of(BEHAVIOUR))

    assert sum(bool(row[2]) for row in rows) > 20
    assert unknown_settings(rows) == []


def test_a_setting_that_is_not_there_is_found():
    """The control: a made-up one."""
    assert unknown_settings([["a", "1", "`backoff`", ""], ["b", "2", "`forwards`", ""]]) == ["`forwards`"]


def test_what_is_said_of_urllib3s_retry_is_true():
    """The table of defaults compares with it."""
    text = text_of(BEHAVIOUR)

    assert f"urllib3's `Retry` counts {Retry().total} in all" in text
    assert f"urllib3 has {Retry.DEFAULT_BACKOFF_MAX} s" in text
    assert f"urllib3 has {getattr(Retry(), 'retry_after_max', 21600) // 3600} hours" in text
    assert RetryPolicy().allowed_methods == {*Retry.DEFAULT_ALLOWED_METHODS, "QUERY"}


def says(page: str, words: str) -> bool:
    """Tell whether a page has these words, wherever its lines end."""
    return words in re.sub(r"\s+", " ", text_of(page))


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (BEHAVIOUR, f"within the last {keepalive.FRESH_FOR:g} s"),
        (BEHAVIOUR, f"takes more than {milliseconds(preconnect.LONG)}"),
        (BEHAVIOUR, f"a ceiling of {milliseconds(POLICY.backoff)} (`backoff`)"),
        (BEHAVIOUR, f"up to {POLICY.backoff_max:g} s (`backoff_max`)"),
        (BEHAVIOUR, f"at most {milliseconds(RESET_PAUSE)}, since the server is there"),
        (BEHAVIOUR, f"up to {POLICY.retry_after_max:g} s (`retry_after_max`)"),
        (BEHAVIOUR, f"holds {budget.CAPACITY} tokens. A repetition takes {budget.RETRY_COST}"),
        (BEHAVIOUR, f"and {budget.TIMEOUT_COST} after a time-out"),
        (BEHAVIOUR, f"One without repetitions gives back {budget.PAY_BACK}."),
        (BEHAVIOUR, f"nothing but 503 add {budget.CAPACITY // budget.RETRY_COST} requests"),
        (BEHAVIOUR, f"they would add {1000 * DEFAULT_LIMITS['retries']:,}."),
        (BEHAVIOUR, f"circuits of {ORIGINS:,} origins"),
        (BEHAVIOUR, f"Breaker(failures={BREAKER.failures}, window={BREAKER.window:g}, cool_down="),
        (BEHAVIOUR, f"cool_down={BREAKER.cool_down:g}))"),
        (BEHAVIOUR, f"has {DEFAULTS['connect_timeout']:g} s to connect"),
        (BEHAVIOUR, f"up to {DEFAULTS['read_timeout']:g} s between two bytes"),
        (CONNECTIONS, f"Up to {window.MAXIMUM} TLS handshakes"),
        (CONNECTIONS, f"asked for at most {resolver.SHARED_FOR:g} s before"),
        (CONNECTIONS, f"after {milliseconds(happy_eyeballs.DELAY)} of silence"),
        (CONNECTIONS, f"last for {failed_addresses.FIRST:g} s"),
        (CONNECTIONS, f"doubles, up to {failed_addresses.LONGEST:g} s"),
        (CONNECTIONS, f"remembers {failed_addresses.MOST} addresses"),
        (CONNECTIONS, f"up to {tls_sessions.MOST} for a pool"),
        (CONNECTIONS, f"no session is offered for {tls_sessions.SILENCE:g} s"),
        (CONNECTIONS, f"lasts for {milliseconds(liveness.PROOF_WAIT)}, or for twice the time"),
        (CONNECTIONS, f"it is {milliseconds(liveness.PROOF_WAIT_IN_DOUBT)} instead of 20"),
        (CONNECTIONS, f"a dead port {DEFAULT_LIMITS['refused_retries'] + 1} connects, and not 96"),
        (CONNECTIONS, f"up to {milliseconds(cold_start.HOLDS)} after the failure"),
        (CONNECTIONS, f"at most {milliseconds(RESET_PAUSE)} after a reset inside a handshake"),
        (CONNECTIONS, f"takes more than {gate.STALLED:g} s, gives up or dies"),
        (CONNECTIONS, f"Up to {window.MOST_STALLED} connects"),
        (CONNECTIONS, f"{window.AHEAD} of those that wait, or one in {window.AHEAD}"),
        (CONNECTIONS, f"costs up to {window.AHEAD + 1} handshakes"),
        (CONNECTIONS, f"With more than {window.AHEAD * (window.AHEAD + 1)} calls"),
        (CONNECTIONS, f"in the first {milliseconds(shared_pool.THRIFT)} some calls"),
        (CONNECTIONS, f"lasts up to {milliseconds(gate.MOST_THRIFT)}"),
        (CONNECTIONS, f"closed after {DEFAULTS['idle_timeout']:g} s (`idle_timeout=`)"),
        (CONNECTIONS, f"looks every {reaper.LOOK_EVERY:g} s"),
        (CONNECTIONS, f"keeps {DEFAULTS['max_idle']} in all"),
        (CONNECTIONS, f"adapters says ({requests.adapters.DEFAULT_POOLSIZE})"),
        (CONNECTIONS, f"after {DEFAULTS['tcp_keepalive']} s of silence"),
        (CONNECTIONS, f"asks {socket_options._SHARE} times"),
        (CONNECTIONS, f"with {keepalive.SPARE:g} s to spare"),
        (CONNECTIONS, f"A limit of {keepalive._LONGEST:g} s or more is forgotten"),
        (CONNECTIONS, f"nothing, {keepalive.FRESH_FOR:g} s, which is half of gunicorn's"),
        (CONNECTIONS, f"up to {keepalive._SHARE * keepalive._SEEN_AT_MOST:g} s;"),
        (CONNECTIONS, "with {:g}, {:g} and {:g} days".format(*(left / expiry.DAY for left in expiry._LEFT))),
        (CONNECTIONS, f"less than {expiry._LONG / expiry.DAY:g} days"),
        (BODIES, f"Each {connection.PIECE // 1024} kB have to get through"),
        (BODIES, f"at least {_CLOCKS_APART} s older"),
        (BODIES, f"at least {FREE_BYTES // 1024} kB, or {FREE_SHARE * 100:g} %"),
    ],
)
def test_numbers(page, words):
    """A number in the text is the one in the code."""
    assert says(page, words)


def test_a_number_that_is_another_one_is_found():
    """The control."""
    assert not says(CONNECTIONS, "Up to 17 TLS handshakes")


def test_the_words_come_first_and_then_the_question_of_most_readers():
    """Others link to the answer by its heading."""
    headings = re.findall(r"^## (.+)$", text_of(BEHAVIOUR), re.MULTILINE)

    assert headings[:2] == ["Words", "Will my POST be sent twice?"]
