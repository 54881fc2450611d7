"""What counts as lost, and when the adapter has broken its promise: values in, values out."""

import json

import pytest

from resilient_transport.cli.demo.order import WRONG_BODY, Call, Order, Start
from resilient_transport.cli.demo.verdict import Cell, broken_promises, may_be_repeated
from tests.cli.cells import BY_NAME, STOCK, cell, outcome


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


def test_nothing_failed_nothing_broken():
    """The control: a good cell breaks no promise, and a GET may be executed twice."""
    assert (
        broken_promises([cell(outcome("GET"), outcome("POST"), executions={"GET-1": 2, "POST-1": 1})]) == ()
    )


def test_a_lost_get_breaks_the_promise():
    """The sentence names the request, the scenario and the failure."""
    found = broken_promises([cell(outcome("GET", "ConnectionError", "request"))])

    assert found == (
        "lost GET-1 under race (ConnectionError, stage request, 0 attempts), which may be repeated",
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

    assert found == (f"executed POST-1 under {scenario} more than once",)


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

    assert len(lost.lost) == 1
    assert broken_promises([lost]) == ()


def test_a_cell_adds_up_its_starts():
    """A start fails when one of its requests does, and takes as long as the slowest."""
    good = Start((outcome("GET", seconds=0.1), outcome("POST", seconds=0.2)))
    bad = Start((outcome("GET", "ConnectTimeout", "connect", seconds=0.5), outcome("POST", seconds=0.1)))
    plain = Cell(
        BY_NAME["race"], STOCK, (good, bad, good), connections=7, executions={"POST-1": 3}
    ).to_plain()

    assert plain == {
        "scenario": "race",
        "transport": STOCK,
        "starts": 3,
        "starts_failed": 1,
        "requests": 6,
        "requests_failed": 1,
        "requests_lost": 1,
        "connections": 7,
        "posts_doubled": 3,
        "median_seconds": 0.2,
        "errors": {"GET: ConnectTimeout (connect)": 1},
    }


def test_orders_and_starts_go_through_json():
    """What comes out on the other side of a pipe equals what went in."""
    order = Order("x", "https://localhost:1", "ca.pem", ("a.pem", "a.key"), (Call("1", "GET", "/", "00"),))
    start = Start((outcome("GET"), outcome("POST", "SSLError", "handshake")))

    assert Order.from_plain(json.loads(json.dumps(order.to_plain()))) == order
    assert Start.from_plain(json.loads(json.dumps(start.to_plain()))) == start
