"""A socket has an owner from the moment it is connected: whatever raises next, somebody closes it."""

import pytest

from tests.programs import run_python

#: Calls a server that never answers. An audit hook meets the socket that has just been connected, before the
#: connection goes on with it: it waits until the deadline is over, or it refuses.
PROGRAM = """
import gc, socket, sys, time
import requests
from resilient_transport import ResilientAdapter, RetryPolicy

kind, scheme, deed = sys.argv[1:]
server = socket.create_server(("127.0.0.1", 0))
url = f"{scheme}://127.0.0.1:{server.getsockname()[1]}/"
met = []

def hook(event, args):
    if event == "http.client.connect":
        met.append(event)
        if deed == "refuse":
            raise PermissionError("no connections today")
        while time.monotonic() < over:
            time.sleep(0.01)

sys.addaudithook(hook)
with requests.Session() as session:
    session.trust_env = False
    if kind == "ours":
        policy = RetryPolicy(retries=0, deadline=0.5 if deed == "wait" else 60)
        session.mount(f"{scheme}://", ResilientAdapter(policy=policy))
    over = time.monotonic() + 0.5
    try:
        session.get(url)
    except OSError as error:
        print(type(error).__name__, len(met))
gc.collect()
server.close()
"""


def closed(kind: str, scheme: str, deed: str) -> tuple[str, str]:
    """Run the program; return what it printed and what Python said about sockets that nobody closed."""
    ended = run_python("-X", "dev", "-W", "error::ResourceWarning", "-c", PROGRAM, kind, scheme, deed)
    return ended.stdout.strip(), ended.stderr


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_deadline_that_ends_while_connecting_leaves_no_socket(scheme):
    """The deadline may end between the connect and what follows it: the socket is closed all the same."""
    said, left = closed("ours", scheme, "wait")

    assert said == "DeadlineExceeded 1"
    assert left == ""


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_an_audit_hook_that_refuses_leaves_no_socket(scheme):
    """An audit hook may refuse a connection that is there already: the socket is closed."""
    said, left = closed("ours", scheme, "refuse")

    assert said.endswith("1")
    assert left == ""


def test_stock_leaves_a_socket_where_a_hook_refuses():
    """The control: the program sees a socket that nobody closes."""
    _, left = closed("stock", "http", "refuse")

    assert "unclosed <socket.socket" in left
