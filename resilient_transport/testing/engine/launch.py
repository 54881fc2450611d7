"""Run as a script in a process of its own: serves its parent, whatever directory that runs in.

The packages on the way import nothing by themselves, not even `requests`, which would take longer than the
rest of a server's start.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path


def find_library() -> None:
    """Look for the library where this file is; the standard library comes before what lies beside it."""
    sys.path.append(str(Path(__file__).resolve().parents[3]))


if __name__ == "__main__":
    find_library()
    import_module("resilient_transport.testing.engine.control").main()
