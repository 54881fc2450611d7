"""Run as a script in a process of its own: serves its parent and imports nothing else of this library.

Importing the library by name would import `requests` first, which takes longer than the rest of a server's
start. So the packages on the way are stood in for by empty ones that know only where their modules lie.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from types import ModuleType

_LIBRARY = "resilient_transport"


def stand_in(library: Path) -> None:
    """Make the server's modules importable without running the library's own imports."""
    for name, path in ((_LIBRARY, library), (f"{_LIBRARY}.testing", library / "testing")):
        package = ModuleType(name)
        package.__path__ = [str(path)]
        sys.modules[name] = package


if __name__ == "__main__":
    stand_in(Path(__file__).resolve().parents[2])
    import_module(f"{_LIBRARY}.testing.engine.control").main()
