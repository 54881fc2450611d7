"""What is measured, and how a figure of it is written."""

from collections.abc import Callable, Mapping
from typing import Final

CPU: Final = "CPU"
WALL: Final = "wall"
CONNECTIONS: Final = "connections"
HANDSHAKES: Final = "full handshakes"
MEMORY: Final = "peak memory"
INSTRUCTIONS: Final = "instructions"
RSS: Final = "resident memory"
MODULES: Final = "modules"
#: How many calls have ended well.
COMPLETED: Final = "completed"


def seconds(value: float) -> str:
    """Write seconds with their unit, three digits of them."""
    if value < 1e-3:
        return f"{value * 1e6:.0f} µs"
    return f"{value * 1e3:.{1 if value < 0.1 else 0}f} ms"


def count(value: float) -> str:
    """Write a number of things."""
    return f"{value:,.0f}"


def megabytes(value: float) -> str:
    """Write bytes."""
    return f"{value / 1e6:.1f} MB"


def thousands(value: float) -> str:
    """Write a large number of things."""
    return f"{value / 1e3:,.0f} k"


#: How figures of each quantity are written. Another quantity needs a line here.
WRITTEN: Final[Mapping[str, Callable[[float], str]]] = {
    CPU: seconds,
    WALL: seconds,
    CONNECTIONS: count,
    HANDSHAKES: count,
    MEMORY: megabytes,
    INSTRUCTIONS: thousands,
    RSS: megabytes,
    MODULES: count,
    COMPLETED: count,
}
#: Small numbers, for which a ratio says less than the number.
COUNTS: Final = frozenset({CONNECTIONS, HANDSHAKES, COMPLETED, MODULES})
