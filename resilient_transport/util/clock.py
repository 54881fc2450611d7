"""The clocks of the package, in seconds: the monotonic one, and the time of day for what has a date.

freezegun puts a clock of its own in the place of `time.monotonic`, in some modules and some threads but not
in others. Moments of both cannot be compared: a deadline would never come, or a pause last for ever. So the
operating system is asked by another name, which nobody replaces.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial

monotonic: Callable[[], float]
#: The time of day, as POSIX has it. OpenSSL goes by it, too, whatever a test has frozen.
realtime: Callable[[], float]
if sys.platform == "win32":
    monotonic = time.monotonic
    realtime = time.time
else:
    monotonic = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
    realtime = partial(time.clock_gettime, time.CLOCK_REALTIME)


def date_of(moment: float) -> str:
    """A time of day as `ssl` writes those of certificates: "Jan  5 09:34:43 2018 GMT"."""
    # Not by `time.gmtime`, which ends in the year 3000 on some systems, and begins in 1970.
    return f"{(datetime(1970, 1, 1) + timedelta(seconds=moment)).ctime()[4:]} GMT"
