"""`docs/shared_limits.md` is true: its example runs, and its numbers are the code's."""

import re
from pathlib import Path

import pytest

import resilient_transport.redis
from resilient_transport.redis import RedisLimits
from resilient_transport.redis.presence import FIRST_PAUSE, LONGEST_PAUSE
from resilient_transport.redis.shared_quota import GATHERED
from resilient_transport.redis.store import CONNECTIONS, LOOK, REMEMBERED
from resilient_transport.retry.budget import CAPACITY, RETRY_COST, TIMEOUT_COST
from tests.examples import examples_of, run_example

PAGE = (Path(__file__).parents[2] / "docs" / "shared_limits.md").read_text(encoding="utf-8")
WORDS = " ".join(PAGE.split())


def test_the_example_runs(server):
    """It makes a session, and asks no Redis for anything."""
    (example,) = examples_of("docs/shared_limits.md")
    made = run_example(example, server)

    assert made["session"].get_adapter("https://api.example").max_retries is not None
    assert len(resilient_transport.redis._stores) == 0


def test_the_settings_are_all_there():
    """With their defaults."""
    told = re.findall(r"^\| `(\w+)` \| (\S*) ?\|", PAGE, re.MULTILINE)
    limits = RedisLimits("redis://localhost")

    assert [name for name, _ in told] == list(limits._shape.names)
    assert dict(told[1:]) == {"prefix": f"`{limits.prefix}`", "timeout": str(limits.timeout)}


@pytest.mark.parametrize(
    "words",
    [
        f"one bucket of {CAPACITY} tokens",
        f"A repetition costs {RETRY_COST} of them, {TIMEOUT_COST} after a time-out",
        f"at most {CAPACITY} / {RETRY_COST} = {CAPACITY // RETRY_COST} requests more",
        f"paid back for an hour is forgotten{'' if REMEMBERED == 3600 else '?'}",
        f"given back once a second at the most{'' if GATHERED == 1 else '?'}",
        f"seen last for up to a second{'' if LOOK == 1 else '?'}",
        f"has {'two' if CONNECTIONS == 2 else CONNECTIONS} connections to Redis at the most",
        f"after about a second, then after twice as long{'' if FIRST_PAUSE == 1 else '?'}",
        f"up to half a minute{'' if LONGEST_PAUSE == 30 else '?'}",
    ],
)
def test_numbers(words):
    """A number on the page is the one in the code."""
    assert words in WORDS
