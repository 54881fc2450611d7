"""Keep-alive hygiene: a server's word is obeyed, and what cannot go twice is careful."""

import pytest

from resilient_transport import attempts_of
from tests.end_to_end.verbatim_server import FIN, KEEP, Answer, VerbatimServer, told
from tests.end_to_end.ways import most_at_once

BODY = b"word"


def answer(keep_alive=None, then=KEEP):
    """A response that says how long the connection is kept, and how it goes on."""
    fields = {"Content_Length": str(len(BODY))}
    if keep_alive is not None:
        fields["Keep_Alive"] = keep_alive
    return Answer(told("200 OK", BODY, **fields), then)


@pytest.fixture
def tell():
    """Return a function that starts a server with the same answer to everything, or with several."""
    started = []

    def start(*answers, **values):
        given = iter(answers)
        last = answers[-1] if answers else answer(**values)
        started.append(VerbatimServer(lambda _: next(given, last)))
        return started[-1].__enter__()

    yield start
    for each in started:
        each.__exit__(None, None, None)


def call(session, server, method="GET"):
    """Whether a call took a connection that was there."""
    response = session.request(method, server.url, data=b"x" if method == "POST" else None)
    assert response.content == BODY
    return attempts_of(response)[-1].reused


@pytest.mark.parametrize(
    ("field", "later", "reused"),
    [
        (None, 50, True),
        ("timeout=5", 3.9, True),
        ("timeout=5", 4.1, False),
        ("timeout=5, max=100", 4.1, False),
        ('timeout="5"', 3.9, True),
        ('timeout="5"', 4.1, False),
        ("TIMEOUT = 5", 4.1, False),
        ("max=7; timeout=5", 4.1, False),
        ("timeout=1", 0, False),
        ("timeout=0", 0, False),
        ("timeout=600", 50, True),
        ("timeout=600", 60, False),
        ("idle-timeout=5", 50, True),
        ("nonsense", 50, True),
        ("", 50, True),
    ],
)
def test_the_servers_time_is_obeyed(tell, dial, server, clock, field, later, reused):
    """A second before its time is over the connection is not used any more; its word makes ours no longer."""
    verbatim, session = tell(keep_alive=field), dial(server)
    call(session, verbatim)
    clock.ahead += later

    assert call(session, verbatim) == reused
    assert verbatim.accepts == 1 + (not reused)


@pytest.mark.parametrize(
    ("field", "accepts"), [(None, 1), ("max=100", 1), ("max=1", 3), ("max=0", 6), ('timeout=5, max="1"', 3)]
)
def test_the_servers_number_is_obeyed(tell, dial, server, field, accepts):
    """`max` requests more are sent on a connection, and then a new one is made."""
    verbatim, session = tell(*[answer(keep_alive=field)] * 6), dial(server)
    if field and field != "max=0" and accepts == 3:
        # As servers do: it counts down, and says nothing once it is used up.
        left = answer(keep_alive=field), answer()
        verbatim.answers = lambda _: left[(len(verbatim.heads) - 1) % 2]
    for _ in range(6):
        call(session, verbatim)

    assert verbatim.accepts == accepts


def test_a_number_that_is_said_once_is_counted_down(tell, dial, server):
    """A server that says `max=2` with the first response only means two more."""
    verbatim, session = tell(answer(keep_alive="max=2"), answer()), dial(server)
    reused = [call(session, verbatim) for _ in range(4)]

    assert reused == [False, True, True, False]


def test_the_latest_word_counts(tell, dial, server, clock):
    """A longer time takes the place of a shorter one, on the same connection."""
    verbatim = tell(answer(keep_alive="timeout=5"), answer(keep_alive="timeout=50"))
    session = dial(server)
    call(session, verbatim)
    seen = []
    for later in (3, 40, 50):
        clock.ahead += later
        seen.append(call(session, verbatim))

    assert seen == [True, True, False]


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
@pytest.mark.parametrize("later", [0, 0.9, 1.1, 50])
def test_what_may_be_repeated_takes_any(tell, dial, server, clock, method, later):
    """A replayable request risks nothing on a connection that was idle for long."""
    verbatim, session = tell(), dial(server)
    call(session, verbatim)
    clock.ahead += later

    assert call(session, verbatim, method)
    assert verbatim.accepts == 1


@pytest.mark.parametrize("method", ["POST", "PATCH"])
@pytest.mark.parametrize(
    ("field", "later", "reused"),
    [
        (None, 0, True),
        (None, 0.9, True),
        (None, 1.1, False),
        ("timeout=60", 29, True),
        ("timeout=60", 31, False),
        ("timeout=3", 0.9, True),
        ("timeout=3", 1.6, False),
        ("max=50", 0.9, True),
        ("max=50", 1.1, False),
    ],
)
def test_what_may_not_takes_a_fresh_one(tell, dial, server, clock, method, field, later, reused):
    """Used within 1 s where nothing is known, or within half of what the server has told."""
    verbatim, session = tell(keep_alive=field), dial(server)
    call(session, verbatim)
    clock.ahead += later

    assert call(session, verbatim, method) == reused
    assert verbatim.accepts == 1 + (not reused)


def test_opted_in_it_takes_any(tell, dial, server, clock, environment):
    """The control: a POST that may be repeated is as bold as a GET."""
    environment(retry_non_idempotent=True)
    verbatim, session = tell(), dial(server)
    call(session, verbatim)
    clock.ahead += 50

    assert call(session, verbatim, "POST")


def test_the_older_one_stays_for_who_may(tell, dial, server, clock):
    """A POST that makes a connection of its own leaves the idle one to the next GET."""
    verbatim, session = tell(), dial(server)
    call(session, verbatim)
    clock.ahead += 10
    with session.post(verbatim.url, data=b"x", stream=True):
        assert call(session, verbatim)

    assert verbatim.accepts == 2


def test_a_new_one_is_confirmed(server, dial, clock):
    """Over TLS a POST waits for the server's word on the new connection, and is not sent into doubt."""
    from resilient_transport.testing import Fault, Moment, Rule, Script

    server.play(Script())
    session = dial(server)
    session.get(server.url)
    clock.ahead += 10
    server.play(Script((Rule(Fault(Moment.HANDSHAKE), first=1),)))
    response = session.post(server.url + "/echo", data=b"x", headers={"X-Request-Id": "one"})

    assert [attempt.stage for attempt in attempts_of(response)] == ["confirm", "done"]
    assert server.counts().executions == {"one": 1}


def test_idle_timeout_of_nothing(tell, dial, server):
    """No connection is kept."""
    verbatim, session = tell(), dial(server, idle_timeout=0)
    reused = [call(session, verbatim) for _ in range(3)]

    assert reused == [False] * 3
    assert verbatim.accepts == 3


@pytest.mark.parametrize("name", ["idle_timeout", "max_age"])
def test_two_adapters_share_what_suits_them(tell, dial, server, clock, name):
    """One that wants 20 s makes its own connection after 30 s; one that wants 50 s takes what is there."""
    verbatim = tell()
    strict, patient = dial(server, **{name: 20}), dial(server, **{name: 50})
    call(strict, verbatim)
    shared = call(patient, verbatim)
    clock.ahead += 30
    with patient.get(verbatim.url, stream=True) as held:
        reused = attempts_of(held)[-1].reused, call(strict, verbatim)

    assert shared
    assert reused == (True, False)
    assert verbatim.accepts == 2


@pytest.mark.parametrize("name", ["idle_timeout", "max_age"])
def test_one_alone_makes_its_own(tell, dial, server, clock, name):
    """The stricter adapter never takes one that is too old for it, and the other still may."""
    verbatim = tell()
    strict, patient = dial(server, **{name: 20}), dial(server, **{name: 50})
    call(patient, verbatim)
    clock.ahead += 30
    reused = [call(strict, verbatim), call(patient, verbatim)]

    assert reused == [False, True]
    assert verbatim.accepts == 2


@pytest.mark.parametrize("order", [(2, 5), (5, 2)])
def test_the_most_careful_of_two_counts(server, dial, order):
    """Of two adapters' numbers of handshakes, the smaller holds for the server that both call."""
    from resilient_transport.testing import Script

    server.play(Script())
    sessions = [dial(server, handshakes=number) for number in order]
    for session in sessions:
        session.get(server.url)

    assert most_at_once(server, sessions[0], 2) == 2


def test_a_server_that_closes_says_so(tell, dial, server):
    """The control: after a response that ends the connection, none is reused."""
    verbatim, session = tell(then=FIN), dial(server)

    assert [call(session, verbatim) for _ in range(2)] == [False, False]


def test_half_of_what_the_server_has_told(server, dial, clock):
    """A server that keeps connections for 3 s has told 3 s: a POST takes one that was used 1.4 s ago."""
    answer = Answer(told("200 OK", b"", Content_Length="0", Keep_Alive="timeout=3"))
    with VerbatimServer(lambda _: answer) as verbatim, dial(server) as session:
        session.get(verbatim.url)
        clock.ahead += 1.4
        reused = attempts_of(session.post(verbatim.url, data=b"x"))[-1].reused

    assert reused
