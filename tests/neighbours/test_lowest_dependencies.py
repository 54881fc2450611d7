"""The lowest versions that setup.cfg allows, in an environment of their own, with a choice of the tests.

`.ci/run versions` runs all quick tests so, on each Python.
"""

import re

import pytest
from packaging.version import Version

from tests.neighbours.allowed import bounds, lowest

#: What meets the most of requests and urllib3, side by side.
CHOICE = (
    "tests/adapter/test_adapter.py",
    "tests/adapter/test_hooks.py",
    "tests/call/test_statuses.py",
    "tests/body/test_unread.py",
    "tests/body/test_buffered.py",
    "tests/connection/test_proxys_own_tls.py",
    "tests/pool/test_key.py",
)


@pytest.mark.slow
def test_the_lowest_versions_will_do(environment_of):
    """What works with the newest works with the lowest; the control: it runs with these."""
    environment = environment_of("lowest", *lowest())
    ran = environment.run("-m", "pytest", "-p", "no:cacheprovider", *CHOICE, check=False)
    head = re.search(r"^dependencies: (.*)$", ran.stdout, re.MULTILINE)

    assert ran.returncode == 0, ran.stdout
    assert versions(head[1].replace(" ", "==").split(",==")) == versions(lowest())


def versions(pinned):
    """Return the versions of packages by name."""
    return {name: Version(version) for name, version in (each.split("==") for each in pinned)}


def test_a_dependency_without_a_bound_is_noticed():
    """The control: nobody can tell what the lowest version of such a one is."""
    with pytest.raises(ValueError, match="certifi: it needs a lower bound"):
        bounds(["requests >= 2.32.2", "certifi"])


def test_bounds_are_read():
    """An upper bound changes nothing, nor do spaces."""
    assert bounds(["urllib3 >= 2, < 3", "backoff>=2.2"]) == [("urllib3", "2"), ("backoff", "2.2")]
