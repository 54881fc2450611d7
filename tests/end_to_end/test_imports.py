"""Nothing is imported once a call has failed: no lock of an import is there for a fork to leave behind."""

import json
from pathlib import Path

import pytest

import resilient_transport
from tests.end_to_end.failing_calls import LATE
from tests.programs import run_python

ROOT = Path(resilient_transport.__file__).parents[1]
ENDS = {
    "reset in the handshake": "ConnectionError",
    "reset after the request": "ConnectionError",
    "time-out": "ReadTimeout",
    "refused": "ConnectionError",
    "certificate": "SSLError",
    "client certificate": "ClientCertificateRejected",
    "503": "503",
    "503 with a date": "503",
    "cut body": "ChunkedEncodingError",
    "deadline": "DeadlineExceeded",
    "refused while warming": "ConnectionError",
    "reset while warming": "ConnectionError",
    "digest": "ConnectionError",
    "a stream that breaks off": "ChunkedEncodingError",
    "a POST": "ConnectionError",
    "no certificate in the file": "SSLError",
}


def failing_calls(*arguments, module="tests.end_to_end.failing_calls"):
    """Run the program; return how each call ended, and what each has imported."""
    said = json.loads(run_python("-m", module, *arguments).stdout)
    return said["ends"], said["imported"]


def test_a_failure_imports_nothing():
    """Whatever goes wrong, and however often it is repeated, every module is there before the first call."""
    ends, imported = failing_calls()

    assert ends == ENDS
    assert imported == {way: [] for way in ENDS}


def test_a_late_import_is_noticed():
    """The control: a module that is imported after each failure is found after each."""
    _, imported = failing_calls("lazy")

    assert imported == {way: [LATE] for way in ENDS}


#: A call through a SOCKS proxy that is not there, and what was imported for it.
THROUGH_SOCKS = """
import sys, requests, resilient_transport
session = requests.Session()
session.trust_env = False
resilient_transport.mount(session, max_retries=0)
before = set(sys.modules)
try:
    session.get("http://127.0.0.1:1/", proxies={"http": "socks5://127.0.0.1:1"})
except requests.RequestException as error:
    print(type(error).__name__, sorted(set(sys.modules) - before))
"""


@pytest.mark.parametrize(
    ("first", "said"),
    [("", "ConnectionError []"), ("import sys; sys.modules['socks'] = None", "InvalidSchema []")],
    ids=["with PySocks", "without"],
)
def test_a_call_through_a_socks_proxy_imports_nothing(first, said):
    """What it takes is there from the beginning; without PySocks the call is refused in stock's words."""
    ran = run_python("-c", first + THROUGH_SOCKS)

    assert ran.stdout.strip() == said


#: Whether threads wait for one another, before and after the package and its names are imported.
GIL = """
import sys
has_gil = getattr(sys, "_is_gil_enabled", lambda: True)
before = has_gil()
import resilient_transport
resilient_transport.ResilientAdapter()
print(before, has_gil())
"""


def test_no_import_turns_the_gil_on():
    """A free-threaded Python turns it on for an extension that does not say that it goes without."""
    before, after = run_python("-W", "error", "-c", GIL).stdout.split()

    assert before == after
