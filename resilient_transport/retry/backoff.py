"""The two functions of `backoff` that pace repetitions, without the package around them.

`import backoff` brings in asyncio, 42 modules that take 26-34 ms. It must not happen when a call has failed:
a fork in that moment leaves the child an import lock that nobody releases, and a full descriptor table ends
the import. So the two modules that hold the functions, which need nothing, are loaded by file, when this one
is imported; also where a program has a module of its own by that name. A `backoff` that looks different is
imported whole. `tests/retry/test_backoff.py` tells whether the installed one does.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Final


def load(folders: list[str]) -> tuple[Any, Any]:
    """`expo` and `full_jitter` of the package in these folders.

    Raises:
        Exception: it is not the `backoff` that is known here.
    """
    return _module(folders, "_wait_gen").expo, _module(folders, "_jitter").full_jitter


def _module(folders: list[str], name: str) -> Any:
    path = next(path for folder in folders if (path := Path(folder, f"{name}.py")).is_file())
    spec: Any = spec_from_file_location(f"{__name__}.{name}", path)
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _whole() -> tuple[Any, Any]:
    import backoff

    return backoff.expo, backoff.full_jitter


def _folders() -> list[str]:
    """Where the package may be: first where Python finds it, which may be something of the program's."""
    spec = find_spec("backoff")
    first = (spec and spec.submodule_search_locations) or ()
    return [*first, *(os.path.join(entry, "backoff") for entry in sys.path)]


def _found() -> tuple[Any, Any]:
    try:
        return load(_folders())
    except Exception:
        # A zip file, another version: whatever it is, the package itself knows.
        return _whole()


_functions: Final = _found()
#: Yields None, and then ceilings that double: `backoff.expo`.
expo: Final[Callable[..., Iterator[Any]]] = _functions[0]
#: A random part of a ceiling: `backoff.full_jitter`.
full_jitter: Final[Callable[[float], float]] = _functions[1]
