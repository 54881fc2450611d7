"""What a program pays before its first call: new interpreters that import, mount an adapter, or start pytest.

Each run is a process of its own. Its CPU time, user and system, is the kernel's own count, from the start of
the interpreter to its end. What it has imported, and what it holds in memory, it writes down itself. Bytecode
is there already, as in an installed package.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from benchmarks.contestants import CONTROL, OURS, STOCK
from benchmarks.quantities import CPU, MODULES, RSS
from benchmarks.rounds import Sample
from resilient_transport.settings.environment import clean_environment

#: Who begins: stock twice, and then with the package.
CONTESTANTS: Final = (STOCK, CONTROL, OURS)

PLUGIN: Final = "resilient_transport.testing.pytest_plugin"

_ROOT: Final = Path(__file__).resolve().parents[1]
#: The end of every program: it writes down how many modules it has, and how many bytes are resident.
_REPORT: Final = """
import os, sys
pages = int(open("/proc/self/statm").read().split()[1])
open(os.environ["REPORT"], "w").write(f"{len(sys.modules)} {pages * os.sysconf('SC_PAGE_SIZE')}")
"""
_MOUNT: Final = "; import requests; session = requests.Session(); session.mount('https://', Adapter())"
#: What is begun, and how it is begun without the package and with it: the arguments of a Python.
BEGINNINGS: Final[Mapping[str, tuple[Sequence[str], Sequence[str]]]] = {
    "import beside requests": (
        ("-c", "import requests" + _REPORT),
        ("-c", "import requests, resilient_transport" + _REPORT),
    ),
    "a mounted adapter": (
        ("-c", "from requests.adapters import HTTPAdapter as Adapter" + _MOUNT + _REPORT),
        ("-c", "from resilient_transport import ResilientAdapter as Adapter" + _MOUNT + _REPORT),
    ),
    "a start of pytest": (
        ("-m", "pytest", "-q", "-p", "no:cacheprovider"),
        ("-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", PLUGIN),
    ),
}


def begin(arguments: Sequence[str], folder: Path) -> Sample:
    """Run a Python to its end; return what that took.

    Args:
        arguments: the interpreter's.
        folder: holds bytecode, the report, and a test for pytest.
    """
    cache, told = folder / "bytecode", folder / "report"
    environment = {
        name: value for name, value in clean_environment().items() if not name.startswith("PYTHON")
    }
    environment |= {"PYTHONPATH": str(_ROOT), "PYTHONPYCACHEPREFIX": str(cache), "REPORT": str(told)}
    environment["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] = "1"
    child = subprocess.Popen(
        [sys.executable, *arguments], cwd=folder / "project", env=environment, stdout=subprocess.DEVNULL
    )
    _, status, used = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{arguments} ended with {child.returncode}")
    modules, resident = map(int, told.read_text().split())
    return {CPU: used.ru_utime + used.ru_stime, MODULES: modules, RSS: resident}


@contextmanager
def beginnings(name: str) -> Iterator[dict[str, Callable[[], Sample]]]:
    """Yield what each contestant does to begin: stock twice, and then with the package."""
    without, with_it = BEGINNINGS[name]
    with tempfile.TemporaryDirectory() as place:
        project = Path(place, "project")
        project.mkdir()
        (project / "test_nothing.py").write_text(f"def test_nothing():\n    exec({_REPORT!r})\n")
        arguments = dict(zip(CONTESTANTS, (without, without, with_it), strict=True))
        yield {
            contestant: lambda given=given: begin(given, Path(place))  # type: ignore[misc]
            for contestant, given in arguments.items()
        }
