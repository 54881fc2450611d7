"""What is raised: it pickles, it carries its past, and it keeps secrets."""

import copy
import pickle
import sys
import traceback

import pytest
import requests

from resilient_transport import DeadlineExceeded, attempts_of
from resilient_transport.call.outcome import with_attempts
from resilient_transport.exceptions import add_note
from tests.events.test_events import ANSWERED, FAILED

SECRET = "Bearer 8f14e45fceea167a"


def prepared():
    """Return a request with a secret in it."""
    return requests.Request("GET", "https://localhost/", headers={"Authorization": SECRET}).prepare()


def overdue():
    """Return the exception as a call raises it."""
    error = DeadlineExceeded("too late", request=prepared())
    error.__cause__ = requests.ConnectionError("reset")
    return with_attempts(error, [FAILED, ANSWERED])


def test_a_deadline_is_a_time_out_of_requests():
    """Who catches those catches this."""
    assert issubclass(DeadlineExceeded, requests.exceptions.Timeout)
    assert issubclass(DeadlineExceeded, requests.exceptions.RequestException)
    assert overdue().request.headers["Authorization"] == SECRET


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_pickles_with_its_attempts(protocol):
    """Type, message, attempts and note arrive in the other process."""
    error = pickle.loads(pickle.dumps(overdue(), protocol))

    assert type(error) is DeadlineExceeded
    assert (str(error), error.args) == ("too late", ("too late",))
    assert attempts_of(error) == (FAILED, ANSWERED)
    assert error.__notes__ == overdue().__notes__
    assert (error.request, error.response) == (None, None)


def test_its_pickle_holds_no_header():
    """The request stays behind, and with it what it says to the server; so does a response."""
    error = overdue()
    error.response = requests.Response()
    error.response.headers["Set-Cookie"] = SECRET

    assert SECRET.encode() not in pickle.dumps(error)


def test_a_pickle_of_requests_holds_headers():
    """The control: the same in an exception of requests' own is found in the bytes."""
    error = requests.exceptions.Timeout("too late", request=prepared())

    assert SECRET.encode() in pickle.dumps(error)


def test_it_can_be_copied():
    """`copy` goes the way of pickle."""
    error = copy.copy(overdue())

    assert str(error) == "too late"
    assert attempts_of(error) == (FAILED, ANSWERED)


def test_notes_are_added_in_their_order():
    """On every version of Python they are where PEP 678 puts them."""
    error = ValueError("x")
    add_note(error, "first")
    add_note(error, "second")

    assert error.__notes__ == ["first", "second"]


def test_a_note_leaves_those_of_others():
    """What `BaseException.add_note` or anybody else has added stays, also in the list they hold."""
    error = ValueError("x")
    error.__notes__ = theirs = ["theirs"]
    add_note(error, "ours")

    assert error.__notes__ == ["theirs", "ours"]
    assert theirs == ["theirs"]


@pytest.mark.skipif(sys.version_info < (3, 11), reason="Python 3.10 prints no notes")
def test_a_note_is_printed_with_the_traceback():
    """PEP 678: what was tried stands below the error."""
    error = ValueError("x")
    add_note(error, "3 attempts")

    assert traceback.format_exception(error)[-1] == "3 attempts\n"
