"""Scripts are data: they refuse what cannot happen and survive the way to the server."""

import json
import pickle
from dataclasses import FrozenInstanceError, replace

import pytest

from resilient_transport.testing import Fault, How, Moment, Rule, Script, ServerOptions

RST = Fault(Moment.CLIENT_HELLO)
CUT = Fault(Moment.BODY)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"at": Moment.BODY, "after_bytes": -1}, "after_bytes must not be negative, got -1"),
        ({"at": Moment.HEAD, "after_bytes": 1}, "use it at BODY or UPLOAD, not at HEAD"),
        ({"at": Moment.UPLOAD, "mean_bytes": 5.0}, "mean_bytes cuts response bodies: not at UPLOAD"),
        ({"at": Moment.BODY, "mean_bytes": 0.0}, "mean_bytes must be positive, got 0.0"),
        ({"at": Moment.BODY, "mean_bytes": 5.0, "after_bytes": 1}, "not both"),
        ({"at": Moment.BODY, "seconds": -0.5}, "seconds must not be negative, got -0.5"),
        ({"at": Moment.REQUEST, "how": How.ALERT}, "use it at HANDSHAKE, not at REQUEST"),
        ({"at": Moment.ACCEPT, "how": How.CORRUPT}, "CORRUPT spoils a record: .* not at ACCEPT"),
        ({"at": "lunch"}, "'lunch' is not a valid Moment"),
        ({"at": Moment.BODY, "how": "gently"}, "'gently' is not a valid How"),
    ],
)
def test_a_fault_that_cannot_happen_is_refused(fields, complaint):
    """Each rule has one message that names the field."""
    with pytest.raises(ValueError, match=complaint):
        Fault(**fields)


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        (
            {"fault": RST, "first": 1, "probability": 0.5},
            "at most one of first, probability and in_flight_over",
        ),
        ({"fault": RST, "first": -1}, "first must not be negative, got -1"),
        ({"fault": RST, "probability": 1.5}, "probability must be between 0 and 1, got 1.5"),
        ({"fault": RST, "in_flight_over": -1}, "in_flight_over must not be negative, got -1"),
        ({"fault": Fault(Moment.ACCEPT), "in_flight_over": 1}, "ACCEPT comes before any: use CLIENT_HELLO"),
        ({"fault": CUT, "on_request": 0}, "on_request counts from 1, got 0"),
        ({"fault": CUT, "skip": -1}, "skip must not be negative, got -1"),
        ({"fault": RST, "on_request": 2}, "on_request chooses a request, but CLIENT_HELLO comes before"),
        ({"fault": RST, "path": "/"}, "path chooses a request, but CLIENT_HELLO comes before"),
    ],
)
def test_a_rule_that_contradicts_itself_is_refused(fields, complaint):
    """Each rule has one message that names the field."""
    with pytest.raises(ValueError, match=complaint):
        Rule(**fields)


@pytest.mark.parametrize("name", ["handshake_delay", "response_delay"])
def test_a_negative_delay_is_refused(name):
    """Time runs forwards."""
    with pytest.raises(ValueError, match=f"{name} must not be negative"):
        Script(**{name: -1.0})


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"host": "0.0.0.0"}, "host must be one of 127.0.0.1, ::1, got '0.0.0.0'"),
        ({"client_auth": "maybe"}, "client_auth must be one of required, optional, none, got 'maybe'"),
        ({"max_tls": "1.1"}, "max_tls must be one of 1.2, 1.3"),
        ({"tickets": "late"}, "tickets must be one of"),
        ({"certificate": "gold"}, "certificate must be one of"),
        ({"idle_timeout": 0.0}, "idle_timeout must be positive, got 0.0"),
        ({"connect_status": 100}, "connect_status must be between 200 and 599, got 100"),
    ],
)
def test_options_that_make_no_server_are_refused(fields, complaint):
    """The message says what may be given."""
    with pytest.raises(ValueError, match=complaint):
        ServerOptions(**fields)


def test_a_script_survives_json():
    """What the server plays is what the test wrote."""
    script = Script(
        rules=(
            Rule(
                Fault(Moment.BODY, How.FIN, mean_bytes=1e6), probability=0.25, on_request=None, path="/bytes"
            ),
            Rule(Fault(Moment.HANDSHAKE, How.ALERT, seconds=0.5), first=3, skip=2),
        ),
        seed=7,
        handshake_delay=0.01,
        response_delay=0.02,
    )

    assert Script.from_plain(json.loads(json.dumps(script.to_plain()))) == script


def test_values_are_frozen_hashable_and_picklable():
    """They can be shared, kept in sets and sent to other processes."""
    rule = Rule(CUT, first=1)

    with pytest.raises(FrozenInstanceError):
        rule.first = 2
    assert {rule, replace(rule)} == {rule}
    assert pickle.loads(pickle.dumps(Script((rule,)))) == Script((rule,))


def test_names_may_be_given_as_text():
    """JSON brings text; the fields are members all the same."""
    fault = Fault("body", "fin")

    assert (fault.at, fault.how) == (Moment.BODY, How.FIN)
    assert Script([Rule(fault)]).rules == (Rule(fault),)
