"""A program in this process: for a Python that does not look for a `sitecustomize` (`-I`, `-E`, `-S`).

What Python does with a script, `-m`, `-c`, `-` and a folder or an archive is done here once more: the
arguments, `sys.path`, `__main__`. How it ends is left to Python, but for a traceback without our frames.
"""

from __future__ import annotations

import io
import os
import pkgutil
import runpy
import sys
from collections.abc import Callable, Sequence
from importlib.machinery import BuiltinImporter, SourceFileLoader, SourcelessFileLoader
from types import CodeType, ModuleType, TracebackType
from typing import Any, Final

from ..command import OK, UNUSABLE

_PACKAGE: Final = __name__.partition(".")[0]


def run_here(program: Sequence[str]) -> int:
    """Run a program as `__main__`; its exceptions and its `SystemExit` are the caller's.

    Args:
        program: its name and arguments, as Python takes them.

    Returns:
        The exit status.
    """
    sys.modules["__main__"] = _new_main(sys.modules["__main__"])
    for name in [name for name in sys.modules if name.partition(".")[0] == _PACKAGE]:
        # The program imports the package anew, and so that requests is imported first.
        del sys.modules[name]
    try:
        start = _prepared(*program)
    except OSError as error:
        path = os.path.abspath(program[0])
        print(
            f"{sys.executable}: can't open file {path!r}: [Errno {error.errno}] {error.strerror}",
            file=sys.stderr,
        )
        return UNUSABLE
    try:
        start()
    except SystemExit:
        raise
    except BaseException as error:
        _shorten_traceback(error.__traceback__)
        raise
    return OK


def _new_main(old: ModuleType) -> ModuleType:
    """A `__main__` as Python makes it."""
    new = ModuleType("__main__")
    vars(new).update(__builtins__=sys.modules["builtins"])
    if "__annotations__" in vars(old):
        vars(new)["__annotations__"] = {}
    return new


def _prepared(name: str, *arguments: str) -> Callable[[], Any]:
    """Set `sys.argv` and `sys.path` for a program, and return what starts it."""
    sys.argv = [name, *arguments]
    if name.startswith("-m"):
        module, sys.argv = _value(name, arguments)
        _begin_path(os.getcwd())
        # Private, and what Python itself calls.
        return lambda: runpy._run_module_as_main(module)  # type: ignore[attr-defined]
    if name.startswith("-c"):
        text, sys.argv = _value(name, arguments)
        _begin_path("")
        return _code(text, "<string>")
    if name == "-":
        _begin_path("")
        return _code(sys.stdin.read(), "<stdin>")
    # As Python does: `os.path.abspath` would take dots out.
    path = os.path.join(os.getcwd(), name) if name != "." else os.getcwd()
    if pkgutil.get_importer(path) is not None:
        # A folder or an archive with a `__main__`.
        _begin_path(path, always=True)
        return lambda: runpy._run_module_as_main("__main__", alter_argv=False)  # type: ignore[attr-defined]
    _begin_path(os.path.dirname(os.path.realpath(path)))
    return _script(path)


def _value(option: str, rest: Sequence[str]) -> tuple[str, list[str]]:
    """The value of `-m` or `-c`, joined to it or not, and `sys.argv`."""
    if option[2:]:
        return option[2:], [option[:2], *rest]
    return rest[0], [option, *rest[1:]]


def _begin_path(first: str, always: bool = False) -> None:
    """Let `sys.path` begin with what a program's begins with, in the place of what ours begins with.

    Args:
        first: the entry.
        always: put it there even if Python is told to put nothing there (`-I`, `-P`).
    """
    # Before Python 3.11 only -I does that.
    is_safe = getattr(sys.flags, "safe_path", sys.flags.isolated)
    if not is_safe:
        del sys.path[0]
    if always or not is_safe:
        sys.path.insert(0, first)


def _code(text: str, name: str) -> Callable[[], None]:
    """What runs the text of `-c` or of standard input."""
    vars(sys.modules["__main__"])["__loader__"] = BuiltinImporter
    return lambda: exec(compile(text, name, "exec", dont_inherit=True), _globals())  # noqa: S102


def _script(path: str) -> Callable[[], None]:
    """What runs a file of source, or of bytecode.

    Raises:
        OSError: it cannot be opened.
    """
    with io.open_code(path) as file:
        content = file.read()
    loader = SourcelessFileLoader if path.endswith(".pyc") else SourceFileLoader
    vars(sys.modules["__main__"]).update(__file__=path, __cached__=None, __loader__=loader("__main__", path))

    def start() -> None:
        compiled: CodeType | None = pkgutil.read_code(io.BytesIO(content))
        exec(compiled or compile(content, path, "exec", dont_inherit=True), _globals())  # noqa: S102

    return start


def _globals() -> dict[str, Any]:
    return vars(sys.modules["__main__"])


def _shorten_traceback(trace: TracebackType | None) -> None:
    """Have an exception that ends the program shown without the two frames that have started it."""
    hook, shown = sys.excepthook, trace and trace.tb_next and trace.tb_next.tb_next

    def shortened(kind: type[BaseException], error: BaseException, _: TracebackType | None) -> None:
        hook(kind, error.with_traceback(shown), shown)

    sys.excepthook = shortened
