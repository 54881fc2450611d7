"""The replay table, cell by cell, and what chooses its row and its column."""

import itertools
from dataclasses import FrozenInstanceError
from http.client import RemoteDisconnected

import pytest

from resilient_transport.retry.causes import Cause, classify
from resilient_transport.retry.stages import (
    IDEMPOTENT,
    TABLE,
    Column,
    Failure,
    Situation,
    Stage,
    Verdict,
    column,
)

BEFORE_THE_REQUEST = (
    Stage.QUEUE,
    Stage.RESOLVE,
    Stage.CONNECT,
    Stage.TUNNEL,
    Stage.HANDSHAKE,
    Stage.CONFIRM,
)
#: Where an attempt can fail. "done" is what a good answer is called.
FAILING = (*BEFORE_THE_REQUEST, Stage.REQUEST, Stage.BODY, Stage.STATUS)

NEVER_HEALS = (
    Cause.CERTIFICATE,
    Cause.CLIENT_CERTIFICATE,
    Cause.NO_COMMON_TLS,
    Cause.DENIED,
    Cause.LOCAL,
    Cause.INVALID,
    Cause.UNPARSABLE,
)

#: The design's table: may it be sent again? By column: idempotent, others, others opted in.
DESIGN = {
    Situation.EARLY: (True, True, True),
    Situation.FATAL: (False, False, False),
    Situation.REQUEST: (True, False, True),
    Situation.REUSED: (True, False, True),
    Situation.STATUS: (True, False, True),
    Situation.MISDIRECTED: (True, True, True),
    Situation.BODY: (True, False, True),
    Situation.SPENT: (False, False, False),
}


@pytest.mark.parametrize("situation", Situation)
@pytest.mark.parametrize("where", Column)
def test_each_cell_says_what_the_design_says(situation, where):
    """Every cell of the table permits a repetition exactly where the design's table does."""
    permitted = TABLE[situation][where.value] is not Verdict.NO

    assert permitted is DESIGN[situation][where.value]


def test_the_table_has_a_cell_for_every_case():
    """No situation is without a row, and no row without its three columns."""
    assert set(TABLE) == set(Situation)
    assert {len(row) for row in TABLE.values()} == {len(Column)}
    assert [where.value for where in Column] == [0, 1, 2]


def test_only_a_reused_connection_is_repeated_at_once():
    """Backoff is left out where a server closed an idle connection, and in no other row."""
    rows = [situation for situation, row in TABLE.items() if Verdict.AT_ONCE in row]

    assert rows == [Situation.REUSED]
    assert TABLE[Situation.REUSED][Column.IDEMPOTENT.value] is Verdict.AT_ONCE


def test_only_a_misdirected_request_is_repeated_once():
    """421 has one repetition in every column, and nothing else is bounded by the table."""
    rows = [situation for situation, row in TABLE.items() if Verdict.ONCE in row]

    assert rows == [Situation.MISDIRECTED]
    assert set(TABLE[Situation.MISDIRECTED]) == {Verdict.ONCE}


def test_stages_are_ranked_in_the_order_they_are_passed():
    """A later stage has a higher rank, so that the furthest failure can be found."""
    ranks = [stage.rank for stage in (*FAILING, Stage.DONE)]

    assert ranks == list(range(len(Stage)))


def test_stages_have_their_names():
    """They are what attempts, logs and pickles say, as text on every version of Python."""
    names = [
        "queue",
        "resolve",
        "connect",
        "tunnel",
        "handshake",
        "confirm",
        "request",
        "body",
        "status",
        "done",
    ]

    assert [str(stage) for stage in Stage] == [f"{stage}" for stage in Stage] == names
    assert [Stage(name) for name in names] == list(Stage)


def expected_situation(stage, cause, reused, spent):
    """Return the row by the rules at the top of the module, in words of the test's own."""
    if cause in NEVER_HEALS:
        return Situation.FATAL
    if spent:
        return Situation.SPENT
    if stage is Stage.STATUS:
        return {Cause.MISDIRECTED: Situation.MISDIRECTED}.get(cause, Situation.STATUS)
    late = {Stage.REQUEST: (Situation.REQUEST, Situation.REUSED)[reused], Stage.BODY: Situation.BODY}
    return late.get(stage, Situation.EARLY)


@pytest.mark.parametrize("stage", FAILING)
def test_the_row_follows_from_the_record(stage):
    """Stage, cause, reuse and a spent body choose the row, in every combination."""
    cases = list(itertools.product(Cause, (False, True), (False, True)))
    rows = [Failure(stage, cause, reused, spent).situation for cause, reused, spent in cases]

    assert rows == [expected_situation(stage, *case) for case in cases]


@pytest.mark.parametrize(
    ("failure", "row"),
    [
        (Failure(Stage.CONNECT, Cause.REFUSED), Situation.EARLY),
        (Failure(Stage.HANDSHAKE, Cause.RESET), Situation.EARLY),
        (Failure(Stage.HANDSHAKE, Cause.CERTIFICATE), Situation.FATAL),
        (Failure(Stage.TUNNEL, Cause.DENIED), Situation.FATAL),
        (Failure(Stage.REQUEST, Cause.CERTIFICATE, spent=True), Situation.FATAL),
        (Failure(Stage.REQUEST, Cause.RESET), Situation.REQUEST),
        (Failure(Stage.REQUEST, Cause.TLS), Situation.REQUEST),
        (Failure(Stage.REQUEST, Cause.TIMEOUT, reused=True), Situation.REUSED),
        (Failure(Stage.REQUEST, Cause.RESET, reused=True, spent=True), Situation.SPENT),
        (Failure(Stage.BODY, Cause.RESET, reused=True), Situation.BODY),
        (Failure(Stage.STATUS, Cause.STATUS, status=503), Situation.STATUS),
        (Failure(Stage.STATUS, Cause.MISDIRECTED, status=421), Situation.MISDIRECTED),
        (Failure(Stage.STATUS, Cause.MISDIRECTED, spent=True, status=421), Situation.SPENT),
    ],
)
def test_rows_by_example(failure, row):
    """The control of the rules above: the same, spelled out case by case."""
    assert failure.situation is row


def test_the_same_error_at_another_stage_is_another_row():
    """The row comes from what the wire recorded and not from the exception."""
    cause = classify(RemoteDisconnected("Remote end closed connection without response"))
    rows = [Failure(stage, cause).situation for stage in (Stage.CONFIRM, Stage.REQUEST, Stage.BODY)]

    assert rows == [Situation.EARLY, Situation.REQUEST, Situation.BODY]


@pytest.mark.parametrize("method", sorted(IDEMPOTENT))
@pytest.mark.parametrize("opted_in", [False, True])
def test_idempotent_methods_have_a_column_of_their_own(method, opted_in):
    """Whether the caller opted in makes no difference to them, nor does the case of their letters."""
    assert column(method, IDEMPOTENT, opted_in) is Column.IDEMPOTENT
    assert column(method.lower(), None, opted_in) is Column.IDEMPOTENT


def test_the_idempotent_methods_are_those_of_the_standards():
    """RFC 9110 section 9.2.2, and QUERY by RFC 10008; POST and PATCH are none of them."""
    assert sorted(IDEMPOTENT) == ["DELETE", "GET", "HEAD", "OPTIONS", "PUT", "QUERY", "TRACE"]


@pytest.mark.parametrize("method", ["POST", "patch", "LOCK", ""])
@pytest.mark.parametrize(
    ("allowed", "opted_in", "expected"),
    [
        (IDEMPOTENT, False, Column.UNSAFE),
        (IDEMPOTENT, True, Column.OPTED_IN),
        (None, False, Column.OPTED_IN),
        ({"POST", "PATCH", "LOCK", ""}, False, Column.OPTED_IN),
        (set(), False, Column.UNSAFE),
        (set(), True, Column.OPTED_IN),
    ],
)
def test_other_methods_are_unsafe_until_opted_in(method, allowed, opted_in, expected):
    """By the policy, by a list that names them, or by a list of everything."""
    assert column(method, allowed, opted_in) is expected


def test_an_idempotent_method_can_be_taken_off_the_list():
    """A list without GET makes GET unsafe, as urllib3's `allowed_methods` does."""
    assert column("GET", {"HEAD"}, False) is Column.UNSAFE
    assert column("GET", {"HEAD"}, True) is Column.OPTED_IN


def test_what_happened_is_frozen():
    """A failure that was recorded stays as it was."""
    failure = Failure(Stage.BODY, Cause.RESET)

    with pytest.raises(FrozenInstanceError):
        failure.stage = Stage.CONNECT
    assert failure == Failure(
        Stage.BODY, Cause.RESET, reused=False, spent=False, status=None, retry_after=None
    )
