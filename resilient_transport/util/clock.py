"""The monotonic clock of the package, in seconds.

freezegun puts a clock of its own in the place of `time.monotonic`, in some modules and some threads but not
in others. Moments of both cannot be compared: a deadline would never come, or a pause last for ever. So the
operating system is asked by another name, which nobody replaces.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from functools import partial

monotonic: Callable[[], float]
if sys.platform == "win32":
    monotonic = time.monotonic
else:
    monotonic = partial(time.clock_gettime, time.CLOCK_MONOTONIC)
