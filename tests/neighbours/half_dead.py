"""A program that calls a name of whose two addresses one answers nobody, while another thread counts.

Run as `python -m tests.neighbours.half_dead FIRST`: FIRST is Python that is run before all else. It writes as
JSON, for each of two calls, what came, where from, and how far the other thread has counted meanwhile.
"""

import json
import sys

exec(sys.argv[1], {})

import socket  # noqa: E402
import threading  # noqa: E402
import time  # noqa: E402
from contextlib import ExitStack  # noqa: E402

import requests  # noqa: E402

from resilient_transport import attempts_of, mount  # noqa: E402
from tests.loopback import full_queue  # noqa: E402
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT  # noqa: E402

counted = 0


def serve(listener):
    """Answer requests, each on a connection of its own."""
    while True:
        with listener.accept()[0] as client:
            client.recv(65536)
            client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")


def count():
    """Count, with pauses in which others may run."""
    global counted
    while True:
        counted += 1
        time.sleep(0.005)


def main():
    """Make the calls."""
    real, said = socket.getaddrinfo, []

    def resolve(host, *args, **kwargs):
        found = ("127.0.0.2", "127.0.0.1") if host == "half.test" else (host,)
        return [one for at in found for one in real(at, *args, **kwargs)]

    socket.getaddrinfo = resolve
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        full_queue(socket.AF_INET, stack, SHORT_TIMEOUT, "127.0.0.2", port)
        for work in (lambda: serve(listener), count):
            threading.Thread(target=work, daemon=True).start()
        session = stack.enter_context(requests.Session())
        session.trust_env = False
        mount(session)
        for _ in range(2):
            before = counted
            response = session.get(f"http://half.test:{port}/", timeout=LONG_TIMEOUT)
            where = attempts_of(response)[-1].address.partition(":")[0]
            said.append([response.text, where, counted - before])
        print(json.dumps(said), flush=True)


main()
