"""The package inside an archive (zipapp), and archives under `run`."""

import shutil
import zipapp
from pathlib import Path

import pytest

import resilient_transport
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.cli.twice import RUN, started

pytestmark = pytest.mark.slow

#: A program that fetches a page, and says with what, and where that comes from.
FETCHES = """
import sys, requests
url, ca, cert, key = sys.argv[1:]
print(requests.get(url, verify=ca, cert=(cert, key)).status_code)
print(type(requests.Session().get_adapter(url)).__name__)
print(sys.modules["resilient_transport"].__file__)
"""


@pytest.fixture
def archived(tmp_path, server):
    """Return a function that makes an archive of a program, with this package in it if that is asked for."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=2),)))

    def make(program, package=False):
        source = tmp_path / "source"
        source.mkdir()
        (source / "__main__.py").write_text(program)
        if package:
            found = Path(resilient_transport.__file__).parent
            shutil.copytree(found, source / found.name, ignore=shutil.ignore_patterns("__pycache__"))
        zipapp.create_archive(source, tmp_path / "app.pyz")
        return str(tmp_path / "app.pyz")

    return make


def fetched(server, *arguments):
    """Run Python with these arguments and what the program needs; return the lines that it prints."""
    material = [server.url, server.authority.ca_file, *server.authority.client]
    # Coverage would look for the source of what is in an archive.
    ended = started(*arguments, *material, COVERAGE_PROCESS_CONFIG=None)
    assert (ended.status, ended.err) == (0, "")
    return ended.out.splitlines()


def test_an_archive_may_have_the_package_inside(archived, server):
    """It reads nothing beside its code: a call survives resets."""
    app = archived("import resilient_transport\nresilient_transport.install()\n" + FETCHES, package=True)

    assert fetched(server, app) == ["200", "ResilientAdapter", f"{app}/resilient_transport/__init__.py"]


def test_run_takes_an_archive(archived, server):
    """An archive is a program like any other."""
    app = archived(FETCHES)

    assert fetched(server, *RUN, app) == ["200", "ResilientAdapter", resilient_transport.__file__]


def test_run_may_be_in_an_archive_itself(archived, server, tmp_path):
    """What it starts imports the package from there."""
    app = archived("from resilient_transport.cli.main import main\nraise SystemExit(main())", package=True)
    (tmp_path / "fetches.py").write_text(FETCHES)
    said = fetched(server, app, "run", str(tmp_path / "fetches.py"))

    assert said == ["200", "ResilientAdapter", f"{app}/resilient_transport/__init__.py"]
