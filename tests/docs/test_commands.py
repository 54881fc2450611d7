"""The commands of the documents can be given: their programs, arguments, extras and variables are there."""

import argparse
import configparser
import re
import shlex
from typing import NamedTuple

import pytest

from resilient_transport.cli.main import commands, parser
from resilient_transport.cli.run.launcher import RUN, apart
from resilient_transport.settings import SETTINGS
from tests.examples import Fence, documents, fences_of
from tests.programs import ROOT

FENCES = [fence for document in documents() for fence in fences_of(document, "sh")]
VARIABLES = {setting.variable: setting.kind for setting in SETTINGS}
#: What stands between two commands.
BETWEEN = {"|", "||", "&&", ";", "&"}


class Said(NamedTuple):
    """A command as somebody types it."""

    #: What is set for it alone.
    variables: dict[str, str]
    words: list[str]


def commands_in(code: str) -> list[Said]:
    """Return the commands of a fence, without comments and what stands behind `>`."""
    found = []
    text = ""
    for line in code.replace("\\\n", " ").splitlines():
        text += line + "\n"
        try:
            words = words_of(text)
        except ValueError:  # a quotation goes on in the next line
            continue
        text = ""
        while words:
            end = next((number for number, word in enumerate(words) if word in BETWEEN), len(words))
            found.append(said(words[:end]))
            words = words[end + 1 :]
    assert not text, f"a quotation has no end: {text}"
    return found


def words_of(text: str) -> list[str]:
    """Return the words of a line, as a shell takes it apart."""
    lexer = shlex.shlex(text, posix=True, punctuation_chars=";|&")
    lexer.whitespace_split = True
    return list(lexer)


def said(words: list[str]) -> Said:
    """Return a command, with what is set before it."""
    words = words[words[:1] == ["export"] :]
    variables = {}
    while words and (found := re.fullmatch(r"([A-Z_]+)=(.*)", words[0], re.DOTALL)):
        variables[found[1]] = found[2]
        words = words[1:]
    redirections = [number for number, word in enumerate(words) if re.match(r"\d?>", word)]
    return Said(variables, words[: redirections[0]] if redirections else words)


def what_is_wrong(command: Said) -> str:
    """Return why a command cannot be given; empty: it can, or it is none of ours."""
    for name, text in command.variables.items():
        if name.startswith("RESILIENT_TRANSPORT_") and not is_allowed(name, text):
            return f"{name}={text}"
    for start, wrong in CHECKS.items():
        if command.words[: len(start.split())] == start.split():
            return wrong(command.words[len(start.split()) :])
    return ""


def is_allowed(name: str, text: str) -> bool:
    """Tell whether this is a setting, and may be that."""
    try:
        return name in VARIABLES and VARIABLES[name].read(text) is not NotImplemented
    except ValueError:
        return False


def wrong_arguments(arguments: list[str]) -> str:
    """Return why our own parser takes arguments for wrong."""
    is_run = arguments[:1] == [RUN.name]
    ours, program = apart(arguments[1:]) if is_run else (arguments[1:], [])
    try:
        parser(commands()).parse_args([*arguments[:1], *ours], argparse.Namespace(program=program))
    except SystemExit as end:
        return f"{arguments} ends with status {end.code}" if end.code else ""
    return "" if program or not is_run else "run has no program"


def wrong_extras(arguments: list[str]) -> str:
    """Return the extras that `setup.cfg` has not got."""
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    asked = {extra for word in arguments if word.startswith(".[") for extra in re.findall(r"[\w-]+", word)}
    return " ".join(sorted(asked - set(setup["options.extras_require"])))


def wrong_run(arguments: list[str]) -> str:
    """Return the command that `.ci/run` has not got."""
    known = re.findall(r"^#   \.ci/run +([a-z]+)\b", (ROOT / ".ci" / "run").read_text("utf-8"), re.MULTILINE)
    return "" if not arguments or arguments[0] in known else arguments[0]


#: By the first words of a command, what looks for mistakes in the others.
CHECKS = {
    "python -m resilient_transport": wrong_arguments,
    "resilient-transport": wrong_arguments,
    "python -m pip install": wrong_extras,
    "pip install": wrong_extras,
    "uv pip install": wrong_extras,
    ".ci/run": wrong_run,
}


@pytest.mark.parametrize("fence", FENCES, ids=lambda fence: f"{fence.document}:{fence.line}")
def test_its_commands_can_be_given(fence: Fence):
    """Each as it stands."""
    found = commands_in(fence.code)

    assert found
    assert [wrong for command in found if (wrong := what_is_wrong(command))] == []


@pytest.mark.parametrize(
    "line",
    [
        "python -m resilient_transport doctor https://api.example/words/3 --burst 8",
        "python -m resilient_transport run --html calls.html program.py --its --own",
        "resilient-transport settings | grep retries",
        "RESILIENT_TRANSPORT_RETRIES=3 python program.py",
        "export RESILIENT_TRANSPORT_LOG=info",
        "pip install '.[otel,redis]'",
        "python -m pip install .",
        ".ci/run test -k gate && .ci/run",
        "python -c 'print(1)\nprint(2)' > numbers.txt",
        "curl --dance https://api.example/ 2>/dev/null",
    ],
)
def test_a_right_command_is_right(line):
    """The control: these can be given, or are none of ours."""
    found = commands_in(line)

    assert found
    assert [wrong for command in found if (wrong := what_is_wrong(command))] == []


@pytest.mark.parametrize(
    "line",
    [
        "python -m resilient_transport dance",
        "python -m resilient_transport doctor \\\n  https://api.example/ --burst many",
        "true; resilient-transport doctor --no-such-option",
        "python -m resilient_transport run --html calls.html",
        "RESILIENT_TRANSPORT_RETRIES=many python program.py",
        "export RESILIENT_TRANSPORT_RETRYS=3",
        "pip install '.[otel,shelf]'",
        "uv pip install -e '.[shelf]'",
        ".ci/run dance  # no comment",
    ],
)
def test_a_wrong_command_is_found(line):
    """The control: a command, an argument, an option, a program, a value, a variable, an extra."""
    assert any(what_is_wrong(command) for command in commands_in(line))
