"""Every example of the README and of the pages runs, here or in the file that the line above it names."""

import ast
import logging

import pytest
import requests

from resilient_transport import events, registry, uninstall
from resilient_transport.installation import _installed
from resilient_transport.testing import Script
from tests.examples import Fence, documents, fences_in, fences_of, run_example
from tests.programs import ROOT

EXAMPLES = [fence for document in documents() for fence in fences_of(document, "python")]
HERE = [fence for fence in EXAMPLES if not fence.runner]
ELSEWHERE = [fence for fence in EXAMPLES if fence.runner]


def name_of(fence: Fence) -> str:
    """Return where an example begins."""
    return f"{fence.document}:{fence.line}"


@pytest.fixture(autouse=True)
def clean_slate(monkeypatch, tmp_path):
    """Begin without the environment's proxies and CA, in an empty folder; end as if nothing had run."""
    monkeypatch.setattr(requests.Session, "trust_env", False, raising=False)
    monkeypatch.chdir(tmp_path)
    root = logging.getLogger()
    monkeypatch.setattr(root, "handlers", [*root.handlers])
    levels = {name: logging.getLogger(name).level for name in (None, "resilient_transport")}
    yield
    uninstall()
    registry.clear()
    for hook in events.subscribers():
        events.unsubscribe(hook)
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


@pytest.mark.parametrize("fence", HERE, ids=name_of)
def test_an_example_runs(server, fence, capsys):
    """It runs as it stands, but for the names of the server and its files; no thread of it fails."""
    server.play(Script())
    run_example(fence.code, server)

    assert "Traceback" not in capsys.readouterr().err


def test_examples_are_found():
    """The control: both kinds are there, and none is lost between them."""
    assert min(len(HERE), len(ELSEWHERE)) > 3
    assert len(EXAMPLES) == sum(
        (ROOT / document).read_text(encoding="utf-8").count("\n```python\n") for document in documents()
    )


def test_an_example_that_raises_is_found(server):
    """The control: a program that ends in an error is an error of its test."""
    program = """import requests
answer = requests.get("https://api.example/status/500", verify="ca.pem", cert=("client.pem", "client.key"))
answer.raise_for_status()
"""

    with pytest.raises(requests.HTTPError, match="500"):
        run_example(program, server)


def test_nothing_of_an_example_stays(server):
    """The control of the fixture: what an example installs is gone when the next one begins."""
    run_example("import resilient_transport\nresilient_transport.install()", server)

    assert len(_installed) == 1


#: What runs the code of an example, or a program that is made of it.
RUNNERS = {"exec", "for_server", "play", "run_example", "run_python"}


def is_run(fence: Fence) -> bool:
    """Tell whether the file that an example names is there, reads its document, and runs code."""
    file = ROOT / fence.runner
    if not file.is_file():
        return False
    nodes = list(ast.walk(ast.parse(file.read_text(encoding="utf-8"))))
    reads = any(isinstance(node, ast.Constant) and node.value == fence.document for node in nodes)
    return reads and any(isinstance(node, ast.Name) and node.id in RUNNERS for node in nodes)


@pytest.mark.parametrize("fence", ELSEWHERE, ids=name_of)
def test_an_example_is_run_by_the_file_that_it_names(fence):
    """A file that is gone, or that runs the examples of another document, runs nothing."""
    assert is_run(fence)


@pytest.mark.parametrize(
    ("runner", "document"),
    [
        ("tests/no_such_file.py", "docs/waterfall.md"),
        ("tests/waterfall/test_recorder.py", "docs/clusters.md"),
        ("tests/test_docs.py", "docs/architecture.md"),
    ],
)
def test_a_file_that_does_not_run_it_is_found(runner, document):
    """The control: one that is not there, one that reads another document, and one that runs nothing."""
    (fence,) = fences_in(f"<!-- run by {runner} -->\n```python\nx = 1\n```\n", document)

    assert fence.runner == runner
    assert not is_run(fence)
