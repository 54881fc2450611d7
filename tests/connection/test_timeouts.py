"""The time-outs of a call, as requests and urllib3 take them."""

import pytest
from urllib3.util import Timeout

from resilient_transport.connection.timeouts import read_part


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        (None, None),
        (7, 7),
        ((1, 7), 7),
        (Timeout(connect=1, read=7), 7),
        (Timeout(connect=1, read=None), None),
        (Timeout(total=7), 7),
        (Timeout(total=2, read=7), 2),
        (Timeout(total=7, read=2), 2),
        (Timeout(total=7, read=None), 7),
        ("7", -1),
    ],
    ids=repr,
)
def test_what_may_pass_between_two_bytes(given, seconds):
    """With a total it is no more than that, as urllib3 has it."""
    assert read_part(given) == seconds
