"""niquests brings urllib3-future, which takes urllib3's place, or stands beside it if it is told so."""

import pytest

from tests.neighbours.test_green_threads import calls
from tests.plain_server import plain_server

IN_ITS_PLACE = """
import sys
import requests

try:
    import resilient_transport
except ImportError as error:
    print(error)
print(sorted(name for name in sys.modules if name.startswith("resilient_transport.") and ".util" not in name))
print(requests.get(sys.argv[1]).status_code)
"""


@pytest.mark.slow
def test_urllib3_future_in_its_place_is_refused_at_import(environment_of):
    """The error names the cure; nothing of the package stays behind, and requests goes on."""
    environment = environment_of("niquests", "niquests")
    with plain_server() as url:
        said = environment.run("-c", IN_ITS_PLACE, url).stdout.splitlines()

    assert "urllib3-future" in said[0]
    assert "URLLIB3_NO_OVERRIDE=1 pip install" in said[0]
    assert said[1:] == ["[]", "200"]


@pytest.mark.slow
def test_niquests_may_stand_beside(environment_of, server):
    """Installed as that error says, urllib3 is urllib3: both work in one process."""
    environment = environment_of(
        "niquests-beside", "--no-cache-dir", "--no-binary", "urllib3-future", "niquests",
        URLLIB3_NO_OVERRIDE="1",
    )  # fmt: skip
    # niquests has no say over the calls of requests, but is imported before them, and has called.
    first = f"import niquests; assert niquests.get({server.url!r}, verify={server.authority.ca_file!r}, "
    first += f"cert={server.authority.client!r}).status_code == 200"

    assert calls(environment, first, "ours", server)[:3] == ["alice"] * 3
