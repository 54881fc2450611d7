"""Python imports this before a program that `run` has started.

It takes back what `run` has put into the environment, has the adapter installed as soon as the program has
imported requests, and hands over to the `sitecustomize` that was there before. It stands alone: until then it
imports nothing that Python itself has not imported.
"""

from __future__ import annotations

import os
import sys

# Spelled so, because `typing` takes as long as all the rest. Type checkers know the name.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, MutableMapping
    from importlib.machinery import ModuleSpec
    from types import ModuleType
    from typing import Any

#: What `run` tells: words, then a line with the installation (`sys.prefix`) that it belongs to. The name does
#: not begin like that of a setting.
VARIABLE = "_RESILIENT_TRANSPORT_RUN"
#: What `run` puts in front of PYTHONPATH.
FOLDER = os.path.dirname(os.path.abspath(__file__))
#: What holds the package.
_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(FOLDER))))


def environment_with(words: set[str]) -> dict[str, str]:
    """A copy of the environment in which Python imports this file before a program.

    Args:
        words: "children": what the program starts is to have it, too; "summary": print one at exit.
    """
    environment = dict(os.environ)
    # Within a program that was started so with "children", those words hold, too.
    words = words | (take_out(environment) & {"children", "summary"})
    old = environment.get("PYTHONPATH")
    told = {*words, f"pid={os.getpid()}"} | ({"empty"} if old == "" else set())
    environment["PYTHONPATH"] = os.pathsep.join([FOLDER, old] if old else [FOLDER])
    environment[VARIABLE] = "\n".join([" ".join(sorted(told)), sys.prefix])
    return environment


def take_out(environment: MutableMapping[str, str]) -> set[str]:
    """Undo in an environment what `environment_with` has done, and return its words; none, if it has not."""
    told = environment.pop(VARIABLE, "").partition("\n")[0].split()
    parts = environment.get("PYTHONPATH", "").split(os.pathsep)
    if FOLDER in parts:
        environment["PYTHONPATH"] = os.pathsep.join(part for part in parts if part != FOLDER)
        if not environment["PYTHONPATH"] and "empty" not in told:
            del environment["PYTHONPATH"]
    return set(told)


class Finder:
    """Finds requests as the other finders do, and calls `then` when it has been imported; once."""

    def __init__(self, then: Callable[[], None]) -> None:
        #: None: it has been called. The finder stays: another thread may be walking the list of finders.
        self.then: Callable[[], None] | None = then

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """The spec that the others give, with a loader that calls `then`."""
        if name != "requests" or self.then is None:
            return None
        others = (getattr(one, "find_spec", None) for one in list(sys.meta_path) if one is not self)
        spec = next((found for find in others if find and (found := find(name, path, target))), None)
        # A module that is no package is the program's own, and a folder without code has no location.
        if spec and spec.loader and spec.has_location and spec.submodule_search_locations:
            spec.loader = _Loader(spec.loader, self)
        return spec


class _Loader:
    """The loader of requests, for the one time that it runs; then the real one is back in its place."""

    def __init__(self, real: Any, finder: Finder) -> None:
        self._real = real
        self._finder = finder

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        """As the real one does."""
        made: ModuleType | None = self._real.create_module(spec)
        return made

    def exec_module(self, module: ModuleType) -> None:
        """Run requests, then what was to follow; no other thread has the module before."""
        module.__loader__ = self._real
        if module.__spec__:
            module.__spec__.loader = self._real
        self._real.exec_module(module)
        if then := self._finder.then:
            then()
            self._finder.then = None


def watch(words: set[str], prefix: str = sys.prefix) -> None:
    """Have the adapter installed when requests is imported; at once, if somebody has imported it already."""

    def then() -> None:
        try:
            _install(words, prefix)
        except Exception as error:
            # No ImportError: a program that can do without requests would go on without a word.
            raise RuntimeError(f"resilient_transport run cannot install its adapter: {error}") from error

    if "requests" in sys.modules:
        then()
    else:
        sys.meta_path.insert(0, Finder(then))


def _install(words: set[str], prefix: str) -> None:
    if "resilient_transport" not in sys.modules and sys.prefix == prefix:
        _load_package()
    try:
        import resilient_transport
    except ImportError:
        if sys.prefix == prefix:
            raise
        print(
            f"resilient_transport run: {sys.executable} has no such package, and goes without",
            file=sys.stderr,
        )
        return
    resilient_transport.install()
    if "summary" in words:
        from resilient_transport.cli.run.report import print_at_exit

        print_at_exit(words)


def _load_package() -> None:
    """Import the package that this file belongs to, wherever the program looks for its modules."""
    from importlib.machinery import PathFinder
    from importlib.util import module_from_spec

    spec = PathFinder.find_spec("resilient_transport", [_PARENT])
    if spec is None or spec.loader is None:
        raise ImportError(f"there is no resilient_transport in {_PARENT} any more")
    module = sys.modules["resilient_transport"] = module_from_spec(spec)
    spec.loader.exec_module(module)


def _begin() -> None:
    sys.path[:] = [entry for entry in sys.path if entry != FOLDER]
    sys.path_importer_cache.pop(FOLDER, None)
    told, _, prefix = os.environ.get(VARIABLE, "").partition("\n")
    if told:
        words = set(told.split())
        if "children" not in words:
            take_out(os.environ)
        watch(words, prefix)
    # If there is no other one, the error says so, and `site` ignores it: as if this file had never been.
    del sys.modules[__name__]
    __import__(__name__)


if __name__ == "sitecustomize":
    _begin()
