"""A program that imports the package, patches, and then has two green threads in the middle of a call each.

Run as `python -m tests.neighbours.late_patch FIRST URL`: FIRST is Python that patches. It writes as JSON how
many attempts each of two calls was in, how many both were in, and what the program's main thread is in.
"""

import json
import sys

import requests

from resilient_transport import mount
from resilient_transport.connection.trace import CURRENT

exec(sys.argv[1], {})

import threading  # noqa: E402

from tests.timeouts import LONG_TIMEOUT  # noqa: E402

both = threading.Barrier(2)


def call(url, said):
    """Make a call whose body comes in pieces, each when both calls are there; note the attempt it is in."""
    seen = []

    def pieces():
        for _ in range(3):
            both.wait(LONG_TIMEOUT)
            seen.append(CURRENT.value)
            yield b"piece"

    with requests.Session() as session:
        session.trust_env = False
        mount(session)
        session.post(url, data=pieces())
    said.append(set(seen))


def main():
    """Make both calls at the same time."""
    said = []
    threads = [threading.Thread(target=call, args=(sys.argv[2], said)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    print(json.dumps([*map(len, said), len(set.union(*said)), CURRENT.value]), flush=True)


main()
