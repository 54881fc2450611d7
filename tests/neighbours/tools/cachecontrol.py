"""CacheControl: it mounts an adapter of its own, which can be derived from this one, too."""

import gc

import pytest
import requests
from cachecontrol import CacheControl, CacheControlAdapter

from resilient_transport import ResilientAdapter, attempts_of, stats
from resilient_transport.testing import Fault, Moment, Rule, Script

CUT = Script((Rule(Fault(Moment.BODY, after_bytes=5), first=1),))


class Resilient(CacheControlAdapter, ResilientAdapter):
    """What a program writes for both."""


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_class_derived_from_both_heals_what_is_cached(server, trusting):
    """The body is whole before it is kept, and then it comes from the cache."""
    server.play(CUT)
    session = CacheControl(trusting(requests.Session()), adapter_class=Resilient)
    first = session.get(server.url + "/bytes/5000", headers={"Cache-Control": "max-age=60"})
    content, attempts = first.content, attempts_of(first)
    # CacheControl leaves the temporary file of a body that was cut to the garbage collector.
    del first
    gc.collect()

    assert (len(content), len(attempts)) == (5000, 2)


def test_its_own_adapter_is_left_alone(installed, resetting, trusting):
    """Under `install()`, too: it has methods of its own. `stats()` names it."""
    session = CacheControl(trusting(requests.Session()))
    with pytest.raises(requests.ConnectionError):
        session.get(resetting.url)

    assert stats().left_alone == ({"cachecontrol.adapter.CacheControlAdapter": 1} if installed.heals else {})
