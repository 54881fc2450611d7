"""Forks at any moment, beside threads in the midst of calls; and workers of the standard library's pools."""

import json
import os
import signal

import pytest

from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.programs import run_python

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork"),
]

FORKS = 12
STATES = {
    "building": Script(),
    "at_the_gate": Script((Rule(Fault(Moment.CLIENT_HELLO), probability=0.3),), handshake_delay=0.01),
    "uploading": Script(),
    "keeping_books": Script(),
    "resuming": Script((Rule(Fault(Moment.BODY, after_bytes=2000), probability=0.5),)),
}


def forked(server, forks, *states):
    """Run the program that forks; return what it says, and what it has written besides."""
    certificates = server.authority.ca_file, *server.authority.client
    program = "-W", "ignore", "-m", "tests.end_to_end.forking", server.url, *certificates
    ran = run_python(*program, str(forks), *states, measured=False)
    return json.loads(ran.stdout), ran.stderr


@pytest.mark.parametrize("state", STATES)
def test_forks_beside_busy_threads(server, state):
    """60 in all: no child hangs or fails, and no thread of the parent does."""
    server.play(STATES[state])
    said, besides = forked(server, FORKS, state)
    ended, met, calls, hung = said[state]

    assert (ended, met, hung, besides) == ({"0": FORKS}, [], 0, "")
    assert calls > FORKS


def test_forks_without_renewals(server):
    """The control: where nothing is made anew, a child waits for a lock whose holder is gone."""
    server.play(Script())
    said, _ = forked(server, 2, "inherit", "keeping_books")

    assert said["keeping_books"][0] == {str(int(signal.SIGALRM)): 2}


def test_pools_of_processes(server):
    """Each kind of pool has its calls answered, in each process that it begins."""
    server.play(STATES["resuming"])
    certificates = server.authority.ca_file, *server.authority.client
    ran = run_python(
        "-W", "ignore", "-m", "tests.end_to_end.pools", server.url, *certificates, measured=False
    )
    said = json.loads(ran.stdout)

    assert {kind: ended for kind, (_, ended) in said.items()} == dict.fromkeys(
        ("fork", "spawn", "forkserver", "Pool"), {"200": 12}
    )
    assert all(processes > 0 for processes, _ in said.values())
    assert said["Pool"][0] > 2
    assert ran.stderr == ""
