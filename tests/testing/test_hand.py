"""What a script deals each accept: pure draws that repeat."""

import statistics

import pytest

from resilient_transport.testing import Fault, How, Moment, Rule, Script
from resilient_transport.testing.engine.hand import Hand, Hit, Visit

RST = Fault(Moment.CLIENT_HELLO)
CUT = Fault(Moment.BODY, after_bytes=10)


def hits(rule, count=8, **script):
    """Return which of the first accepts a rule hits at its fault's moment."""
    visit = Visit(request=1, path="/")
    accepts = range(1, count + 1)
    dealt = {accept: Hand(Script((rule,), **script), accept) for accept in accepts}
    return [accept for accept in accepts if dealt[accept].hit(rule.fault.at, visit)]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (Rule(RST), [1, 2, 3, 4, 5, 6, 7, 8]),
        (Rule(RST, first=2), [1, 2]),
        (Rule(RST, first=0), []),
        (Rule(RST, first=2, skip=3), [4, 5]),
        (Rule(RST, skip=6), [7, 8]),
        (Rule(RST, probability=0.0), []),
        (Rule(RST, probability=1.0, skip=7), [8]),
    ],
)
def test_a_rule_hits_the_accepts_it_names(rule, expected):
    """`skip` spares first, then the choice counts."""
    assert hits(rule) == expected


def test_a_seed_repeats_and_another_differs():
    """Same seed, same accepts; and it is the seed that makes the difference."""
    rule = Rule(RST, probability=0.5)

    assert hits(rule, 200, seed=1) == hits(rule, 200, seed=1)
    assert hits(rule, 200, seed=1) != hits(rule, 200, seed=2)
    assert 70 < len(hits(rule, 200, seed=1)) < 130


def test_draws_do_not_depend_on_order():
    """Whichever thread asks first, accept 7 is dealt the same hand."""
    script = Script((Rule(RST, probability=0.5),), seed=3)
    forwards = [bool(Hand(script, accept).hit(RST.at)) for accept in range(1, 50)]
    backwards = [bool(Hand(script, accept).hit(RST.at)) for accept in reversed(range(1, 50))]

    assert forwards == backwards[::-1]


def test_rules_draw_apart():
    """Two rules with one probability do not hit the same accepts."""
    first = Rule(RST, probability=0.5)
    second = Rule(Fault(Moment.ACCEPT), probability=0.5)
    dealt = [Hand(Script((first, second)), accept) for accept in range(1, 100)]

    assert [bool(hand.hit(Moment.ACCEPT)) for hand in dealt] != [
        bool(hand.hit(Moment.CLIENT_HELLO)) for hand in dealt
    ]


def test_the_first_fitting_rule_wins():
    """Order is priority."""
    fin = Fault(Moment.CLIENT_HELLO, How.FIN)
    hand = Hand(Script((Rule(RST, skip=1), Rule(fin))), 1)

    assert hand.hit(Moment.CLIENT_HELLO) == Hit(fin, 0)


@pytest.mark.parametrize(("crowd", "hit"), [(1, False), (2, True), (3, True)])
def test_a_crowd_is_hit_above_its_limit(crowd, hit):
    """`in_flight_over=1` lets one handshake pass and hits two."""
    hand = Hand(Script((Rule(RST, in_flight_over=1),)), 1)

    assert bool(hand.hit(Moment.CLIENT_HELLO, Visit(crowd=crowd))) is hit


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [(1, "/a")]),
        ({"on_request": 2}, [(2, "/a"), (2, "/b")]),
        ({"on_request": None}, [(1, "/a"), (2, "/a"), (2, "/b")]),
        ({"on_request": None, "path": "/b"}, [(2, "/b")]),
    ],
)
def test_a_rule_chooses_among_requests(fields, expected):
    """By number on the connection, and by path."""
    hand = Hand(Script((Rule(CUT, **fields),)), 1)
    visits = [(1, "/a"), (2, "/a"), (2, "/b")]

    assert [
        (request, path) for request, path in visits if hand.hit(Moment.BODY, Visit(request, path))
    ] == expected


def test_cuts_are_drawn_for_each_response():
    """With `mean_bytes` the cut is exponential, differs from response to response and repeats."""
    script = Script((Rule(Fault(Moment.BODY, mean_bytes=1000.0), on_request=None),), seed=5)
    hand = Hand(script, 1)
    cuts = [hand.hit(Moment.BODY, Visit(request)).after for request in range(1, 2000)]
    again = [Hand(script, 1).hit(Moment.BODY, Visit(request)).after for request in range(1, 2000)]

    assert cuts == again
    assert 900 < statistics.mean(cuts) < 1100
    assert 600 < statistics.median(cuts) < 800  # the mean times ln 2


def test_without_rules_nothing_happens():
    """The control."""
    hand = Hand(Script(), 1)

    assert [hand.hit(moment, Visit(1, "/", 9)) for moment in Moment] == [None] * len(Moment)
