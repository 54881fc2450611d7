"""What counts as lost, and what is said of it: values in, values out."""

import dataclasses
import json

import pytest

from resilient_transport.cli.demo.cell import Cell, may_be_repeated
from resilient_transport.cli.demo.order import WRONG_BODY, Call, Order, Start
from resilient_transport.cli.demo.verdict import broken_promises, verdict
from tests.cli.cells import BY_NAME, RUN, STOCK, attempt, cell, outcome


@pytest.mark.parametrize(
    ("failed", "executed", "may"),
    [
        (outcome("GET", "ConnectionError", "body"), 1, True),
        (outcome("GET", "ConnectionError"), 1, True),
        (outcome("POST", "ConnectionError", "queue"), 0, True),
        (outcome("POST", "ConnectionError", "confirm"), 0, True),
        (outcome("POST", "ConnectionError", "request"), 0, False),
        (outcome("POST", "ConnectionError", "body"), 1, False),
        (outcome("POST", "ConnectionError"), 0, True),
        (outcome("POST", "ConnectionError"), 1, False),
    ],
)
def test_what_may_be_repeated(failed, executed, may):
    """A GET always; a POST by its stage; where nobody tells the stage, by what the server executed."""
    assert may_be_repeated(failed, {failed.request_id: executed}) is may


def test_who_lost_what():
    """The whole verdict: the counts, why the adapter lost any, and whether a POST ran twice."""
    said = verdict(RUN)

    assert said.ok
    assert said.sentences == (
        "Of 4 GETs and 4 POSTs each, stock requests lost 3 and 2, Retry(3) lost 2 and 2, "
        "ResilientAdapter lost none and 1.",
        "The server may have run that POST before the connection broke, "
        "so ResilientAdapter did not send it again.",
        "No POST ran twice.",
    )
    assert said.paragraphs == (" ".join(said.sentences),)


def test_several_posts_are_those():
    """One is told in the singular, none not at all."""
    cut = [outcome("POST", "ConnectionError", "body", number=n) for n in range(3)]

    assert verdict([cell(*cut)]).sentences[1].startswith("The server may have run those 3 POSTs")
    assert verdict([cell(outcome("POST"))]).sentences == (
        "Of 0 GETs and 1 POST each, ResilientAdapter lost none.",
        "No POST ran twice.",
    )


def test_who_ran_a_post_twice():
    """Each is named, and for the adapter it is a broken promise."""
    executions = {"POST-1": 2}
    stock = cell(outcome("POST"), transport=STOCK, executions=executions)
    ours = cell(outcome("POST"), executions=executions)

    assert verdict([stock]).sentences[-1] == "stock requests ran 1 POST twice."
    assert verdict([stock]).ok
    assert verdict([stock, ours]).sentences[-1] == (
        "stock requests ran 1 POST twice, ResilientAdapter ran 1 POST twice."
    )
    assert not verdict([stock, ours]).ok


def test_bad_news_comes_first():
    """The first of it, and how much more there is."""
    one = verdict([cell(outcome("GET", "SSLError", "handshake"))])
    five = verdict([cell(*(outcome("GET", "SSLError", "handshake", number=n) for n in range(5)))])
    told = (
        "FAILED: ResilientAdapter lost GET-1 under race (SSLError, stage handshake, 0 attempts), "
        "which may be repeated."
    )

    assert one.paragraphs == (told, " ".join(one.sentences))
    assert [line.startswith("FAILED:") for line in five.paragraphs] == [True] * 4 + [False]
    assert five.paragraphs[3] == "FAILED: and 2 more, which --json lists."


def test_nothing_failed_nothing_broken():
    """The control: a good cell breaks no promise, and a GET may be executed twice."""
    assert (
        broken_promises([cell(outcome("GET"), outcome("POST"), executions={"GET-1": 2, "POST-1": 1})]) == ()
    )


def test_a_post_lost_before_its_first_byte_breaks_the_promise():
    """It might have been sent again; one that has left might not."""
    early = broken_promises([cell(outcome("POST", "ConnectionError", "handshake"))])
    late = broken_promises([cell(outcome("POST", "ConnectionError", "request"))])

    assert len(early) == 1
    assert late == ()


@pytest.mark.parametrize("scenario", ["race", "megabyte"])
def test_a_post_that_ran_twice_breaks_the_promise(scenario):
    """Whether its caller got a response or not."""
    found = broken_promises([cell(outcome("POST"), scenario=scenario, executions={"POST-1": 2})])

    assert found == (f"ran POST-1 under {scenario} more than once",)


def test_a_wrong_body_breaks_the_promise():
    """A response that was cut and handed out as whole is worse than an error."""
    (found,) = broken_promises([cell(outcome("POST", WRONG_BODY, "done"), scenario="megabyte")])

    assert found.startswith("handed out a wrong body for POST-1")


@pytest.mark.parametrize("scenario", ["megabyte", "words-250"])
def test_a_lost_body_breaks_the_promise(scenario):
    """However large it is."""
    lost = outcome("GET", "ConnectionError", "body")

    assert len(broken_promises([cell(lost, scenario=scenario)])) == 1


def test_only_the_adapter_makes_promises():
    """Stock requests may lose what it wants."""
    lost = cell(outcome("GET", "ConnectionError"), transport=STOCK, executions={"GET-1": 0})

    assert len(lost.needless) == 1
    assert broken_promises([lost]) == ()


def test_a_cell_adds_up_its_starts():
    """A start takes as long as its slowest request, and the median is of those that lost nothing."""
    good = Start((outcome("GET", seconds=0.1), outcome("POST", seconds=0.2)))
    bad = Start((outcome("GET", "ConnectTimeout", "connect", seconds=0.5), outcome("POST", "SSLError")))
    plain = Cell(
        BY_NAME["race"], STOCK, (good, bad, good), connections=7, executions={"POST-1": 3}
    ).to_plain()

    assert plain == {
        "scenario": "race",
        "transport": STOCK,
        "requests": {"GET": 3, "POST": 3},
        "lost": {"GET": 1, "POST": 1},
        "lost_needlessly": {"GET": 1, "POST": 0},
        "lost_posts_that_had_run": 1,
        "posts_run_twice": 3,
        "starts": 3,
        "starts_failed": 1,
        "connections": 7,
        "median_seconds": 0.2,
        "errors": {"GET: ConnectTimeout (connect)": 1, "POST: SSLError (no stage)": 1},
    }
    assert Cell(BY_NAME["race"], STOCK, (bad,), 1, {}).to_plain()["median_seconds"] is None


def test_orders_and_starts_go_through_json():
    """What comes out on the other side of a pipe equals what went in."""
    order = Order("x", "https://localhost:1", "ca.pem", ("a.pem", "a.key"), (Call("1", "GET", "/", "00"),))
    told = dataclasses.replace(
        outcome("GET"), history=(attempt(stages=(("queue", 0.0), ("body", 0.5))), attempt(2))
    )
    start = Start((told, outcome("POST", "SSLError", "handshake")))

    assert Order.from_plain(json.loads(json.dumps(order.to_plain()))) == order
    assert Start.from_plain(json.loads(json.dumps(start.to_plain()))) == start
