"""One of several processes that share limits. It does what each line of standard input says, and tells of it.

    {"do": "begin", "shared": "redis://..." or null, "prefix": "...", "breaker": {...} or null}
    {"do": "get", "url": "http://...", "calls": 60, "threads": 8}

It makes as many calls as it is told, and answers with what came of them: how many attempts they took, each
status and type of exception, why they ended, and the events that tell of shared limits and circuits.
"""

import collections
import json
import sys
from concurrent.futures import ThreadPoolExecutor

import requests

import resilient_transport.redis
from resilient_transport import Breaker, ResilientAdapter, RetryPolicy, attempts_of, events, registry
from resilient_transport.call import origin_state
from resilient_transport.redis import RedisLimits
from tests.timeouts import LONG_TIMEOUT

TOLD = (
    events.SharedLimitsLost,
    events.SharedLimitsFound,
    events.CircuitOpened,
    events.CircuitClosed,
)


class Worker:
    """A process that makes calls."""

    def __init__(self):
        self.session = requests.Session()
        self.events = []
        events.subscribe(lambda event: self.events.append(event) if isinstance(event, TOLD) else None)

    def begin(self, shared, prefix, breaker, retries=5, timeout=LONG_TIMEOUT):
        """Forget all, and make calls by these settings from now on."""
        registry.clear()
        origin_state.clear()
        resilient_transport.redis.clear()
        self.events.clear()
        self.session = requests.Session()
        self.session.trust_env = False
        policy = RetryPolicy(
            retries=retries,
            backoff=0.001,
            backoff_max=0.001,
            breaker=breaker and Breaker(**breaker),
            shared=shared and RedisLimits(shared, prefix, timeout),
        )
        self.session.mount("http://", ResilientAdapter(policy=policy, pool_maxsize=16))
        return "ready"

    def get(self, url, calls, threads=1):
        """Make calls; return what came of them."""

        def one(_):
            try:
                response = self.session.get(url, timeout=LONG_TIMEOUT)
            except requests.RequestException as error:
                return type(error).__name__, attempts_of(error), str(error)
            return str(response.status_code), attempts_of(response), ""

        with ThreadPoolExecutor(threads) as pool:
            outcomes = list(pool.map(one, range(calls)))
        told, self.events[:] = [type(event).__name__ for event in self.events], []
        return {
            "attempts": sum(len(attempts) for _, attempts, _ in outcomes),
            "outcomes": collections.Counter(outcome for outcome, _, _ in outcomes),
            "why": sorted({attempts[-1].decision for _, attempts, _ in outcomes if attempts}),
            "said": sorted({said for _, _, said in outcomes if said}),
            "events": told,
        }


def main():
    """Do what each line says."""
    worker = Worker()
    for line in sys.stdin:
        command = json.loads(line)
        print(json.dumps(getattr(worker, command.pop("do"))(**command)), flush=True)


if __name__ == "__main__":
    main()
