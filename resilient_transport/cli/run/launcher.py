"""`run`: start a program as Python would, with this transport under it."""

from __future__ import annotations

import os
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Mapping, MutableMapping, Sequence
from contextlib import suppress
from typing import Final, NoReturn

from ..command import UNUSABLE, Command
from .startup.resilient_transport_hook import FOLDER, environment_with, watch, word_for

#: Options of Python that are followed by a value, in the same argument or in the next one.
_WITH_VALUE: Final = "WX"
#: Options of ours that are followed by a file, in the same argument or in the next one.
_FILES: Final = ("--html", "--har")
#: What Python runs, and `run` writes over for nobody.
_PROGRAMS: Final = (".py", ".pyc", ".pyw", ".pyz")
#: What Python puts into LC_CTYPE itself where the locale is C (PEP 538).
_COERCED: Final = ("C.UTF-8", "C.utf8", "UTF-8")


def apart(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The options that are ours, and the program with its arguments, whatever those look like."""
    ours = 0
    while ours < len(arguments):
        argument = arguments[ours]
        if argument in ("-", "--") or argument[:2] in ("-m", "-c") or not argument.startswith("-"):
            break
        ours += 1 + (argument in _FILES)
    program = list(arguments[ours:])
    if program[:1] == ["--"] and not _is_script_with_dash(program[1:]):
        program = program[1:]
    return list(arguments[:ours]), program


def _is_script_with_dash(program: Sequence[str]) -> bool:
    """Whether Python needs to be told that this is no option of its own."""
    return any(one.startswith("-") and one != "-" and one[:2] not in ("-m", "-c") for one in program[:1])


def configure(parser: ArgumentParser) -> None:
    """Add the arguments of `run`; the program is taken off before (`apart`)."""
    parser.usage = "%(prog)s [--summary] [--html FILE] [--har FILE] [--children] PROGRAM [ARGUMENT ...]"
    parser.description = (
        "Run PROGRAM (script.py, a folder, app.pyz, -m module, -c code, or - for standard input) as Python "
        "would, with this transport for every requests.Session that it makes. Settings come from the "
        "environment. Options of Python go before -m resilient_transport; with -I, -E or -S the program runs "
        "in this process, where some modules are imported already. A frozen program cannot be reached: it "
        "has to call resilient_transport.install()."
    )
    parser.add_argument(
        "--summary",
        action="store_true",
        help="print a line for each origin at exit: calls, failed, repeated, saved",
    )
    parser.add_argument(
        "--html",
        metavar="FILE",
        help="write a page at exit: the waterfall of the calls, when each phase began and how long it took",
    )
    parser.add_argument(
        "--har", metavar="FILE", help="write the same as HAR 1.2, for the developer tools of a browser"
    )
    parser.add_argument(
        "--children",
        action="store_true",
        help="the same for each Python that the program starts by its environment; the names of files get "
        "the number of the process: page.html becomes page.123.html",
    )


def run(arguments: Namespace) -> int:
    """Start the program; where there is `exec`, it takes the place of this process."""
    program: list[str] = arguments.program
    words = {word for word in ("summary", "children") if getattr(arguments, word)}
    for word in ("html", "har"):
        if (path := getattr(arguments, word)) is not None:
            if path.endswith(_PROGRAMS) or not path:
                return _refused(f"--{word} is followed by the file that is written, and {path!r} is none")
            try:
                words.add(word_for(word, path))
            except OSError as error:
                # There is no working directory any more.
                return _refused(f"--{word} {path!r} leads nowhere: {error.strerror}")
    ignores = sys.flags.ignore_environment or sys.flags.no_site
    if program in ([], ["-m"], ["-c"]):
        return _refused("there is nothing to run: name a script, -m module or -c code")
    if ignores and arguments.children:
        return _refused("--children needs PYTHONPATH and site, which -I, -E and -S turn off")
    environment = environment_with(words)
    if wrong := _wrong_setting(environment):
        return _refused(wrong)
    if ignores:
        from .same_process import run_here

        sys.orig_argv[1:] = [*options_of_python(sys.orig_argv), *program]
        watch({*words, f"pid={os.getpid()}"})
        return run_here(program[program[0] == "--" :])
    return _start(program, environment)


def _start(program: Sequence[str], environment: dict[str, str]) -> int:
    if os.pathsep in FOLDER:
        return _refused(f"PYTHONPATH cannot name {FOLDER}, which has {os.pathsep!r} in it")
    _let_coerce(environment)
    # As Python was called: how it was called says where it finds its modules.
    command = [sys.orig_argv[0], *options_of_python(sys.orig_argv), *program]
    if os.name == "nt":
        return _wait_for(command, environment)
    return _become(command, environment)


def _wrong_setting(environment: Mapping[str, str]) -> str | None:
    """What is wrong with the settings; the program would be told when it imports requests.

    What is no setting, and does nothing, is said here. For the program a warning may be an error.
    """
    if not any(name.upper().startswith("RESILIENT_TRANSPORT_") for name in environment):
        # Most of the time; and the settings import urllib3.
        return None
    from ...settings.environment import SETTINGS, told, unknown

    try:
        for setting in SETTINGS:
            told(setting.name)
    except ValueError as error:
        return str(error)
    for sentence in unknown():
        print(f"run: {sentence}", file=sys.stderr)
    return None


def options_of_python(command: Sequence[str]) -> list[str]:
    """The options of the interpreter in the command by which it was started."""
    options: list[str] = []
    rest = iter(command[1:])
    for argument in rest:
        if not argument.startswith("-") or argument == "-":
            break
        if argument.startswith("--"):
            options.append(argument)
            if argument == "--check-hash-based-pycs":
                options.append(next(rest))
            continue
        # Several may stand in one argument: -bWerror, -um module.
        at = next((at for at, letter in enumerate(argument) if letter in "mc" + _WITH_VALUE), None)
        if at is None:
            options.append(argument)
        elif argument[at] in _WITH_VALUE:
            options.append(argument)
            options += [next(rest)] if at == len(argument) - 1 else []
        else:
            options += [argument[:at]] if at > 1 else []
            break
    return options


def _let_coerce(environment: MutableMapping[str, str]) -> None:
    """In the C locale, let the program's Python find that locale, as this one has.

    It turns UTF-8 mode on there (PEP 540), but not if it finds what this one has put in its place.
    """
    is_told = "utf8" in sys._xoptions or "PYTHONUTF8" in environment
    if sys.flags.utf8_mode and not is_told and environment.get("LC_CTYPE") in _COERCED:
        environment["LC_CTYPE"] = "C"


def _become(command: Sequence[str], environment: MutableMapping[str, str]) -> NoReturn:
    # What a `sitecustomize` has printed would be lost.
    with suppress(AttributeError, OSError, ValueError):
        sys.stdout.flush()
    os.execve(sys.executable, list(command), dict(environment))  # noqa: S606 - no shell


def _wait_for(command: Sequence[str], environment: MutableMapping[str, str]) -> int:
    """Windows returns to the shell when a process makes another of itself."""
    import signal
    import subprocess

    # Ctrl-C goes to both, and is the program's.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return subprocess.call([sys.executable, *command[1:]], env=environment)  # noqa: S603


def _refused(why: str) -> int:
    print(f"run: {why}", file=sys.stderr)
    return UNUSABLE


RUN: Final = Command("run", "run a program that you cannot edit, with this transport", configure, run)
