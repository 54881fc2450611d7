"""tblib, cloudpickle and dask carry exceptions into other processes, with what they came from."""

import json

import pytest

from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.programs import run_python

FAULTS = {
    "reset": Fault(Moment.EXECUTED),
    "handshake": Fault(Moment.HANDSHAKE),
    "alert": Fault(Moment.HANDSHAKE, How.ALERT, seconds=0),
    "cut": Fault(Moment.BODY, after_bytes=3),
    "silent": Fault(Moment.EXECUTED, How.STALL),
}
PROGRAM = """
import json, pickle, sys
import cloudpickle, tblib.pickling_support
import requests
from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of, override
from requests.adapters import HTTPAdapter

how, url, ca, cert, key = sys.argv[1:]
SECRET = "8f14e45fceea167a"


def failed(adapter):
    with requests.Session() as session:
        session.trust_env = False
        session.verify, session.cert = ca, (cert, key)
        session.mount("https://", adapter)
        try:
            with override(deadline=0.3 if how == "silent" else None):
                session.get(url + "/words/9?token=" + SECRET, headers={"Authorization": SECRET}, timeout=2)
        except requests.RequestException as error:
            return error


def carried(dump):
    error = failed(ResilientAdapter(policy=RetryPolicy(retries=1, backoff=0)))
    headers = error.request and dict(error.request.headers)
    data = dump(error)
    there = pickle.loads(data)
    again = pickle.loads(dump(there))
    kept = error.request is None or error.request.headers["Authorization"] == SECRET
    same = type(there) is type(again) is type(error) and attempts_of(again) == attempts_of(error) != ()
    return [SECRET.encode() in data, same, kept, there.request is None]


said = [carried(cloudpickle.dumps)]
tblib.pickling_support.install()
said.append(carried(pickle.dumps))
stock = failed(HTTPAdapter())
said.append(SECRET.encode() in pickle.dumps(stock))
print(json.dumps(said))
"""
DASK = """
import json, sys

import dask
import requests

from resilient_transport import RetryPolicy, attempts_of, mount

SECRET = "8f14e45fceea167a"


def call(url, ca, cert, key):
    session = requests.Session()
    session.trust_env = False
    session.verify, session.cert = ca, (cert, key)
    mount(session, policy=RetryPolicy(retries=1, backoff=0))
    return session.get(url + "/words/9?token=" + SECRET, headers={"Authorization": SECRET}).text


if __name__ == "__main__":
    try:
        dask.compute(dask.delayed(call)(*sys.argv[1:]), scheduler="processes", num_workers=1)
    except requests.ConnectionError as error:
        secret = SECRET in repr(vars(error)) + str(error)
        print(json.dumps([type(error).__name__, len(attempts_of(error)), secret]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("how", FAULTS)
def test_errors_cross_with_their_attempts(how, server):
    """Type and attempts arrive, and again when they are sent on; header and query stay behind."""
    server.play(Script((Rule(FAULTS[how], on_request=None if how != "handshake" and how != "alert" else 1),)))
    certificates = server.authority.ca_file, *server.authority.client
    ran = run_python("-W", "ignore", "-c", PROGRAM, how, server.url, *certificates)
    plain, with_tblib, stock = json.loads(ran.stdout)

    assert plain == with_tblib == [False, True, True, True]
    # The control: stock's exceptions carry the request, where they know of one.
    assert stock is (how != "cut")


@pytest.mark.slow
def test_dask_hands_them_on(server, tmp_path):
    """A task that fails in another process fails here with the same exception and its attempts."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), on_request=None),)))
    program = tmp_path / "task.py"
    program.write_text(DASK)
    certificates = server.authority.ca_file, *server.authority.client
    ran = run_python("-W", "ignore", str(program), server.url, *certificates)

    assert json.loads(ran.stdout) == ["ConnectionError", 2, False]
