"""What is handed out: a source distribution with the whole project, and a wheel that works anywhere."""

import io
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from email.parser import HeaderParser
from pathlib import Path

import pytest

from resilient_transport import __version__
from resilient_transport.settings.environment import clean_environment
from tests.missing import missing
from tests.neighbours.conftest import no_hang_timeout
from tests.neighbours.environments import PATIENCE, Environment, commands
from tests.programs import ROOT
from tests.timeouts import HANG_TIMEOUT

pytestmark = pytest.mark.slow

#: What builds the packages and looks at them. setuptools 77 is the first that knows PEP 639.
TOOLS = ("build", "setuptools>=77", "twine", "wheel")
#: What setuptools adds to a source distribution.
ADDED = re.compile(r"PKG-INFO|resilient_transport\.egg-info/.*")
CALL = """
import importlib.util, sys
import requests, resilient_transport

url, ca, certificate, key = sys.argv[1:]
session = requests.Session()
session.trust_env = False
resilient_transport.mount(session)
print(session.get(url, verify=ca, cert=(certificate, key)).status_code)
print(resilient_transport.__file__)
print(importlib.util.find_spec("trustme"))
"""


@pytest.fixture(scope="module")
def tools(request):
    """The environment with what builds packages."""
    with no_hang_timeout(request.config):
        return Environment.of("packaging", *TOOLS)


@pytest.fixture(scope="module")
def files():
    """The project's files, by their paths: what git has, and what it would take."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: nothing says which files belong to the project")
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    told = subprocess.run(
        listing, cwd=ROOT, capture_output=True, text=True, timeout=HANG_TIMEOUT, check=False
    )
    if told.returncode:
        missing(f"git cannot list the files: {told.stderr}")
    return {name for name in told.stdout.split("\0") if (ROOT / name).is_file()}


@pytest.fixture(scope="module")
def built(tools, files, tmp_path_factory):
    """Return the paths of both packages, the source distribution first. A warning is an error.

    They are built from a copy of the files, among which lies what a run of the tests may leave there.
    """
    place = tmp_path_factory.mktemp("packages")
    for name in files:
        target = place / "source" / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / name, target)
    (place / "source" / "tests" / "left.pyc").write_bytes(b"")
    build = ["-m", "build", "--no-isolation", "--outdir", str(place / "out"), str(place / "source")]
    done = tools.run(*build, check=False, PYTHONWARNINGS="error", PYTHONPATH="")
    assert done.returncode == 0, done.stdout + done.stderr
    return tuple(sorted((place / "out").iterdir(), reverse=True, key=lambda path: path.suffix == ".gz"))


def held(source):
    """Return the files in a source distribution, without its folder."""
    with tarfile.open(source) as archive:
        return {member.name.partition("/")[2] for member in archive if member.isfile()}


def metadata(wheel):
    """Return the metadata of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        return HeaderParser().parsestr(archive.read(name).decode())


def test_the_source_distribution_holds_the_whole_project(built, files):
    """Tests, benchmarks, documents and all; and the control: nothing that merely lies there."""
    found = {name for name in held(built[0]) if not ADDED.fullmatch(name)}

    assert found == files
    assert "tests/left.pyc" not in found


def test_the_wheel_holds_the_package_alone(built, files):
    """With its marker for type checkers, and without a test."""
    with zipfile.ZipFile(built[1]) as archive:
        found = {name for name in archive.namelist() if ".dist-info/" not in name}

    assert found == {name for name in files if name.startswith("resilient_transport/")}
    assert "resilient_transport/py.typed" in found


def test_the_metadata_are_complete(built):
    """A licence as PEP 639 has it, and addresses that nobody can own (RFC 2606)."""
    told = metadata(built[1])
    addresses = dict(entry.split(", ") for entry in told.get_all("Project-URL"))

    assert told["Version"] == __version__
    assert (told["License-Expression"], told["License"]) == ("MIT", None)
    assert set(addresses) == {"Documentation", "Source", "Issues", "Changelog"}
    assert all(re.match(r"https://[\w-]+\.example/", address) for address in addresses.values())


def undescribed(place):
    """Write a source distribution that has no description, and return its path."""
    path = place / "x-1.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name, text in {
            "PKG-INFO": b"Metadata-Version: 2.4\nName: x\nVersion: 1\n",
            "setup.py": b"",
        }.items():
            entry = tarfile.TarInfo(f"x-1/{name}")
            entry.size = len(text)
            archive.addfile(entry, io.BytesIO(text))
    return path


def test_twine_finds_nothing_wrong(tools, built, tmp_path):
    """Strictly; and the control: it does in a package without a description."""
    bad = undescribed(tmp_path)
    check = ["-m", "twine", "--no-color", "check", "--strict", *map(str, built), str(bad)]
    told = tools.run(*check, check=False, COLUMNS="1000").stdout
    verdicts = dict(re.findall(r"^Checking (\S+): (\w+)", told, re.MULTILINE))

    assert verdicts == {**dict.fromkeys(map(str, built), "PASSED"), str(bad): "FAILED"}, told


@pytest.fixture(scope="module")
def installed(built, tmp_path_factory, request):
    """Return where the programs of a new environment are. It has the wheel, and what that asks for."""
    home = tmp_path_factory.mktemp("empty")
    venv.create(home, with_pip=False, symlinks=True)
    with no_hang_timeout(request.config):
        for command in commands(str(home / "bin" / "python")):
            install = [sys.executable, "-m", *command, str(built[1])]
            done = subprocess.run(install, capture_output=True, text=True, timeout=PATIENCE, check=False)
            if not done.returncode:
                break
        else:
            missing(f"the wheel cannot be installed: {done.stderr[-300:]}")
    return home / "bin"


def said_by(*command, folder):
    """Run a program outside the clone, and return the lines that it says."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=HANG_TIMEOUT,
        check=True,
    )
    return done.stdout.splitlines()


def test_an_empty_environment_can_use_the_wheel(installed, fault_server, tmp_path):
    """A call over loopback, and the command; the control: no extra and no clone is there to help."""
    authority = fault_server.authority
    url = fault_server.url + "/words/3"
    status, where, extra = said_by(
        installed / "python", "-c", CALL, url, authority.ca_file, *authority.client, folder=tmp_path
    )

    assert (status, extra) == ("200", "None")
    assert Path(where).is_relative_to(installed.parent)
    assert said_by(installed / "resilient-transport", "--version", folder=tmp_path) == [
        f"resilient_transport {__version__}"
    ]
