"""The page on migration is true: each field does in stock and here what its row says."""

import inspect
import math
import random
import re
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import backoff
import pytest
import requests
import urllib3
from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool
from urllib3.util import Retry
from urllib3.util.retry import RequestHistory

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of, mount, registry
from resilient_transport.retry.decision import backoff_delay, judge
from resilient_transport.retry.stages import Cause, Column, Failure, Stage
from resilient_transport.testing import Fault, FaultServer, How, Moment, Rule, Script
from tests.end_to_end.verbatim_server import FIN, Answer, VerbatimServer, told
from tests.programs import ROOT
from tests.retry.test_retry_to_the_letter import CUT, GOOD, SOON, ended, status
from tests.test_docs import rows, section
from tests.timeouts import SHORT_TIMEOUT

TEXT = (ROOT / "docs/migration.md").read_text(encoding="utf-8")
CLOSED = Answer(b"", FIN)
HANDSHAKE = Fault(Moment.CLIENT_HELLO)
DAMAGED = Fault(Moment.EXECUTED, How.CORRUPT)
LOST = Fault(Moment.EXECUTED)
SILENT = Fault(Moment.REQUEST, How.STALL)
#: A failure of the past.
PAST = RequestHistory("GET", "/", None, 503, None)


def by_name(heading: str) -> dict[str, list[str]]:
    """Return the other cells of the table below a heading, by the name in the first."""
    return {first.strip("`"): others for first, *others in rows(section(TEXT, heading))}


RETRY_ROWS = by_name("Retry, field by field")
ADAPTER_ROWS = by_name("HTTPAdapter, argument by argument")


def policies(text: str) -> list[RetryPolicy]:
    """Return the policies that a text writes down."""
    return [eval(code, {"RetryPolicy": RetryPolicy}) for code in re.findall(r"`(RetryPolicy\(.*?\))`", text)]


Measure = Callable[[HTTPAdapter, FaultServer], Any]


def calls(*answers: Answer, method: str = "GET") -> Measure:
    """How many requests a server gets that answers so, and what comes of the call."""
    return lambda adapter, _: ended(adapter, list(answers), method)


def redirected(adapter: HTTPAdapter, _: FaultServer) -> Any:
    """What comes of a redirect to another host, and whether a header goes along."""

    def answer(head: bytes) -> Answer:
        there = f"http://127.0.0.1:{server.port}/there"
        return GOOD if b" /there " in head else Answer(told("302", b"", Location=there, Content_Length="0"))

    with VerbatimServer(answer) as server, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", adapter)
        response = session.get(server.url, headers={"X-Secret": "secret"})
        return response.status_code, "x-secret" in server.fields(1)


def histories(adapter: HTTPAdapter, _: FaultServer) -> int:
    """How many entries the history of a response has after one repetition."""
    with VerbatimServer([CLOSED, GOOD]) as server, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", adapter)
        return len(session.get(server.url).raw.retries.history)


def paced(adapter: HTTPAdapter, _: FaultServer) -> list[float]:
    """The first four pauses, random ones at their ceilings."""
    found = []
    for number in range(1, 5):
        random.seed(0)
        if not isinstance(adapter, ResilientAdapter):
            found.append(adapter.max_retries.new(history=(PAST,) * number).get_backoff_time())
        elif adapter.policy.jitter is None:
            found.append(backoff_delay(adapter.policy, number, uniform=lambda low, high: high))
        else:
            found.append(backoff_delay(adapter.policy, number))
    return [round(pause, 2) for pause in found]


def fails(fault: Fault, method: str = "POST") -> Measure:
    """How many connections, and how many executions, a call costs whose every attempt fails so."""

    def measure(adapter: HTTPAdapter, server: FaultServer) -> tuple[int, int]:
        server.play(Script((Rule(fault),)))
        with session_for(server, adapter) as session, pytest.raises(requests.RequestException):
            session.request(method, f"{server.url}/echo")
        return server.counts().accepts, server.counts().executed

    return measure


def session_for(server: FaultServer, adapter: HTTPAdapter) -> requests.Session:
    """Return a session whose calls to a fault server go through this adapter."""
    session = requests.Session()
    session.trust_env = False
    session.verify, session.cert = server.authority.ca_file, server.authority.client
    session.mount("https://", adapter)
    return session


def longest(adapter: HTTPAdapter, _: FaultServer) -> float | None:
    """The pause after a Retry-After of 100 seconds; None: the response is handed back at once."""
    if not isinstance(adapter, ResilientAdapter):
        return adapter.max_retries.parse_retry_after("100")
    failure = Failure(Stage.STATUS, Cause.STATUS, status=503, retry_after=100.0)
    decision = judge(adapter.policy, Column.IDEMPOTENT, [failure], math.inf)
    return decision.delay if decision.again else None


class Case(NamedTuple):
    """What one field does.

    Attributes:
        fields: those of a `Retry`, with the one that the case is about.
        measure: what is done with an adapter.
        stock, ours: what comes of it.
        instead: what comes of it under the policy that the row gives; None: it gives none.
    """

    fields: dict[str, Any]
    measure: Measure
    stock: Any
    ours: Any
    instead: Any = None


ERROR, CHUNKED, SPENT = "ConnectionError", "ChunkedEncodingError", "RetryError"
BUSY, BROKEN, TOLD = calls(status(503)), calls(status(500)), calls(status(503, **SOON))
REDIRECTED = calls(Answer(told("302 Found", b"", Location="/there", Content_Length="0")), GOOD)
#: What each field does, by its name.
CASES = {
    "total": Case({"total": 2}, calls(CLOSED), (3, ERROR), (3, ERROR), (3, ERROR)),
    "connect": Case({"connect": 2}, fails(HANDSHAKE), (1, 0), (3, 0), (3, 0)),
    "read": Case({"read": 0}, calls(CLOSED), (1, ERROR), (1, ERROR), (1, ERROR)),
    "read, of a body": Case({"read": 1}, calls(CUT, CUT, GOOD), (1, CHUNKED), (2, CHUNKED), (1, CHUNKED)),
    "redirect": Case({"redirect": 0}, REDIRECTED, (2, 200), (2, 200)),
    "status": Case({"status": 1, "status_forcelist": [503]}, BUSY, (2, SPENT), (2, SPENT), (2, 503)),
    "other": Case({"total": 3, "other": 1}, fails(DAMAGED), (2, 2), (1, 1), (1, 1)),
    "other, of a GET": Case({"total": 3, "other": 1}, fails(DAMAGED, "GET"), (2, 2), (2, 2), (6, 6)),
    "allowed_methods": Case(
        {"total": 2, "allowed_methods": {"GET", "POST"}},
        *(calls(CLOSED, method="POST"), (3, ERROR), (3, ERROR), (6, ERROR)),
    ),
    "status_forcelist": Case(
        {"total": 2, "status_forcelist": [500]}, BROKEN, (3, SPENT), (3, SPENT), (6, 500)
    ),
    "backoff_factor": Case({"backoff_factor": 0.5}, paced, [0, 1, 2, 4], [0, 1, 2, 4], [0.5, 1, 2, 2]),
    "backoff_max": Case(
        {"backoff_factor": 0.5, "backoff_max": 1.5},
        *(paced, [0, 1, 1.5, 1.5], [0, 1, 1.5, 1.5], [0.5, 1, 1.5, 1.5]),
    ),
    "raise_on_redirect": Case({"raise_on_redirect": False}, REDIRECTED, (2, 200), (2, 200)),
    "raise_on_status": Case(
        {"total": 1, "status_forcelist": [503], "raise_on_status": False}, BUSY, (2, 503), (2, 503), (6, 503)
    ),
    "history": Case({"history": (PAST,)}, histories, 2, 1),
    "respect_retry_after_header": Case(
        {"total": 1, "respect_retry_after_header": False}, TOLD, (1, 503), (1, 503), (6, 503)
    ),
    "remove_headers_on_redirect": Case(
        {"remove_headers_on_redirect": ["X-Secret"]}, redirected, (200, True), (200, True)
    ),
    "backoff_jitter": Case(
        {"backoff_factor": 0.1, "backoff_jitter": 1}, paced, [0, 1.04, 1.24, 1.64], [0, 1.04, 1.24, 1.64]
    ),
    "retry_after_max": Case({"retry_after_max": 5}, longest, 5, 5),
}
#: Those that say nothing to stock, and nothing here.
INERT = {"redirect", "raise_on_redirect", "remove_headers_on_redirect"}
KNOWN = set(inspect.signature(Retry.__init__).parameters) - {"self"}


def test_every_field_has_a_row_and_a_case():
    """Of the urllib3 that is installed; `retry_after_max` is none before 2.6.3."""
    assert set(RETRY_ROWS) - {"retry_after_max"} == KNOWN - {"retry_after_max"}
    assert {name.partition(",")[0] for name in CASES} == set(RETRY_ROWS) >= KNOWN


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize("name", CASES)
def test_each_field_does_what_its_row_says(server, name):
    """In stock, here, and under the policy that the row gives in its place; the control is its default."""
    case, field = CASES[name], name.partition(",")[0]
    if field not in KNOWN:
        pytest.skip(f"this urllib3 has no {field}")
    others = {key: value for key, value in case.fields.items() if key != field}
    said, unsaid = Retry(**case.fields), Retry(**others)
    found, control = (
        [case.measure(kind(max_retries=retry), server) for kind in (HTTPAdapter, ResilientAdapter)]
        for retry in (said, unsaid)
    )
    given = policies(RETRY_ROWS[field][2])
    instead = [case.measure(ResilientAdapter(policy=policy), server) for policy in given[:1]]

    assert found == [case.stock, case.ours]
    assert (found == control) is (field in INERT)
    assert instead == ([] if case.instead is None and not given else [case.instead])


def told_by(adapter: HTTPAdapter, server: FaultServer, fault: Fault | None, **values: Any) -> tuple[int, str]:
    """How many connections a GET takes that fails so each time, and the type of its error."""
    server.play(Script((Rule(fault),) if fault else ()))
    with session_for(server, adapter) as session, pytest.raises(requests.RequestException) as failed:
        session.get(server.url, **values)
    return server.counts().accepts, type(failed.value).__name__


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize(
    ("fault", "values", "stock", "ours", "without"),
    [
        (None, {"verify": True}, (2, "SSLError"), (1, "SSLError"), (1, "SSLError")),
        (
            Fault(Moment.HANDSHAKE, How.ALERT, seconds=0),
            *({}, (2, "SSLError"), (1, "ClientCertificateRejected"), (1, "SSLError")),
        ),
        (SILENT, {"timeout": SHORT_TIMEOUT}, (2, ERROR), (2, "ReadTimeout"), (1, "ReadTimeout")),
    ],
    ids=["not trusted", "refused", "time-out"],
)
def test_what_differs_with_the_same_retry(server, fault, values, stock, ours, without):
    """A certificate ends the call at once, a time-out is called one; stock, the control, does not do so."""
    adapters = HTTPAdapter(max_retries=Retry(1)), ResilientAdapter(max_retries=Retry(1)), HTTPAdapter()

    assert [told_by(adapter, server, fault, **values) for adapter in adapters] == [stock, ours, without]


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize(("kind", "level"), [(HTTPAdapter, "WARNING"), (ResilientAdapter, "DEBUG")])
def test_a_repetition_is_logged_at_a_level(caplog, kind, level):
    """At DEBUG; stock, the control, warns."""
    failed = re.compile("RemoteDisconnected|ConnectionResetError")
    with caplog.at_level("DEBUG"):
        came = ended(kind(max_retries=Retry(1)), [CLOSED, GOOD], "GET")

    assert came == (2, 200)
    assert {record.levelname for record in caplog.records if failed.search(record.getMessage())} == {level}


def test_urllib3_itself_follows_redirects_by_its_retry():
    """The control of the inert ones: without requests they say something."""
    answers = [Answer(told("302 Found", b"", Location="/there", Content_Length="0"), FIN), GOOD]
    with (
        VerbatimServer(answers) as plain,
        urllib3.PoolManager() as manager,
        pytest.raises(urllib3.exceptions.MaxRetryError, match="too many redirects"),
    ):
        manager.request("GET", plain.url, retries=Retry(redirect=0))


def visits(adapter: HTTPAdapter, server: FaultServer) -> int:
    """How many connections two visits to each of two servers take."""
    server.play(Script())
    with session_for(server, adapter) as session:
        for host in ("localhost", "127.0.0.1") * 2:
            session.get(f"https://{host}:{server.port}/")
    return server.counts().accepts


def pairs(adapter: HTTPAdapter, server: FaultServer) -> int:
    """How many connections two pairs of calls take, of which each pair is open at once."""
    server.play(Script())
    with session_for(server, adapter) as session:
        for _ in range(2):
            for response in [session.get(server.url, stream=True) for _ in range(2)]:
                assert response.content
    return server.counts().accepts


def crowd(adapter: HTTPAdapter, server: FaultServer) -> bool:
    """Whether calls that come at once have no more than two connections."""
    server.play(Script(response_delay=0.05))
    with session_for(server, adapter) as session, ThreadPoolExecutor(6) as pool:
        assert all(response.ok for response in pool.map(session.get, [server.url] * 6))
    return server.counts().accepts <= 2


def busy_and_closed(adapter: HTTPAdapter, server: FaultServer) -> list[Any]:
    """What comes of a status, and of a connection that is closed."""
    return [BUSY(adapter, server), calls(CLOSED)(adapter, server)]


@pytest.mark.usefixtures("pauses")
@pytest.mark.parametrize(
    ("arguments", "measure", "stock", "ours"),
    [
        ({"pool_connections": 1}, visits, 4, 2),
        ({"pool_connections": 2}, visits, 2, 2),
        ({"pool_maxsize": 1}, pairs, 3, 3),
        ({"pool_maxsize": 2}, pairs, 2, 2),
        ({"max_retries": 3}, busy_and_closed, [(1, 503), (4, ERROR)], [(4, 503), (4, ERROR)]),
        ({"max_retries": 3}, calls(status(503, **SOON), GOOD), (2, 200), (2, 200)),
        ({"max_retries": 0}, calls(status(503, **SOON), GOOD), (1, 503), (1, 503)),
        ({"max_retries": 0}, busy_and_closed, [(1, 503), (1, ERROR)], [(1, 503), (1, ERROR)]),
        ({"pool_block": True, "pool_maxsize": 2}, crowd, True, True),
        ({"pool_block": False, "pool_maxsize": 2}, crowd, False, False),
    ],
)
def test_each_argument_does_what_its_row_says(server, arguments, measure, stock, ours):
    """In stock, and here; of two with the same name one is the control."""
    found = []
    for kind in (HTTPAdapter, ResilientAdapter):
        registry.clear()
        found.append(measure(kind(**arguments), server))

    assert found == [stock, ours]
    assert arguments.keys() & ADAPTER_ROWS.keys()


def test_every_argument_has_a_row():
    """Of the requests that is installed."""
    assert set(ADAPTER_ROWS) == set(inspect.signature(HTTPAdapter.__init__).parameters) - {"self"}


def test_every_policy_of_the_page_can_be_made():
    """Each says something else than the defaults, but where the page says that it is the default."""
    found = policies(TEXT)

    assert len(found) > 15
    assert found.count(RetryPolicy()) == len(re.findall(r"`RetryPolicy\([^`]*`, which is the default", TEXT))


@backoff.on_exception(backoff.constant, requests.RequestException, max_tries=3, interval=0)
def insistent(session: requests.Session, method: str, url: str) -> requests.Response:
    """What people write around a session."""
    return session.request(method, url)


@pytest.mark.usefixtures("pauses")
def test_a_loop_orders_as_often_as_it_goes_round(server):
    """Around stock and around this adapter; without it, the control, an order is executed once."""
    executed = []
    for kind, call in (
        (HTTPAdapter, insistent),
        (ResilientAdapter, insistent),
        (ResilientAdapter, requests.Session.request),
    ):
        server.play(Script((Rule(LOST),)))
        with session_for(server, kind()) as session, pytest.raises(requests.ConnectionError):
            call(session, "POST", f"{server.url}/echo")
        executed.append(server.counts().executed)

    assert executed == [3, 3, 1]


@pytest.mark.usefixtures("pauses")
def test_a_loop_multiplies(server):
    """Three rounds of six; `RetryPolicy(retries=2)` does what three rounds of stock did."""
    executed = []
    for adapter, call in (
        (HTTPAdapter(), insistent),
        (ResilientAdapter(), insistent),
        (ResilientAdapter(policy=RetryPolicy(retries=2)), requests.Session.request),
    ):
        server.play(Script((Rule(LOST),)))
        with session_for(server, adapter) as session, pytest.raises(requests.ConnectionError):
            call(session, "GET", server.url)
        executed.append(server.counts().executed)

    assert executed == [3, 18, 3]


def subclass_of(base: type[HTTPAdapter], code: str, **names: Any) -> HTTPAdapter:
    """Return what a class of the page makes, with this base."""
    names["HTTPAdapter"] = base
    exec(compile(code, "the page", "exec"), names)
    (kind,) = [one for one in names.values() if isinstance(one, type) and one is not base]
    return kind()


def shown_as_text(heading: str) -> str:
    """Return the code below a heading that is what somebody has today."""
    return re.search(r"```text\n(.*?)```", TEXT.split(f"### {heading}\n", 1)[1], re.DOTALL)[1]


def read_timeout_of(adapter: HTTPAdapter, session: requests.Session, url: str) -> float:
    """The time-out for reading that a call without one has got."""
    with pytest.MonkeyPatch.context() as patch:
        seen = []
        send = HTTPConnectionPool.urlopen
        patch.setattr(
            HTTPConnectionPool,
            "urlopen",
            lambda pool, *args, **values: (seen.append(values["timeout"]), send(pool, *args, **values))[1],
        )
        session.mount("https://", adapter)
        session.get(url)
    return seen[0].read_timeout


def test_a_subclass_with_a_time_out_works(server):
    """On stock's class and on this one, as `read_timeout=` does; without any, the control, it is another."""
    code = shown_as_text("A time-out in a subclass")
    server.play(Script())
    with session_for(server, HTTPAdapter()) as session:
        found = [
            read_timeout_of(adapter, session, server.url)
            for adapter in (
                subclass_of(HTTPAdapter, code),
                subclass_of(ResilientAdapter, code),
                ResilientAdapter(read_timeout=5),
                ResilientAdapter(),
            )
        ]

    assert found == [5, 5, 5, 300]


def test_a_subclass_with_a_context_works(server):
    """It shows the certificate that is in its context, and repeats; stock, the control, does not repeat."""
    code = shown_as_text("A TLS context of your own")
    context = ssl.create_default_context(cafile=server.authority.ca_file)
    context.load_cert_chain(*server.authority.client)
    told = []
    for base in (ResilientAdapter, HTTPAdapter):
        server.play(Script((Rule(HANDSHAKE, first=1),)))
        with session_for(server, subclass_of(base, code, context=context)) as session:
            session.verify, session.cert = True, None
            told.append(attempted(session, server.url))

    assert told == [2, ERROR]


def attempted(session: requests.Session, url: str) -> Any:
    """How many attempts a call takes, or the name of its error."""
    try:
        return len(attempts_of(session.get(url)))
    except requests.RequestException as error:
        return type(error).__name__


@pytest.mark.parametrize(("kind", "connections"), [(HTTPAdapter, 2), (ResilientAdapter, 1)])
def test_a_closed_session_leaves_its_connection_to_the_next(server, kind, connections):
    """Until the registry is cleared; stock, the control, closes it."""
    server.play(Script())
    for _ in range(2):
        with session_for(server, kind()) as session:
            session.get(server.url)
    accepted, kept = server.counts().accepts, " 1 idle connection" in repr(registry)
    registry.clear()

    assert (accepted, kept) == (connections, kind is ResilientAdapter)
    assert " 0 idle connections" in repr(registry)


@pytest.mark.parametrize("beside", [{"cert": "client.pem"}, {"verify": False}, {"verify": "ca.pem"}])
def test_what_would_have_no_effect_is_refused(beside):
    """Certificates of a call beside a context of the caller's own."""
    with requests.Session() as session:
        mount(session, ssl_context=ssl.create_default_context())

        with pytest.raises(TypeError, match="no say over ssl_context="):
            session.get("https://localhost/", **beside)
