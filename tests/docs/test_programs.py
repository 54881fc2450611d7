"""`docs/programs.md` is true: its commands are taken, its tables are the code's, its output is real."""

import inspect
import re
import shlex
from argparse import ArgumentParser

import pytest

from resilient_transport import override, registry
from resilient_transport.cli.command import UNUSABLE
from resilient_transport.cli.main import parser
from resilient_transport.cli.run.launcher import RUN, apart
from resilient_transport.cli.run.report import lines
from resilient_transport.retry.causes import DEFAULT_LIMITS
from resilient_transport.retry.decision import RESET_PAUSE
from resilient_transport.telemetry.stats import OriginStats, Stats
from tests.examples import examples_of, run_example
from tests.programs import ROOT
from tests.test_docs import code_in, rows

PATH = "docs/programs.md"
PAGE = (ROOT / PATH).read_text(encoding="utf-8")


def table(head):
    """The cells of the table whose first column has this head."""
    return rows(PAGE[PAGE.index(f"\n| {head} |") :])


def blocks(language):
    """The fenced blocks of a language."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def program_of(command):
    """What a command has `run` start; SystemExit, if `run` would refuse its options."""
    words = shlex.split(command)
    ours, program = apart(words[words.index("run") + 1 :])
    parser([RUN]).parse_args([RUN.name, *ours])
    return program


def test_run_takes_each_command():
    """And starts what stands there."""
    commands = [line for block in blocks("sh") for line in block.splitlines()]

    assert [program_of(command)[0] for command in commands] == [
        "script.py", "-m", "script.py", "script.py", "-m",
    ]  # fmt: skip


def test_a_command_that_is_refused_is_found(capsys):
    """The control: an option that is spelled wrongly."""
    with pytest.raises(SystemExit) as refused:
        program_of("python -m resilient_transport run --sumary script.py")

    assert refused.value.code == UNUSABLE


def test_the_options_are_those_of_run():
    """Each of them, with the name of its value."""
    own = ArgumentParser(add_help=False)
    RUN.configure(own)
    code = [" ".join(filter(None, [one.option_strings[0], one.metavar])) for one in own._actions]

    assert sorted(code_in(row[0])[0] for row in table("option")) == sorted(code)


def test_the_summary_is_real():
    """Of these numbers it makes this line."""
    figures = Stats({"https://api.example": OriginStats(calls=12, retries=2, recovered=1)})

    assert blocks("text")[0] == f"resilient_transport: {next(lines(figures))}\n"


def test_the_arguments_of_override_are_the_codes():
    """In their order."""
    assert [code_in(row[0])[0] for row in table("argument")] == list(inspect.signature(override).parameters)


def story(text):
    """A call's attempts as the page may show them, whatever the time and the address."""
    return re.sub(
        r"\d+(\.\d+)?", "N", re.sub(r"connection to [\w.:]+", "connection to ADDRESS", text)
    ).split()


def test_the_attempts_are_real(server, capsys):
    """What the last example prints, but for times, bytes and the address."""
    registry.clear()
    run_example(examples_of(PATH)[-1], server)

    assert story(capsys.readouterr().out) == story(blocks("text")[-1])


@pytest.mark.parametrize(
    "words",
    [
        f"{DEFAULT_LIMITS['connect_retries']} of a connect by default",
        f"the first of which is at most {RESET_PAUSE:g} s",
        f"the exit status is {UNUSABLE}",
    ],
)
def test_numbers(words):
    """A number on the page is the one in the code."""
    assert words in re.sub(r"\s+", " ", PAGE)
