"""What the import of distributed does to a process, for as long as it is wanted.

It lets tblib pickle every exception. Other tests of the same process would not see how Python does it.
"""

import copyreg
from collections.abc import Iterator
from contextlib import contextmanager

import distributed  # noqa: F401 - what it does is undone below
from tblib import pickling_support


def _undo() -> None:
    for kind, reduced in list(copyreg.dispatch_table.items()):
        if reduced is pickling_support.pickle_exception:
            del copyreg.dispatch_table[kind]


@contextmanager
def tblib_installed() -> Iterator[None]:
    """Let this process be one that has imported distributed."""
    pickling_support.install()
    try:
        yield
    finally:
        _undo()


_undo()
