"""freezegun and time-machine, before the package or around it, with time standing still or going on."""

import json

import pytest

from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.programs import run_python

FROZEN = {
    "freezegun": "import freezegun; frozen = freezegun.freeze_time('2021-01-01', tick={tick})",
    "time_machine": "import time_machine; frozen = time_machine.travel('2021-01-01', tick={tick})",
}
PROGRAM = """
import json, sys

{tool}
if {inside}:
    frozen.start()
import requests
import resilient_transport
from resilient_transport import attempts_of, mount, override

if not {inside}:
    frozen.start()
url, ca, cert, key = sys.argv[1:]
session = requests.Session()
session.trust_env = False
session.verify, session.cert = ca, (cert, key)
mount(session)
attempts = [attempts_of(session.get(url + "/words/1")), attempts_of(session.get(url + "/status/503"))]
said = [[attempt.status for attempt in made] for made in attempts]
try:
    with override(deadline=0.3):
        session.get(url + "/slow/30")
except requests.RequestException as error:
    said.append(type(error).__name__)
    attempts.append(attempts_of(error))
seconds = [attempt.seconds for made in attempts for attempt in made]
pauses = [attempt.delay or 0.0 for made in attempts for attempt in made]
print(json.dumps([said, min(seconds), max(seconds), min(pauses), max(pauses)]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("tick", [True, False], ids=["ticking", "standing"])
@pytest.mark.parametrize("inside", [True, False], ids=["inside", "before"])
@pytest.mark.parametrize("name", FROZEN)
def test_time_that_stands_still_changes_nothing(name, inside, tick, server):
    """Resets are repeated, pauses keep to their caps, a deadline ends a call, and no time is negative."""
    server.play(Script((Rule(Fault(Moment.HANDSHAKE), first=2),)))
    program = PROGRAM.format(tool=FROZEN[name].format(tick=tick), inside=inside)
    certificates = server.authority.ca_file, *server.authority.client
    said = json.loads(run_python("-W", "ignore", "-c", program, server.url, *certificates).stdout)
    [first, busy, late], shortest, longest, least, most = said

    assert first == [None, None, 200]
    assert busy == [503] * 6
    assert late == "DeadlineExceeded"
    assert 0 <= shortest <= longest < 60
    assert 0 <= least <= most <= 2
