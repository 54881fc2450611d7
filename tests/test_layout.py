"""The shape of the package: where modules are, what they import, what is public, how long things are."""

import ast
import functools
import inspect
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

import resilient_transport

PACKAGE = "resilient_transport"
ROOT = Path(resilient_transport.__file__).parent
#: The rooms from top to bottom: a module imports from its own room and from those below it.
LAYERS = (
    {"__main__"},
    {"cli"},
    {"__init__"},
    {"public_names"},
    {"dask"},
    {"installation", "otel", "redis"},
    {"waterfall"},
    {"adapter"},
    {"call"},
    {"body"},
    {"pool"},
    {"connection"},
    {"gate"},
    {"retry"},
    {"telemetry"},
    {"settings"},
    {"events"},
    {"exceptions"},
    {"util"},
)
#: Stands beside the layers: a program for tests, which must not share the mistakes of what it tests.
ASIDE = "testing"
PLACES = set.union(*LAYERS, {ASIDE})
#: `__init__` gathers the public names. What it imports cannot import it back: that is a cycle.
GATHERS = "__init__"

#: Modules at the top of the package, beside the rooms.
MODULES_AT_TOP = 8
#: Established nouns in -ing; a room or module is not named by what it does to its neighbour.
NOUNS_IN_ING = {"testing", "framing", "finding"}
FUNCTION_LINES, SHARE_OF_FUNCTIONS = 25, 0.9
NESTING = 3
PUBLIC_NAMES = 19

BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match) + (
    (ast.TryStar,) if hasattr(ast, "TryStar") else ()
)
FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
Function = ast.FunctionDef | ast.AsyncFunctionDef


@functools.cache
def modules() -> Mapping[str, ast.Module]:
    """Return every module of the package by its name: `retry.stages`, `retry` for `retry/__init__.py`."""
    found = {}
    for path in sorted(ROOT.rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)
        found[name] = ast.parse(path.read_text(encoding="utf-8"), str(path))
    assert len(found) > 20, f"only {len(found)} modules under {ROOT}: these tests would prove nothing"
    return found


def path_of(name: str) -> Path:
    """Return the file of a module."""
    path = ROOT.joinpath(*name.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def place(name: str) -> str:
    """Return the place a module belongs to: its first name."""
    return name.partition(".")[0]


def imports(importer: str) -> Iterator[tuple[str, int]]:
    """Yield (module of this package, line) for all that a module imports: lazily and for types only, too."""
    for node in ast.walk(modules()[importer]):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _ours(alias.name, node.lineno)
        elif isinstance(node, ast.ImportFrom):
            source = _absolute(importer, node)
            for alias in node.names:
                full = f"{source}.{alias.name}"
                yield from _ours(
                    full if full.removeprefix(PACKAGE + ".") in modules() else source, node.lineno
                )


def _ours(full: str, line: int) -> Iterator[tuple[str, int]]:
    if full == PACKAGE:
        yield "__init__", line
    elif full.startswith(PACKAGE + "."):
        yield full.removeprefix(PACKAGE + "."), line


def _absolute(importer: str, node: ast.ImportFrom) -> str:
    """Return the full name of what follows `from`, dots resolved."""
    if not node.level:
        return node.module or ""
    parts = [PACKAGE, *importer.split(".")]
    is_package = path_of(importer).name == "__init__.py" and importer != "__init__"
    base = parts[: len(parts) - node.level + is_package]
    return ".".join([*base, node.module] if node.module else base)


def may_import(importer: str, imported: str) -> bool:
    """Tell whether the layers allow this import."""
    above, below = place(importer), place(imported)
    if not {above, below} <= PLACES:
        return False
    if ASIDE in (above, below):
        return above in (below, "cli")
    if above == GATHERS:
        return True
    level = {name: number for number, layer in enumerate(LAYERS) for name in layer}
    return level[above] <= level[below]


def reachable(start: str, graph: Mapping[str, set[str]]) -> set[str]:
    """Return all modules that importing `start` can bring in, through any number of others."""
    seen: set[str] = set()
    ahead = list(graph[start])
    while ahead:
        name = ahead.pop()
        if name not in seen:
            seen.add(name)
            ahead += graph.get(name, ())
    return seen


def test_every_module_has_its_place():
    """A new room needs a name in the design and a layer here; and no room is missing."""
    places = {place(name) for name in modules()}

    assert places - PLACES == set(), "modules without a place: add them to a room, or the room to LAYERS"
    assert PLACES - places == set(), "rooms of the design without a module"


def test_few_modules_stand_at_the_top():
    """A newcomer sees the public doors, and rooms with a subject each."""
    at_top = {path.stem for path in ROOT.glob("*.py")}

    assert "installation" in at_top
    assert len(at_top) <= MODULES_AT_TOP, at_top


def gerunds(names: Iterable[str]) -> set[str]:
    """Return the names that end in -ing and are no established nouns."""
    parts = {part for name in names for part in name.split(".")}
    return {part for part in parts if part.endswith("ing") and part not in NOUNS_IN_ING}


def test_rooms_and_modules_are_nouns():
    """What is in a module can be told from its name alone."""
    assert gerunds(modules()) == set()


def test_a_gerund_is_found():
    """The control: a room that is named by what it does, and a noun that only ends so."""
    assert gerunds(["adapter", "wire.telling", "testing", "body.framing"]) == {"telling"}


def shared_names(names: Iterable[str]) -> set[str]:
    """Return the names that several modules or packages have; a room may hold a module of its own name."""
    last = [name.split(".")[-1] for name in names if name.split(".")[-2:] != name.split(".")[-1:] * 2]
    return {name for name in last if last.count(name) > 1 and not name.startswith("__")}


def test_a_name_means_one_thing():
    """No two modules or packages have the same name: who knows one knows what the word means."""
    assert shared_names(modules()) == set()


def test_a_shared_name_is_found():
    """The control: two modules of one name, a module named as a room elsewhere, and one named as its own."""
    names = ["settings", "cli.settings", "body.ranges", "testing.engine.ranges", "gate", "gate.gate"]

    assert shared_names(names) == {"settings", "ranges"}


@pytest.mark.parametrize("room", [path.name for path in ROOT.iterdir() if (path / "__init__.py").exists()])
def test_a_room_says_what_it_is(room):
    """Each package has one first sentence."""
    first = (ast.get_docstring(modules()[room]) or "").splitlines()[:1]

    assert first, f"{room} has no docstring"
    assert first[0].endswith(".")


def test_imports_point_down():
    """Nothing imports from a layer above its own, lazily or not; `testing` shares nothing with the rest."""
    seen = [(importer, *found) for importer in modules() for found in imports(importer)]
    wrong = [
        f"{path_of(importer)}:{line}: {importer} imports {imported}"
        for importer, imported, line in seen
        if not may_import(importer, imported)
    ]

    assert len(seen) > len(modules()), "hardly any import was found"
    assert wrong == []


def test_no_module_imports_itself_through_others():
    """There is no cycle of imports, lazy ones counted."""
    graph = {name: {imported for imported, _ in imports(name)} for name in modules()}
    cycles = {name: sorted(reachable(name, graph)) for name in graph if name in reachable(name, graph)}

    assert cycles == {}


@pytest.mark.parametrize(
    ("importer", "imported", "allowed"),
    [
        ("adapter.adapter", "call.loop", True),
        ("call.loop", "adapter.adapter", False),
        ("pool.lease", "connection.connection", True),
        ("connection.connection", "pool.lease", False),
        ("connection.connection", "gate.permit", True),
        ("gate.gate", "connection.trace", False),
        ("gate.gate", "retry.policy", True),
        ("retry.policy", "gate.gate", False),
        ("telemetry.stats", "pool.registry", False),
        ("telemetry.dispatch", "events", True),
        ("settings", "events", True),
        ("settings", "retry.policy", False),
        ("__init__", "public_names", True),
        ("public_names", "installation", True),
        ("installation", "public_names", False),
        ("dask.worker_plugin", "installation", True),
        ("installation", "dask", False),
        ("cli.run", "__init__", True),
        ("__main__", "cli", True),
        ("cli.demo", "testing", True),
        ("adapter", "testing", False),
        ("__init__", "testing", False),
        ("testing.server", "testing.script", True),
        ("testing.server", "exceptions", False),
        ("cli.run", "no_such_place", False),
    ],
)
def test_what_the_layers_allow(importer, imported, allowed):
    """The control: the rule says no where it should."""
    assert may_import(importer, imported) is allowed


@pytest.mark.parametrize(
    ("importer", "source", "expected"),
    [
        ("retry.policy", "from .stages import Stage", "retry.stages"),
        ("retry", "from .stages import Stage", "retry.stages"),
        ("retry.policy", "from ..events import Attempt", "events"),
        ("install", "from . import events", ""),
        ("__init__", "from .adapter import ResilientAdapter", "adapter"),
    ],
)
def test_relative_imports_are_resolved(importer, source, expected):
    """The control: dots are counted as Python counts them, in packages and in modules."""
    (node,) = ast.parse(source).body

    assert _absolute(importer, node) == f"{PACKAGE}.{expected}".rstrip(".")


def test_a_cycle_is_found():
    """The control: three modules in a ring reach themselves, one that leads into the ring does not."""
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}

    assert "a" in reachable("a", graph)
    assert "d" not in reachable("d", graph)


def reads_environment(tree: ast.AST) -> list[int]:
    """Return the lines that touch the environment through `os`."""
    names = {"environ", "environb", "getenv", "getenvb", "putenv", "unsetenv"}
    attributes = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in names
        and isinstance(node.value, ast.Name)
        and node.value.id == "os"
    ]
    imported = [
        node.lineno
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "os" and names & {a.name for a in node.names}
    ]
    return attributes + imported


def test_only_settings_reads_the_environment():
    """One file knows it, and one that runs before the package can be imported; others are given values."""
    readers = {name for name, tree in modules().items() if reads_environment(tree)}

    assert readers == {"settings.environment", "cli.run.startup.resilient_transport_hook"}


@pytest.mark.parametrize(
    "source", ["import os\nos.environ['A']", "import os\nos.getenv('A')", "from os import environ"]
)
def test_readers_of_the_environment_are_found(source):
    """The control: every way to read it is seen."""
    assert reads_environment(ast.parse(source)) != []
    assert reads_environment(ast.parse("import os\nos.getpid()")) == []


def test_public_names_are_few_and_sorted():
    """The front door is small and its names are easy to find."""
    names = list(resilient_transport.__all__)

    assert "ResilientAdapter" in names
    assert names == sorted(set(names))
    assert len(names) <= PUBLIC_NAMES


def test_public_names_are_all_that_is_public():
    """What can be imported from the package without an underscore is in `__all__`."""
    assert resilient_transport.stats
    ours = {
        name
        for name, value in vars(resilient_transport).items()
        if not name.startswith("_")
        and not inspect.ismodule(value)
        and str(getattr(value, "__module__", "")).partition(".")[0] == PACKAGE
    }

    assert ours - set(resilient_transport.__all__) == set()


@pytest.mark.parametrize("name", sorted(getattr(resilient_transport, "__all__", [])))
def test_a_public_name_is_documented_and_at_home(name):
    """It has a docstring of its own; classes and functions claim the package as their home."""
    value: Any = getattr(resilient_transport, name)
    own = value.__doc__ if not inspect.isclass(value) else vars(value).get("__doc__")

    assert own, f"{name} has no docstring"
    assert not own.startswith(f"{name}("), f"{name} has only the docstring that dataclass made up"
    if inspect.isclass(value) or inspect.isroutine(value):
        assert value.__module__ == PACKAGE


def test_the_package_says_that_it_is_typed():
    """Type checkers look for a marker file (PEP 561)."""
    assert (ROOT / "py.typed").exists()


def functions(tree: ast.AST) -> Iterator[Function]:
    """Yield every function and method, nested ones too."""
    yield from (node for node in ast.walk(tree) if isinstance(node, FUNCTIONS))


def function_lines(function: Function) -> int:
    """Return the lines from `def` to the end, docstring included, decorators not."""
    return (function.end_lineno or function.lineno) - function.lineno + 1


def nesting(node: ast.AST, depth: int = 0) -> int:
    """Return how many blocks stand inside each other in a function; `elif` counts as its `if`."""
    deepest = depth
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (*FUNCTIONS, ast.Lambda)):
            continue  # counted for itself
        is_elif = isinstance(node, ast.If) and isinstance(child, ast.If) and node.orelse == [child]
        deepest = max(deepest, nesting(child, depth + (isinstance(child, BLOCKS) and not is_elif)))
    return deepest


def every_function() -> list[tuple[str, Function]]:
    """Return all functions of the package, each with the place where it stands."""
    found = [
        (f"{path_of(name)}:{function.lineno} {function.name}", function)
        for name, tree in modules().items()
        for function in functions(tree)
    ]
    assert len(found) > len(modules()), "hardly any function was found"
    return found


def test_functions_are_short():
    """Nine of ten functions fit into a glance."""
    long = {
        where: length
        for where, function in every_function()
        if (length := function_lines(function)) > FUNCTION_LINES
    }

    assert len(long) <= (1 - SHARE_OF_FUNCTIONS) * len(every_function()), long


def test_nesting_is_flat():
    """No block stands deeper than the third."""
    deep = {where: depth for where, function in every_function() if (depth := nesting(function)) > NESTING}

    assert deep == {}


@pytest.mark.parametrize(
    ("body", "depth"),
    [
        ("pass", 0),
        ("if a: pass\n elif b: pass\n elif c: pass", 1),
        ("if a: pass\n else:\n  if b: pass\n  c", 2),
        ("for a in b:\n  with c:\n   try: d\n   except e:\n    while f: pass", 4),
        ("if a:\n  def g():\n   if b: pass", 1),
    ],
)
def test_nesting_is_measured(body, depth):
    """The control: a ladder of elif is one block, a function within a function is its own."""
    (function,) = ast.parse(f"def f():\n {body}").body

    assert nesting(function) == depth


def test_lines_of_a_function_are_measured():
    """The control: decorators do not count, docstrings do."""
    (function,) = functions(ast.parse('@a\n@b\ndef f():\n "doc"\n\n return 1\n'))

    assert function_lines(function) == 4
