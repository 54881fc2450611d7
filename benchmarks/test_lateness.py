"""How late calls end that never would by themselves: stalled, dripping and silent peers of every kind."""

import pytest

from benchmarks.lateness import TIMES, Lateness, said
from resilient_transport import DeadlineExceeded, registry
from resilient_transport.call import origin_state
from tests.end_to_end.slow_calls import CASES, STREAMS, lateness

#: Seconds after the deadline, on a machine that has nothing else to do.
CLAIM = 0.05
CALLS = [(name, "policy", case) for name, case in (CASES | STREAMS).items()]
CALLS += [(name, "override", case) for name, case in CASES.items()]


@pytest.mark.parametrize(("name", "way", "case"), CALLS, ids=[f"{name}-{way}" for name, way, _ in CALLS])
def test_a_call_ends_with_its_deadline(authority, tell, name, way, case):
    """In DeadlineExceeded, never before it, and, but for the machine's own delays, at once."""
    ends = []
    for _ in range(TIMES):
        registry.clear()
        origin_state.clear()
        late, error = lateness(case, way, authority)
        assert isinstance(error, DeadlineExceeded)
        ends.append(late)
    tell(said, Lateness(f"{name}, {way}", tuple(ends)))

    assert min(ends) <= CLAIM
