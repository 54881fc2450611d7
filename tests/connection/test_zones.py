"""Addresses that need a zone, which a resolver tells beside them, or a proxy's URL has."""

import json
import shutil
import subprocess
import sys

import pytest

from resilient_transport.settings.environment import clean_environment
from tests.connection.zoned import PREPARATION
from tests.missing import missing
from tests.programs import ROOT
from tests.timeouts import HANG_TIMEOUT


def has_namespaces():
    """Whether this process may make a network namespace with interfaces of its own."""
    if not all(map(shutil.which, ("ip", "unshare"))):
        return False
    return subprocess.run(["unshare", "--net", "sh", "-ec", PREPARATION], capture_output=True).returncode == 0


@pytest.mark.slow
def test_a_zone_is_kept():
    """By whatever way a connection is made: the first, after a reset, for the rest of a body, begun ahead."""
    if not has_namespaces():
        missing("no network namespace can be made here; root can on Linux")
    program = f"{PREPARATION}\nexec {sys.executable} -m tests.connection.zoned"
    ran = subprocess.run(
        ["unshare", "--net", "sh", "-ec", program],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
    )

    assert ran.returncode == 0, ran.stderr
    found = json.loads(ran.stdout)
    # The control: stock gets there, too.
    assert {name: said for name, said in found.items() if set(said) != {True}} == {}
    assert len(found) == 3 * 4 + 2
