"""requests-cache: a session that keeps whole responses, and asks its adapter for those that it has not."""

import pickle

import pytest
import requests
import requests_cache

from resilient_transport import attempts_of
from tests.programs import run_python

#: The cache is in force before this package is imported.
EARLIER = """
import sys
import requests_cache

requests_cache.install_cache(backend="memory")
import requests
import resilient_transport
from resilient_transport import attempts_of

with resilient_transport.install():
    for _ in range(2):
        answer = requests.get(sys.argv[1] + "/words/3", verify=sys.argv[2], cert=(sys.argv[3], sys.argv[4]))
        print(answer.from_cache, answer.text, len(attempts_of(answer)))
"""


@pytest.mark.parametrize("backend", ["memory", "sqlite"])
def test_what_came_after_a_reset_is_kept(backend, way, resetting, trusting, tmp_path):
    """The answer is kept once it is whole. What came from the cache has no attempts: nothing was sent."""
    session = trusting(requests_cache.CachedSession(str(tmp_path / "cache"), backend=backend))
    way.prepare(session)
    with way.survives():
        answers = [session.get(resetting.url + "/words/3") for _ in range(2)]
        assert [answer.from_cache for answer in answers] == [False, True]
        assert [len(attempts_of(answer)) for answer in answers] == [2, 0]
        assert {answer.text for answer in answers} == {"reset again whole"}
        assert pickle.loads(pickle.dumps(answers[1])).text == "reset again whole"

    assert resetting.counts().accepts == 1 + way.heals


def test_install_cache_and_install_go_together(installed, resetting):
    """`requests_cache.enabled` replaces `requests.Session`; its sessions get the transport all the same."""
    files = {"verify": resetting.authority.ca_file, "cert": resetting.authority.client}
    with requests_cache.enabled(backend="memory"), installed.survives():
        answers = [requests.get(resetting.url + "/words/3", **files) for _ in range(2)]
        assert [answer.from_cache for answer in answers] == [False, True]

    assert resetting.counts().accepts == 1 + installed.heals


def test_the_cache_may_have_been_installed_before(resetting):
    """`requests.Session` is the cache's, then, by the time that this package looks at it."""
    files = resetting.authority.ca_file, *resetting.authority.client
    said = run_python("-c", EARLIER, resetting.url, *files).stdout.splitlines()

    assert said == ["False reset again whole 2", "True reset again whole 0"]
