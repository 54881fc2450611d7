"""The documents for contributors are true: the map, the steps, the table of locks, and what they link to."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import pytest
import requests

from docs.pages import HOMES
from resilient_transport.gate.cold_start import HOLDS
from resilient_transport.gate.gate import STALLED
from resilient_transport.gate.window import MAXIMUM, MOST_STALLED
from resilient_transport.pool.contexts import _KEPT
from resilient_transport.pool.registry import MOST_UNLEASED
from resilient_transport.pool.shared_pool import THRIFT
from resilient_transport.retry.decision import RESET_PAUSE
from resilient_transport.retry.policy import DEFAULTS
from tests.test_layout import ASIDE, LAYERS, PACKAGE, modules, path_of, place

ROOT = Path(__file__).parents[1]
ARCHITECTURE, CONTRIBUTING, README = "docs/architecture.md", "CONTRIBUTING.md", "README.md"
DOCUMENTS = (ARCHITECTURE, CONTRIBUTING, "docs/works_with.md")
#: All that people read.
MARKDOWN = sorted(
    path.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "benchmarks/*.md", ".github/**/*.md")
    for path in ROOT.glob(pattern)
)
#: Where a path in a document may begin.
BEGINNINGS = (ROOT, ROOT / PACKAGE)
#: What is made to wait for somebody.
KINDS = {
    "Barrier", "BoundedSemaphore", "Condition", "Event", "Future", "Inbox", "Lock", "RLock", "Semaphore",
}  # fmt: skip
#: Classes of others that the documents name with a method or an attribute.
FOREIGN = {"Session": requests.Session, "HTTPAdapter": requests.adapters.HTTPAdapter}


def text_of(name: str) -> str:
    """Return what is in a document."""
    return (ROOT / name).read_text(encoding="utf-8")


def code_in(text: str) -> list[str]:
    """Return what stands in backticks, on one line."""
    return re.findall(r"`([^`\n]+)`", text)


def section(text: str, heading: str) -> str:
    """Return what stands below a heading of the second level."""
    return text.split(f"\n## {heading}\n", 1)[1].split("\n## ", 1)[0]


def rows(text: str) -> list[list[str]]:
    """Return the cells of the first table in a text, without its head."""
    lines = re.search(r"(?:^\|.*\n)+", text, re.MULTILINE)
    assert lines, "there is no table"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[0].splitlines()[2:]]


def rooms_in(text: str) -> list[set[str]]:
    """Return the rooms of the map, row by row."""
    return [set(code_in(row[0])) for row in rows(section(text, "The map"))]


def missing_from_map(names: list[str], text: str) -> set[str]:
    """Return the modules of which neither they nor their rooms are in the map."""
    told = set(code_in(section(text, "The map")))
    return {name for name in names if not {name, place(name)} & told}


def test_the_map_has_the_order_of_the_imports():
    """Row by row: what stands higher may import what stands lower."""
    assert rooms_in(text_of(ARCHITECTURE)) == [set(layer) for layer in LAYERS]


def test_every_module_is_in_the_map():
    """Or its room is."""
    assert missing_from_map(list(modules()), text_of(ARCHITECTURE)) == set()
    assert ASIDE in code_in(section(text_of(ARCHITECTURE), "The map"))


def test_a_module_that_is_not_in_the_map_is_found():
    """The control: a made-up module at the top, one in a made-up room, and one in a room that is there."""
    names = ["shelf", "wire.lookup", "pool.shelf"]

    assert missing_from_map(names, text_of(ARCHITECTURE)) == {"shelf", "wire.lookup"}


def paths_in(text: str) -> list[str]:
    """Return what stands in backticks and looks like a file, a folder or a module of the package."""
    words = [code.split()[0] for code in code_in(text)]
    like_files = re.compile(r"[\w.-]+(/[\w.-]+)+/?|[\w-]+\.(py|md|cfg|toml)|" + PACKAGE + r"(\.\w+)+")
    return [word for word in words if like_files.fullmatch(word)]


def is_there(path: str) -> bool:
    """Tell whether a file, a folder or a module exists."""
    spelled = path.replace(".", "/") if path.startswith(PACKAGE + ".") else path
    kinds = (spelled, f"{spelled}.py") if spelled != path else (path,)
    return any((beginning / kind).exists() for beginning in BEGINNINGS for kind in kinds)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_is_there(document):
    """A file that was moved is moved in the documents, too."""
    found = paths_in(text_of(document))

    assert len(found) > 5
    assert [path for path in found if not is_there(path)] == []


@pytest.mark.parametrize(
    ("code", "there"),
    [
        ("`gate/gate.py`", True),
        ("`tests/test_layout.py`", True),
        ("`.ci/run quick`", True),
        ("`setup.cfg`", True),
        ("`resilient_transport.events`", True),
        ("`resilient_transport.events.attempt`", True),
        ("`pool/shelf.py`", False),
        ("`tests/wire`", False),
        ("`install.toml`", False),
        ("`resilient_transport.shelf`", False),
    ],
)
def test_a_path_that_is_not_there_is_found(code, there):
    """The control: each way to spell a path is seen, and one that is made up is none."""
    (path,) = paths_in(code)

    assert is_there(path) is there


def members() -> dict[str, set[str]]:
    """Return, for each class of the package, the names that its body and its methods give to it."""
    found: dict[str, set[str]] = {}
    for tree in modules().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                found.setdefault(node.name, set()).update(_names_in(node))
    return found


def _names_in(kind: ast.ClassDef) -> Iterator[str]:
    for node in ast.walk(kind):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id


def unknown_members(text: str, known: Mapping[str, set[str]]) -> list[str]:
    """Return each `Class.name` of a text that is nowhere in the code."""
    dotted = [code for code in code_in(text) if re.fullmatch(r"_?[A-Z]\w+\.\w+", code)]
    return [code for code in dotted if not _is_known(*code.split("."), known)]


def _is_known(kind: str, name: str, known: Mapping[str, set[str]]) -> bool:
    return hasattr(FOREIGN[kind], name) if kind in FOREIGN else name in known.get(kind, ())


def test_every_method_that_is_named_is_there():
    """`Gate.enter` and its like: a method that was renamed is renamed in the documents, too."""
    assert len(re.findall(r"`_?[A-Z]\w+\.\w+`", text_of(ARCHITECTURE))) > 20
    assert unknown_members(text_of(ARCHITECTURE), members()) == []


def test_a_method_that_is_not_there_is_found():
    """The control: made-up methods of a class of ours, of one of others, and of a made-up class."""
    text = "`Gate.enter` `Gate.stir` `Session.get` `Session.dial` `Shelf.take` `setup.cfg`"

    assert unknown_members(text, members()) == ["Gate.stir", "Session.dial", "Shelf.take"]


class Lock(NamedTuple):
    """Something that threads wait for: where it is made, what kind it is, and what it is called."""

    path: str
    kind: str
    name: str


def locks_in(path: str, tree: ast.AST, name: str = "") -> set[Lock]:
    """Return the locks that are made in a module.

    One is called what it is assigned to, rather an attribute than a local name; or what it is an argument of.
    """
    found = set()
    for node in ast.iter_child_nodes(tree):
        called = _last_name(node.func) if isinstance(node, ast.Call) else ""
        if isinstance(node, ast.keyword) and node.arg == "default_factory":
            # A field of a dataclass.
            called = _last_name(node.value)
        if called in KINDS:
            found.add(Lock(path, called, name.strip("_")))
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            found |= locks_in(path, node, _last_name(_kept(targets)))
        else:
            found |= locks_in(path, node, name if called == "field" else called or name)
    return found


def _kept(targets: list[ast.expr]) -> ast.expr:
    """Return what outlives the function, if it is assigned to that as well."""
    return next((target for target in targets if not isinstance(target, ast.Name)), targets[-1])


def _last_name(node: ast.AST) -> str:
    if isinstance(node, ast.Subscript):
        return _last_name(node.value)
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def locks_of_package() -> set[Lock]:
    """Return all locks that are made anywhere in the package."""
    root = path_of("__init__").parent
    return {
        lock
        for name, tree in modules().items()
        for lock in locks_in(path_of(name).relative_to(root).as_posix(), tree)
    }


def locks_told(text: str) -> set[Lock]:
    """Return the locks of the table, one for each name that a row has or could have."""
    return set().union(*(locks_in_cell(first) for first, *_ in rows(section(text, "Locks"))))


def locks_in_cell(cell: str) -> set[Lock]:
    """Return the locks of one row: a path, one name or several, and the kind; or several of that."""
    groups = re.findall(r"`([\w/]+\.py)` ((?:`[\w.]+`(?:, )?)+) \((\w+)\)", cell)
    return {
        Lock(path, kind, part.strip("_"))
        for path, names, kind in groups
        for name in code_in(names)
        for part in name.split(".")
    }


def test_every_lock_is_in_the_table():
    """By the module that makes it, its kind, and its name."""
    made = locks_of_package()

    assert {Lock("gate/gate.py", "Inbox", "inbox"), Lock("util/inbox.py", "RLock", "lock")} <= made
    assert sorted(made - locks_told(text_of(ARCHITECTURE))) == []


def test_every_row_of_the_table_is_a_lock():
    """One that is gone from the code is gone from the table."""
    made = locks_of_package()
    for first, *cells in rows(section(text_of(ARCHITECTURE), "Locks")):
        paths = {lock.path for lock in locks_in_cell(first) & made}

        assert paths == {code for code in code_in(first) if code.endswith(".py")}, first
        assert len(cells) == 3, first
        assert all(cells), first


@pytest.mark.parametrize(
    ("source", "kind", "name"),
    [
        ("import threading\n_guard = threading.Lock()", "Lock", "guard"),
        ("class A:\n def f(self):\n  self._guard: Any = RLock()", "RLock", "guard"),
        ("def f(self):\n guard = self._held[1] = threading.RLock()", "RLock", "held"),
        ("def f(self):\n self._held[1] = guard = threading.RLock()", "RLock", "held"),
        ("inbox = Inbox()", "Inbox", "inbox"),
        ("bell = threading.Condition(lock)", "Condition", "bell"),
        ("if a:\n with b:\n  stop = Event()", "Event", "stop"),
        ("asked = Question(1, Future())", "Future", "Question"),
        ("tasks = [Future() for _ in range(3)]", "Future", "tasks"),
    ],
)
def test_a_lock_that_is_not_in_the_table_is_found(source, kind, name):
    """The control: a made-up lock is seen, however it is made, and is none of those in the table."""
    (lock,) = locks_in("pool/shelf.py", ast.parse(source))

    assert lock == Lock("pool/shelf.py", kind, name)
    assert lock not in locks_told(text_of(ARCHITECTURE))


def test_what_is_no_lock_is_passed_over():
    """The control: taking one, naming its class, and a class of the same name."""
    source = "with lock: pass\nlock.acquire()\nkind = threading.RLock\nclass A(Event): pass\n"

    assert locks_in("a.py", ast.parse(source)) == set()


def anchors_of(text: str) -> set[str]:
    """Return what a document's headings are linked to by."""
    titles = re.findall(r"^#+ (.+)$", re.sub(r"```.*?```", "", text, flags=re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(document: str, text: str) -> list[str]:
    """Return the links of a document to files or headings that are not there."""
    return [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if not _leads(document, text, link)]


def _leads(document: str, text: str, link: str) -> bool:
    if re.match(r"https?://", link):
        return True
    path, _, anchor = link.partition("#")
    target = ((ROOT / document).parent / path) if path else ROOT / document
    if not target.exists():
        return False
    return not anchor or anchor in anchors_of(target.read_text(encoding="utf-8") if path else text)


@pytest.mark.parametrize("document", MARKDOWN)
def test_links_lead_somewhere(document):
    """Files that are there, and headings in them."""
    assert broken_links(document, text_of(document)) == []


@pytest.mark.parametrize("link", ["docs/shelf.md", "docs/architecture.md#shelves", "#shelves"])
def test_a_broken_link_is_found(link):
    """The control: a file, a heading elsewhere, and a heading here that are not there."""
    text = (
        f"## Locks\n[a]({link}) [b](docs/architecture.md#who-holds-whom) [c](#locks) [d](https://a.example/)"
    )

    assert broken_links(README, text) == [link]


@pytest.mark.parametrize("document", MARKDOWN)
def test_no_line_names_a_machine(document):
    """Nothing in them belongs to one machine or one registry."""
    assert not re.search(r"/(root|home|work|tmp)/|pypi\.|localhost:\d", text_of(document))


def links_out(text: str) -> list[str]:
    """Return the links of a page to what a site of the pages has not got."""
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    return [link for link in links if link.startswith("../") and link[3:].partition("#")[0] not in HOMES]


@pytest.mark.parametrize("page", [name for name in MARKDOWN if name.startswith("docs/")])
def test_pages_link_to_pages(page):
    """And to files at the top of the project that a page includes: others are not in the site."""
    assert links_out(text_of(page)) == []


def test_a_link_to_a_file_that_is_no_page_is_found():
    """The control: one that is a page, with a heading, and one that is none."""
    assert links_out("[a](../CONTRIBUTING.md#run-it) [b](../setup.cfg) [c](doctor.md)") == ["../setup.cfg"]


def test_commands_are_those_of_the_script():
    """Each command that is told of is one of `.ci/run`."""
    run = text_of(".ci/run")
    told = {code.split()[1] for code in code_in(text_of(CONTRIBUTING)) if code.startswith(".ci/run ")}

    assert {"quick", "check", "test", "fix"} <= told
    assert [
        word for word in told if not re.search(rf"^ +[\w |]*\b{word}\b[\w |]*\)", run, re.MULTILINE)
    ] == []


@pytest.mark.parametrize(
    "words",
    [
        f"then at most {MAXIMUM}",
        f"up to {MOST_STALLED} may stall",
        f"After {STALLED:g} second ",
        f"For {THRIFT * 1000:g} ms after the first acceptance",
        f"at most {RESET_PAUSE * 1000:g} ms after a reset, up to {DEFAULTS['backoff_max']:g} s otherwise",
        f"begins up to {HOLDS * 1000:g} ms after failures",
        f"the newest {MOST_UNLEASED} that a server has accepted",
        f"the newest {_KEPT} strongly",
    ],
)
def test_numbers(words):
    """A number in the architecture is the one in the code."""
    assert words in re.sub(r"\s+", " ", text_of(ARCHITECTURE))


def told_to_install(text: str) -> list[str]:
    """Return where a text has its reader install this project by its name."""
    return re.findall(r"install[^\n]{0,40}?[ '\"]resilient[-_]transport\b", text)


def test_nobody_is_told_to_install_it_from_an_index() -> None:
    """No index has it, and who takes its name there may be anybody: it is installed from a clone."""
    texts = {path: path.read_text() for path in (ROOT / PACKAGE).rglob("*.py")}
    texts |= {ROOT / name: (ROOT / name).read_text() for name in (*MARKDOWN, "tests/collecting.py")}

    assert [path for path, text in texts.items() if told_to_install(text)] == []


@pytest.mark.parametrize(
    "text", ["pip install 'resilient-transport[cli]'", "install resilient_transport[testing]"]
)
def test_such_a_command_is_found(text: str) -> None:
    """The control."""
    assert told_to_install(text)
