"""What `run` does in a program's process before the program: `sitecustomize` imports it.

It takes back what `run` has put into the environment, and has the adapter installed as soon as the program
has imported requests. It stands alone, in the syntax of Python 3.8: until then it imports nothing that Python
itself has not imported. So annotations are strings: `__future__` is a module, too.
"""

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
#: The names of words that hold for what is started in turn.
_LASTING = ("children", "summary", "html", "har")
#: Those of them that have something to do at exit.
_AT_EXIT = {"summary", "html", "har"}
#: The package that this file belongs to.
_PACKAGE = "resilient_transport"
#: What `run` puts in front of PYTHONPATH.
FOLDER = os.path.dirname(os.path.abspath(__file__))
#: What holds the package.
_PARENT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(FOLDER))))


def environment_with(words: "set[str]") -> "dict[str, str]":
    """A copy of the environment in which Python imports this file before a program.

    Args:
        words: "children": what the program starts is to have it, too; "summary": print one at exit; "html="
            and "har=": write these files at exit (`word_for`).
    """
    environment = dict(os.environ)
    # Within a program that was started so with "children", those words hold, too.
    anew = named(words)
    inherited = take_out(environment)
    words = words | {word for word in inherited if _name(word) in _LASTING and _name(word) not in anew}
    old = environment.get("PYTHONPATH")
    told = {*words, f"pid={os.getpid()}"} | ({"empty"} if old == "" else set())
    environment["PYTHONPATH"] = os.pathsep.join([FOLDER, old] if old else [FOLDER])
    environment[VARIABLE] = "\n".join([" ".join(sorted(told)), sys.prefix])
    return environment


def word_for(name: str, path: str) -> str:
    """The word that tells the path of a file. The program may go to another directory."""
    return f"{name}={os.fsencode(os.path.abspath(path)).hex()}"


def path_in(words: "set[str]", name: str) -> "str | None":
    """The path that such a word tells; None: there is no such word."""
    told = next((word for word in words if word.startswith(f"{name}=")), None)
    return None if told is None else os.fsdecode(bytes.fromhex(told.partition("=")[2]))


def named(words: "set[str]") -> "set[str]":
    """The names of words, without what they tell."""
    return {_name(word) for word in words}


def _name(word: str) -> str:
    return word.partition("=")[0]


def take_out(environment: "MutableMapping[str, str]") -> "set[str]":
    """Undo in an environment what `environment_with` has done, and return its words; none, if it has not."""
    told = environment.pop(VARIABLE, "").partition("\n")[0].split()
    parts = environment.get("PYTHONPATH", "").split(os.pathsep)
    if FOLDER in parts:
        environment["PYTHONPATH"] = os.pathsep.join(part for part in parts if part != FOLDER)
        if not environment["PYTHONPATH"] and "empty" not in told:
            del environment["PYTHONPATH"]
    return set(told)


class Finder:
    """Finds requests and this package, and calls `then` when requests has been imported; once.

    Who imports this package imports requests first: what is called needs the package whole, and must not come
    in the middle of its modules.
    """

    def __init__(self, then: "Callable[[], None]", parent: "str | None" = None) -> None:
        #: None: it has been called. The finder stays: another thread may be walking the list of finders.
        self.then: Callable[[], None] | None = then
        #: What holds the package, wherever the program looks for its modules; None: that is where it is.
        self._parent = parent

    def find_spec(self, name: str, path: "Any" = None, target: "Any" = None) -> "ModuleSpec | None":
        """The spec that those give who are asked after this one, with a loader that calls `then`."""
        if name not in ("requests", _PACKAGE) or self.then is None or self not in sys.meta_path:
            return None
        spec = self._package() if name == _PACKAGE else None
        others = sys.meta_path[sys.meta_path.index(self) + 1 :]
        finds = (getattr(one, "find_spec", None) for one in others)
        spec = spec or next((found for find in finds if find and (found := find(name, path, target))), None)
        # A module that is no package is the program's own, and a folder without code has no location.
        if spec and spec.loader and spec.has_location and spec.submodule_search_locations:
            spec.loader = _Loader(spec.loader, self)
        return spec

    def _package(self) -> "ModuleSpec | None":
        from importlib.machinery import PathFinder

        return PathFinder.find_spec(_PACKAGE, [self._parent]) if self._parent else None

    def call(self) -> None:
        """Call what was to be called, unless that was done."""
        if self.then:
            self.then()
            self.then = None


class _Loader:
    """The loader of a package, for the one time that it runs; then the real one is back in its place."""

    def __init__(self, real: "Any", finder: "Finder") -> None:
        self._real = real
        self._finder = finder

    def __getattr__(self, name: str) -> "Any":
        return getattr(self._real, name)

    def create_module(self, spec: "ModuleSpec") -> "ModuleType | None":
        """As the real one does."""
        made: ModuleType | None = self._real.create_module(spec)
        return made

    def exec_module(self, module: "ModuleType") -> None:
        """Run the package, then what is to follow; no other thread has the module before."""
        module.__loader__ = self._real
        if module.__spec__:
            module.__spec__.loader = self._real
        self._real.exec_module(module)
        if module.__name__ == _PACKAGE:
            __import__("requests")
        else:
            self._finder.call()


#: Python takes the frames of its own import system out of tracebacks, and counts none for a warning. By the
#: name of the file it takes that of this method for one of them.
_method: "Any" = _Loader.exec_module
_method.__code__ = _method.__code__.replace(co_filename="<frozen importlib._bootstrap>")


def watch(words: "set[str]", prefix: str = sys.prefix) -> None:
    """Have the adapter installed when requests is imported; at once, if somebody has imported it already."""
    at_exit: list[Callable[[], None]] = []

    def then() -> None:
        try:
            _install(words, at_exit)
        except Exception as error:
            if sys.prefix != prefix:
                _say(f"{sys.executable} cannot use this package, and goes without: {error}")
                return
            # No ImportError: a program that can do without requests would go on without a word.
            raise RuntimeError(f"resilient_transport run cannot install its adapter: {error}") from error

    if named(words) & _AT_EXIT:
        import atexit

        # Before all others, so that it comes after them.
        atexit.register(lambda: [call() for call in at_exit])
    finder = Finder(then, _PARENT if sys.prefix == prefix else None)
    sys.meta_path.insert(0, finder)
    if "requests" in sys.modules:
        finder.call()


def _install(words: "set[str]", at_exit: "list[Callable[[], None]]") -> None:
    import resilient_transport.public_names

    resilient_transport.installation.install_below_program()
    if "summary" in words:
        from resilient_transport.cli.run.report import printer

        at_exit += [printer(words)]
    if named(words) & {"html", "har"}:
        from resilient_transport.cli.run.recorded_files import writer

        at_exit += [writer(words, path_in(words, "html"), path_in(words, "har"))]


def _say(text: str) -> None:
    print(f"resilient_transport run: {text}", file=sys.stderr)


def begin() -> None:
    """Take back what `run` has put into the environment, and do what it has told."""
    told, _, prefix = os.environ.get(VARIABLE, "").partition("\n")
    if told:
        words = set(told.split())
        if "children" not in words:
            take_out(os.environ)
        watch(words, prefix)
