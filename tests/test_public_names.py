"""`import resilient_transport` is next to nothing; its names are imported with the first of them."""

import ast
import importlib
import json
import pickle
import types
import typing
from pathlib import Path

import pytest

import resilient_transport
from resilient_transport import Breaker, RetryPolicy, public_names, registry
from resilient_transport.testing import pytest_plugin
from tests.programs import Forks

#: What two lines of a program have imported, after requests.
PROGRAM = """
import json, sys
import requests

def modules():
    return set(sys.modules)

before = modules()
import resilient_transport
light = modules() - before
{then}
print(json.dumps([sorted(light), sorted(modules() - before - light)]))
"""
#: The package itself, and what refuses another library in urllib3's place.
LIGHT = ["resilient_transport", "resilient_transport.util", "resilient_transport.util.prerequisites"]
#: What is imported for whom has asked for it, or for nobody: it takes long, or brings much with it.
HEAVY = {"asyncio", "backoff", "dataclasses", "difflib", "inspect", "multiprocessing", "uuid"}


def imported(forks: Forks, then: str) -> list[list[str]]:
    """Return what a program imports with the package, and with what it does then."""
    found: list[list[str]] = json.loads(forks.run(PROGRAM.format(then=then)).stdout)
    return found


def test_the_package_alone_imports_next_to_nothing(forks):
    """Three small modules; the control asks for a name, and finds the rest of the package."""
    light, rest = imported(forks, "resilient_transport.ResilientAdapter")

    assert light == LIGHT
    assert len([name for name in rest if name.startswith("resilient_transport.")]) > 50


def test_a_mounted_adapter_imports_nothing_heavy(forks):
    """Neither with the package nor with an adapter; the control imports one of them."""
    _, mounted = imported(forks, "resilient_transport.mount(requests.Session())")
    _, control = imported(forks, "import difflib")

    assert HEAVY & set(mounted) == set()
    assert HEAVY & set(control) == {"difflib"}


#: A name of the package, as another process has pickled it if that can be done, is asked for first of all.
FIRST = """
import pickle, sys
name, pickled = sys.argv[1:]
if pickled:
    asked = pickle.loads(bytes.fromhex(pickled))
else:
    from resilient_transport import registry as asked
import resilient_transport as ours
from resilient_transport.public_names import BY_NAME
print(asked is BY_NAME[name], set(ours.__all__) <= set(vars(ours)))
"""


@pytest.mark.parametrize("name", resilient_transport.__all__)
def test_each_name_can_be_the_first(name, forks):
    """Whichever is asked for first, all are there then, and are what they are called; a pickle asks so."""
    # The registry is a value, which is the process's own.
    pickled = b"" if name == "registry" else pickle.dumps(getattr(resilient_transport, name), 2)

    assert not pickled or b"cresilient_transport\n" in pickled
    assert forks.run(FIRST, name, pickled.hex()).stdout.split() == ["True", "True"]


def test_the_lists_agree():
    """`__all__`, what is gathered, and what a type checker is told are the same names."""
    source = Path(resilient_transport.__file__).read_text(encoding="utf-8")
    told = {
        alias.asname or alias.name
        for node in ast.walk(ast.parse(source))
        if isinstance(node, ast.ImportFrom) and node.level and node.module != "util"
        for alias in node.names
    }
    modules = {"events", "exceptions"}

    assert list(public_names.BY_NAME) == resilient_transport.__all__
    assert told == {*resilient_transport.__all__, *modules, "BY_NAME"}
    assert dir(resilient_transport) == sorted({*vars(resilient_transport), *resilient_transport.__all__})


def test_a_star_brings_all(forks):
    """`from resilient_transport import *` is all of `__all__`, and no more."""
    program = "names = {}; exec('from resilient_transport import *', names); del names['__builtins__']; "
    program += "import resilient_transport; print(sorted(names) == resilient_transport.__all__)"

    assert forks.run(program).stdout.strip() == "True"


@pytest.mark.parametrize("module", ["events", "exceptions"])
def test_two_modules_need_no_import_of_their_own(module, forks):
    """As an attribute, before anything else; a name that there is not is refused."""
    program = f"import resilient_transport as ours; print(ours.{module}.__name__); ours.no_such_name"
    ran = forks.run(program)

    assert ran.stdout.strip() == f"resilient_transport.{module}"
    assert "module 'resilient_transport' has no attribute 'no_such_name'" in ran.stderr


def test_a_module_and_a_name_are_never_the_same():
    """Else an import of the module would put it in the place of the name."""
    for name in resilient_transport.__all__:
        with pytest.raises(ImportError):
            importlib.import_module(f"resilient_transport.{name}")

    assert isinstance(resilient_transport.install, types.FunctionType)


#: Threads that ask for a name each, all at once.
AT_ONCE = """
import threading, resilient_transport
from resilient_transport import testing
names = resilient_transport.__all__ * 2
start, found = threading.Barrier(len(names)), []

def ask(name):
    start.wait()
    found.append(getattr(resilient_transport, name) is getattr(resilient_transport, name))

threads = [threading.Thread(target=ask, args=(name,)) for name in names]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(found == [True] * len(names))
"""


def test_threads_may_ask_at_once(forks):
    """Nobody sees a part of it."""
    assert forks.run(AT_ONCE).stdout.strip() == "True"


def test_values_of_public_classes_pickle(forks):
    """A policy is found as its class is."""
    pickled = pickle.dumps(RetryPolicy(retries=3, breaker=Breaker(7)))
    program = (
        f"import pickle; policy = pickle.loads({pickled!r}); print(policy.retries, policy.breaker.failures)"
    )

    assert forks.run(program).stdout.split() == ["3", "7"]


def test_the_hints_of_a_policy_can_be_read():
    """Although the names in them are not where the class claims to be at home."""
    hints = typing.get_type_hints(RetryPolicy)

    assert hints["breaker"] == Breaker | None
    assert hints["retries"] == int | None
    assert set(hints) == set(RetryPolicy.__dataclass_fields__)
    assert typing.get_type_hints(Breaker) == {"failures": int, "window": float, "cool_down": float}


def test_the_adapter_and_the_registry_are_what_they_were():
    """The registry is the one of the process, by whatever name it is reached."""
    from resilient_transport.pool.registry import registry as same

    assert registry is same
    assert pytest_plugin.__name__ == "resilient_transport.testing.pytest_plugin"
