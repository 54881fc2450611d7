"""`docs/operations.md` is true: its tables are the code's, its output is real, its PromQL finds numbers."""

import ast
import dataclasses
import inspect
import json
import logging
import re
from itertools import combinations
from urllib.request import urlopen

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from resilient_transport import (
    Attempt,
    ResilientAdapter,
    RetryPolicy,
    events,
    mount,
    override,
    registry,
    settings,
    stats,
)
from resilient_transport.adapter.adapter import DEFAULT_POOLSIZE
from resilient_transport.call import origin_state
from resilient_transport.call.record import MOST_ATTEMPTS
from resilient_transport.cli.main import main
from resilient_transport.cli.show_settings import shown
from resilient_transport.connection import failed_addresses, tls_connection, tls_sessions
from resilient_transport.gate.window import MAXIMUM, MOST_STALLED
from resilient_transport.pool import contexts, expiry, identity
from resilient_transport.pool.registry import MOST_UNLEASED
from resilient_transport.settings import environment
from resilient_transport.telemetry import left_alone
from resilient_transport.telemetry.counters import BUCKETS
from resilient_transport.telemetry.stats import OriginStats, Stats
from resilient_transport.testing import Fault, FaultServer, How, Moment, Rule, Script
from resilient_transport.waterfall.recorder import MOST_CALLS
from tests.collecting import ATTEMPT
from tests.examples import examples_of, run_example
from tests.programs import ROOT
from tests.test_docs import code_in, rows, section

PATH = "docs/operations.md"
PAGE = (ROOT / PATH).read_text(encoding="utf-8")
DASHBOARD = json.loads((ROOT / "docs" / "grafana.json").read_text(encoding="utf-8"))
LOGGER = logging.getLogger("resilient_transport")
#: The first handshake is reset.
RESET = Script((Rule(Fault(Moment.CLIENT_HELLO), first=1),))


def table(head):
    """The cells of the table whose first column has this head."""
    return rows(PAGE[PAGE.index(f"\n| {head} |") :])


def output_after(words):
    """The first block of output after these words, its lines unwrapped."""
    place = re.search(re.escape(words).replace(r"\ ", r"\s+"), PAGE).end()
    block = re.search(r"```text\n(.*?)```", PAGE[place:], re.DOTALL)[1]
    return re.sub(r"\n  +", " ", block).splitlines()


def masked(line, server):
    """A line as the page may show it, whatever the server, the time and the size of a name."""
    line = line.replace(server.url, "https://api.example").replace(", confirmed", "")
    return re.sub(r"\d+(\.\d+)?", "N", re.sub(r"connection to [\w.:]+", "connection to ADDRESS", line))


def example_with(words):
    """The example that has these words."""
    (example,) = (one for one in examples_of(PATH) if words in one)
    return example


@pytest.fixture
def own_logging():
    """Put the logger's level and handlers back."""
    level, handlers = LOGGER.level, LOGGER.handlers[:]
    yield
    LOGGER.setLevel(level)
    LOGGER.handlers[:] = handlers


def taken_by(name):
    """What takes a setting as an argument, as the table says it."""
    takers = [kind for kind in (ResilientAdapter, RetryPolicy, override) if name in takes(kind)]
    return ", ".join(f"`{kind.__name__}`" for kind in takers) or "–"


def takes(kind):
    """The names of the arguments of a class."""
    return inspect.signature(kind).parameters


def test_the_settings_are_the_codes():
    """Each with what is allowed, its default, what it is, and what takes it in code."""
    code = [
        [f"`{one.variable}`", one.kind.allowed, shown(one.default), one.about, taken_by(one.name)]
        for one in settings.SETTINGS
    ]

    assert table("variable") == code


def test_what_is_not_allowed_is_told_in_these_words(monkeypatch, capsys):
    """The error, and the warning."""
    monkeypatch.setattr(environment, "_warned", set())
    monkeypatch.setenv("RESILIENT_TRANSPORT_RETRIES", "many")
    monkeypatch.setenv("RESILIENT_TRANSPORT_DEDLINE", "3")
    with pytest.warns(UserWarning, match="DEDLINE") as warned:
        main(["settings"])
    with pytest.raises(ValueError, match="RETRIES") as refused:
        RetryPolicy()

    assert output_after("raises a `ValueError` there") == [str(refused.value)]
    assert output_after("A warning names the setting") == [str(warned[0].message)]


def level_of(kind):
    """The level of an event's line, as the table says it."""
    if isinstance(kind.level, property):
        return "INFO or WARNING"
    return "–" if kind.level is None else logging.getLevelName(kind.level)


def test_every_event_is_told_with_the_level_of_its_line():
    """In any order."""
    every = {one for one in vars(events).values() if isinstance(one, type) and issubclass(one, events.Event)}
    code = {f"`{kind.__name__}`": level_of(kind) for kind in every - {events.Event, events.CallEvent}}

    assert len(code) > 10
    assert {name: level for name, level, _ in table("event")} == code


def test_the_lines_of_the_log_are_real(server, own_logging, caplog):
    """Those of a handshake that is reset, and that of a POST whose answer is lost."""
    server.play(RESET)
    run_example(example_with("basicConfig"), server)
    healed = [masked(f"{one.levelname} {one.getMessage()}", server) for one in caplog.records]
    registry.clear()
    caplog.clear()
    LOGGER.setLevel("WARNING")
    # Not by a reset, of which Pythons say different things.
    server.play(Script((Rule(Fault(Moment.EXECUTED, How.FIN)),)))
    session = requests.Session()
    mount(session)
    with pytest.raises(requests.ConnectionError):
        session.post(
            server.url + "/echo", data=b"x", verify=server.authority.ca_file, cert=server.authority.client
        )
    lost = [masked(f"{one.levelname} {one.getMessage()}", server) for one in caplog.records]

    assert healed == [masked(line, server) for line in output_after("prints three records")]
    assert lost == [masked(line, server) for line in output_after("A POST whose answer is lost")]


def test_records_are_json_with_these_attributes(server, own_logging, capsys):
    """Each attribute of the table is in one of the lines; and no other but the fields of events."""
    server.play(RESET)
    run_example(example_with("AsJSON"), server)
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    names = {name for line in lines for name in line if name.startswith("rt_")}
    told = set(code_in("".join(row[0] for row in table("attribute"))))
    of_attempts = {f"rt_attempt_{name}" for name in Attempt._fields}
    kinds = [getattr(events, line["rt_event"]) for line in lines]
    of_events = {f"rt_{field.name}" for kind in kinds for field in dataclasses.fields(kind)}

    assert [line["rt_event"] for line in lines] == ["AttemptFailed", "HandshakeDone", "Recovered"]
    assert told - {"rt_hook", "rt_hook_error"} <= names
    assert names - told <= of_attempts | of_events


def test_the_figures_are_those_of_stats():
    """Each attribute, in any order; and the bounds of the histograms."""
    figures = PAGE[PAGE.index("Each entry has all numbers") :]
    told = [row[0] for row in rows(figures)]
    bounds = re.search(r"histogram are ([\d, and]+) ms, and ([\d., and]+) s", re.sub(r"\s+", " ", PAGE))
    low, high = ([float(one) for one in re.findall(r"[\d.]*\d", part)] for part in bounds.groups())

    assert sorted(told) == sorted(f"`{field.name}`" for field in dataclasses.fields(OriginStats))
    assert (*(one / 1000 for one in low), *high) == BUCKETS


def test_the_printed_table_is_real(server, capsys):
    """The heads, and the numbers but for the time."""
    server.play(Script())
    run_example(example_with("for page in"), server)
    printed = capsys.readouterr().out.replace(server.url, "https://api.example")
    (head, line), (real_head, real) = output_after("for page in"), printed.splitlines()
    place = head.split().index("mean")
    told, found = line.split(), real.split()

    assert head.split() == real_head.split()
    assert found[:place] + found[place + 1 :] == told[:place] + told[place + 1 :]
    assert re.fullmatch(r"[\d.]+m?s", told[place])


def reasons_in(tree):
    """The words by which a module counts what was not repeated."""
    for node in ast.walk(tree):
        match node:
            case ast.Call(
                func=ast.Name(id="given_up") | ast.Attribute(attr="refuse" | "refused"), args=[*_, value]
            ):
                found = value
            case ast.keyword(arg="reason", value=value):
                found = value
            case ast.Assign(targets=[ast.Name(id="reason")], value=value):
                found = value
            case ast.AnnAssign(target=ast.Name(id="_REASONS" | "_NO_RESULT"), value=value):
                found = value
            case ast.FunctionDef(name="refuse", args=ast.arguments(defaults=[value])):
                found = value
            case _:
                continue
        constants = (one.value for one in ast.walk(found) if isinstance(one, ast.Constant))
        # A sentence is none.
        yield from (one for one in constants if re.fullmatch(r"[a-z]+[- ]?[a-z]+", str(one)))


def test_every_reason_is_told():
    """Why a call was not repeated: each word that the code counts by."""
    package = ROOT / "resilient_transport"
    paths = [*(package / "call").glob("*.py"), package / "retry" / "decision.py"]
    found = [one for path in paths for one in reasons_in(ast.parse(path.read_text(encoding="utf-8")))]

    assert {row[0] for row in table("reason")} == {f"`{reason}`" for reason in found}


@pytest.fixture(scope="module")
def exported(authority):
    """The labels of each sample that Prometheus is given: after real calls, and with what is rare."""
    with FaultServer(RESET, authority=authority) as server, requests.Session() as session:
        mount(session)
        session.verify, session.cert = authority.ca_file, authority.client
        for page in ("/words/3", "/status/404", "/status/503?retry_after=61"):
            session.get(server.url + page)
        rare = OriginStats(failed_calls={"ConnectionError": 1}, shared_failures={"handshake": 1})
        text = (stats() + Stats({server.url: rare})).prometheus()
    return {
        sample.name: set(sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_metrics_are_those_that_are_exported(exported):
    """Each name with its labels; of a histogram's three names the page tells the one that they begin with."""
    told = {code_in(name)[0]: (kind, set(code_in(labels))) for name, kind, labels, _ in table("name")}
    plain = {re.sub(r"_(bucket|sum|count)$", "", name): labels - {"le"} for name, labels in exported.items()}
    kinds = {name: "counter" for name in plain if name.endswith("_total")}
    kinds |= {name.removesuffix("_bucket"): "histogram" for name in exported if name.endswith("_bucket")}

    assert len(plain) > 15
    assert told == {name: (kinds.get(name, "gauge"), labels) for name, labels in plain.items()}


def expressions():
    """Each expression in PromQL of the dashboard and of the page."""
    for panel in DASHBOARD["panels"]:
        yield from (target["expr"] for target in panel["targets"])
    yield from (one["definition"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query")
    alerts = re.search(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[1]
    yield from re.findall(r"expr: (.*?)\n +(?:for|annotations):", alerts, re.DOTALL)


def unknown_in(expression, exported):
    """The metrics and labels that an expression names and nobody exports."""
    names = set(re.findall(r"\bresilient_transport_\w+", expression))
    unknown = names - exported.keys()
    known = set().union(*(exported.get(name, ()) for name in names))
    for name, selector in re.findall(r"\b(resilient_transport_\w+)\{(.*?)\}", expression):
        unknown |= set(re.findall(r"(\w+) *(?:=~|!~|!=|=)", selector)) - exported.get(name, set())
    for labels in re.findall(r"\bby \((.*?)\)", expression):
        unknown |= set(re.findall(r"\w+", labels)) - known
    return unknown


def test_every_expression_finds_numbers(exported):
    """Of the dashboard and of the alerts: each metric and each label is exported."""
    every = list(expressions())

    assert len(every) > 20
    assert all("resilient_transport_" in one for one in every)
    assert {one: unknown for one in every if (unknown := unknown_in(one, exported))} == {}


@pytest.mark.parametrize(
    ("expression", "unknown"),
    [
        ("rate(resilient_transport_sighs_total[5m])", {"resilient_transport_sighs_total"}),
        ('sum(resilient_transport_calls_total{mood="bad"})', {"mood"}),
        ('resilient_transport_calls_total{origin=~"a|b", stage!="body"}', {"stage"}),
        ("sum by (le, kind) (rate(resilient_transport_response_seconds_bucket[5m]))", {"kind"}),
        ("sum by (origin) (rate(resilient_transport_response_seconds_sum[5m]))", set()),
    ],
)
def test_what_nobody_exports_is_found(expression, unknown, exported):
    """The control: made-up metrics, and labels that are made up or another metric's."""
    assert unknown_in(expression, exported) == unknown


def test_words_in_selectors_are_those_that_are_counted():
    """A reason in an expression is one of the table."""
    words = [
        word
        for one in expressions()
        for told in re.findall(r'reason=~?"(.*?)"', one)
        for word in told.split("|")
    ]

    assert {"quota", "circuit"} < set(words)
    assert set(words) < {code_in(row[0])[0] for row in table("reason")}


def overlapping(places):
    """The pairs of panels that have a square in common, by their places."""
    squares = [
        {(x, y) for x in range(one["x"], one["x"] + one["w"]) for y in range(one["y"], one["y"] + one["h"])}
        for one in places
    ]
    return [pair for pair in combinations(range(len(squares)), 2) if squares[pair[0]] & squares[pair[1]]]


def test_the_panels_of_the_dashboard_have_places_of_their_own():
    """And numbers of their own; each asks the data source that is chosen."""
    panels = DASHBOARD["panels"]
    places = [panel["gridPos"] for panel in panels]
    asked = [one["datasource"]["uid"] for panel in panels for one in (panel, *panel["targets"])]

    assert len({panel["id"] for panel in panels}) == len(panels) > 10
    assert all(one["x"] + one["w"] <= 24 for one in places)
    assert overlapping(places) == []
    assert overlapping([*places, {"x": 23, "y": 7, "w": 1, "h": 1}]) == [(1, len(places))]
    assert set(asked) == {"${datasource}"}


def test_the_numbers_can_be_scraped(server):
    """By the example, but for its port."""
    names = run_example(example_with("make_server").replace("9464", "0"), server)
    with names["server"] as serving:
        try:
            with urlopen(f"http://127.0.0.1:{serving.server_port}/metrics") as answer:
                text = answer.read().decode()
        finally:
            serving.shutdown()

    assert text == stats().prometheus()
    assert text.startswith("# HELP resilient_transport_calls_total ")


def metrics_told(watched):
    """The name, the kind and the unit of each metric that OpenTelemetry was told."""
    text = watched.text()
    _, end = json.JSONDecoder().raw_decode(text)
    scopes = [scope for one in json.loads(text[end:])["resource_metrics"] for scope in one["scope_metrics"]]
    return [
        [each["name"], kind_of(each["data"]), each["unit"]] for scope in scopes for each in scope["metrics"]
    ]


def kind_of(data):
    """The kind of a metric, by what was told of it."""
    if "bucket_counts" in data["data_points"][0]:
        return "histogram"
    return {None: "gauge", True: "counter", False: "up-down counter"}[data.get("is_monotonic")]


def test_opentelemetry_is_told_these_names(server, watched):
    """Of spans and metrics, after a call that is repeated and one with an unusual method."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), first=1),)))
    with requests.Session() as session:
        mount(session)
        session.verify, session.cert = server.authority.ca_file, server.authority.client
        for method, page in (("GET", "/words/3"), ("FROB", "/status/404")):
            session.request(method, server.url + page)
    part = section(PAGE, "OpenTelemetry")
    spans, metrics = part[part.index("| attribute |") :], part[part.index("| name |") :]
    found = {name for span in watched.spans for name in span.attributes}
    noted = {name for span in watched.spans for each in span.events for name in each.attributes}

    assert {name for row in rows(spans) for name in code_in(row[0])} == found
    assert {name for name in code_in(part) if name.startswith(f"{ATTEMPT}.")} <= noted
    assert sorted([code_in(name)[0], kind, unit] for name, kind, unit, _ in rows(metrics)) == sorted(
        metrics_told(watched)
    )


@pytest.mark.parametrize(
    "words",
    [
        f"up to {'a second' if identity.LOADING == 1 else '?'} for threads that load certificates",
        f"it waits up to {'a tenth of a second' if tls_connection._SHAKING == 0.1 else '?'}",
        f"circuits | {origin_state.ORIGINS:,} |",
        f"different `Breaker` | {origin_state._CIRCUITS} |",
        f"idle connections of the process | {settings.default('max_idle')} ",
        f"idle connections to an origin | {DEFAULT_POOLSIZE} ",
        f"handshakes at once for an origin | {MAXIMUM} ",
        f"beside these | {MOST_STALLED} |",
        f"no adapter uses any more | {MOST_UNLEASED} |",
        f"TLS contexts that nobody uses now | {contexts._KEPT} |",
        f"TLS sessions of a pool | {tls_sessions.MOST} |",
        f"sets of certificate files | {contexts._NAMES:,} |",
        f"`stats().certificates` | {expiry._MOST:,} |",
        f"addresses that have failed | {failed_addresses.MOST} |",
        f"attempts of a call that are kept | {MOST_ATTEMPTS} |",
        f"`stats().left_alone` | {left_alone._MOST} |",
        f"calls of a recording | {MOST_CALLS:,}, and {MOST_CALLS:,} in which",
    ],
)
def test_numbers(words):
    """A number on the page is the one in the code."""
    assert words in re.sub(r"\s+", " ", PAGE)
