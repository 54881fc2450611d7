"""The tutorial works as pasted, from top to bottom: its files, its commands, and what they print."""

import configparser
import json
import posixpath
import re
import shlex
from pathlib import Path
from typing import NamedTuple

import pytest

from resilient_transport.testing import How, Moment
from tests.programs import ROOT, run_python

PAGE = "docs/tutorial.md"


class Fence(NamedTuple):
    """What a page shows: in which language, as which file, and what."""

    language: str
    name: str
    text: str


class Shown(NamedTuple):
    """A command of a page, and what it prints."""

    command: str
    output: str


def fences_of(page: str) -> list[Fence]:
    """Return the fences of a page in their order; one that is no file has no name."""
    text = (ROOT / page).read_text(encoding="utf-8")
    named = r"(?:`([\w.]+)`:\n\n(?:<!-- [^\n]* -->\n)?)?```(\w+)\n(.*?)```"
    return [
        Fence(language, name, shown) for name, language, shown in re.findall(named, text, flags=re.DOTALL)
    ]


def files_of(page: str) -> dict[str, str]:
    """Return the files that a page has its reader save, by their names."""
    return {fence.name: fence.text for fence in fences_of(page) if fence.name}


def commands_of(page: str) -> list[str]:
    """Return the commands of a page, line by line."""
    return [line for fence in fences_of(page) if fence.language == "sh" for line in fence.text.splitlines()]


def shown_by(page: str) -> list[Shown]:
    """Return each command that Python runs, with the output that the page shows below it."""
    fences = fences_of(page)
    pairs = [(one, below) for one, below in zip(fences, fences[1:], strict=False) if below.language == "text"]
    return [Shown(one.text.strip(), below.text) for one, below in pairs if one.text.startswith("python ")]


#: Runs Python's own commands one after another, as each would run by itself, and tells what each has printed.
PLAYER = """
import contextlib, io, json, os, runpy, sys
folder, commands = sys.argv[1], json.loads(sys.argv[2])
os.chdir(folder)
sys.path[0], said = folder, []
for _, *words in commands:
    sys.argv, output = words, io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        try:
            if words[0] == "-m":
                sys.argv = words[1:]
                runpy.run_module(words[1], run_name="__main__", alter_sys=True)
            else:
                runpy.run_path(words[0], run_name="__main__")
        except SystemExit:
            pass
        except BaseException as error:
            while error.__traceback__.tb_frame.f_code.co_filename != words[0]:
                error.__traceback__ = error.__traceback__.tb_next
            sys.excepthook(type(error), error, error.__traceback__)
    said.append(output.getvalue())
print(json.dumps(said))
"""
#: A reader has no plugin of pytest but the package's own.
READERS_PLUGINS = {
    "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
    "PYTEST_PLUGINS": "resilient_transport.testing.pytest_plugin",
}


def play(folder: Path, files: dict[str, str], commands: list[str]) -> list[str]:
    """Save files in a folder, run commands there in one Python, and return what each has printed."""
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    words = json.dumps([shlex.split(command) for command in commands])
    ran = run_python("-c", PLAYER, str(folder), words, measured=False, **READERS_PLUGINS)
    said: list[str] = json.loads(ran.stdout)
    return said


#: What is another one in each run: ports, seconds, sizes of heads, and lines in the source of others.
VARYING = {
    r"(localhost:|127\.0\.0\.1:|port=)\d+": r"\1PORT",
    r"\b\d+\.\d+ ?s\b": "SECONDS",
    r"\b\d+\s+bytes\s+out\b": "N bytes out",
    r"_ssl\.c:\d+": "_ssl.c",
    r"\s+": " ",
}


def alike(output: str) -> str:
    """Return an output without what is another one in each run, and without its line breaks."""
    for pattern, instead in VARYING.items():
        output = re.sub(pattern, instead, output)
    return output.strip()


@pytest.mark.slow
def test_each_command_prints_what_is_shown(tmp_path):
    """Run in their order, by one Python, in a folder that has the files of the page and nothing else."""
    shown = shown_by(PAGE)
    said = play(tmp_path, files_of(PAGE), [one.command for one in shown])

    assert len(shown) >= 6
    assert list(map(alike, said)) == [alike(one.output) for one in shown]


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("3 attempts in 0.122 s to 127.0.0.1:4711", "3 attempts in 1.2 s\nto 127.0.0.1:80", True),
        ("3 passed in 0.51s", "3 passed in 12.03s", True),
        ("3 attempts in 0.122 s", "2 attempts in 0.122 s", False),
        ("3 passed in 0.51s", "2 passed in 0.51s", False),
        ("adapter: reset again whole", "adapter: reset again", False),
    ],
)
def test_what_varies_is_no_difference(first, second, same):
    """The control: ports, seconds and line breaks may differ, and nothing else."""
    assert (alike(first) == alike(second)) is same


def test_every_file_is_used():
    """One that no command runs is imported by one that a command runs."""
    files, commands = files_of(PAGE), " ".join(commands_of(PAGE))
    run = {name for name in files if f" {name}" in commands}
    imported = {f"{name}.py" for text in files.values() for name in re.findall(r"^from (\w+)", text, re.M)}

    assert len(run) >= 6
    assert set(files) - run - imported == set()


def test_the_first_commands_make_an_environment():
    """The clone is the README's, and what pip installs, with an extra that there is, into what was made."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    clone, make, enter, create, activate, install = commands_of(PAGE)[:6]
    folder = re.fullmatch(r"mkdir (\w+)", make)[1]
    path, extra = re.fullmatch(r"pip install '(.+)\[(\w+)\]'", install).groups()

    assert clone in commands_of("README.md")
    assert re.fullmatch(r"git clone \S+/([\w-]+)\.git", clone)[1] == posixpath.normpath(f"{folder}/{path}")
    assert enter == f"cd {folder}"
    assert (create, activate) == ("python3 -m venv venv", ". venv/bin/activate")
    assert {"pytest", "trustme"} <= {
        line.split()[0] for line in setup["options.extras_require"][extra].splitlines() if line
    }


def test_no_other_command_is_shown():
    """Every other command is Python's, so that all of them were run."""
    others = commands_of(PAGE)[6:]

    assert [command for command in others if not command.startswith("python ")] == []
    assert others == [one.command for one in shown_by(PAGE)]


@pytest.mark.parametrize("kind", [Moment, How])
def test_every_moment_and_way_has_a_row(kind):
    """In the order of the code."""
    text = (ROOT / PAGE).read_text(encoding="utf-8")

    assert re.findall(rf"^\| `({kind.__name__}\.\w+)` \|", text, re.MULTILINE) == list(map(str, kind))
