"""What setup.cfg allows: the Pythons it names, and the lowest version of each dependency.

Uses nothing but the standard library, since `.ci/noxfile.py` reads it, too, before anything is installed.
"""

import configparser
import re
from pathlib import Path

SETUP = Path(__file__).resolve().parents[2] / "setup.cfg"
#: The first Python whose free-threaded build is no experiment (PEP 779).
FREE_THREADED = (3, 14)

_VERSION = re.compile(r"Programming Language :: Python :: 3\.(\d+)")
_BOUND = re.compile(r"([\w-]+) *>= *([\d.]+)")


def setting(section, name):
    """Return the lines of a setting in setup.cfg."""
    read = configparser.ConfigParser()
    read.read(SETUP, encoding="utf-8")
    return read[section][name].split("\n")[1:]


def pythons():
    """Return the Pythons that the classifiers name, and the free-threaded builds of the newer ones."""
    found = [_VERSION.fullmatch(line) for line in setting("metadata", "classifiers")]
    minors = [int(match[1]) for match in found if match]
    threaded = [f"3.{minor}t" for minor in minors if (3, minor) >= FREE_THREADED]
    return [*(f"3.{minor}" for minor in minors), *threaded]


def lowest():
    """Return each dependency at the lowest version that is allowed, as pip wants to be told.

    Raises:
        ValueError: one has no lower bound, so nobody can tell whether it works.
    """
    return [f"{name}=={version}" for name, version in bounds(setting("options", "install_requires"))]


def bounds(requirements):
    """Return (name, lowest version) of each requirement."""
    found = [(requirement, _BOUND.match(requirement)) for requirement in requirements]
    for requirement, match in found:
        if match is None:
            raise ValueError(f"{requirement}: it needs a lower bound in setup.cfg, name >= version")
    return [match.groups() for _, match in found]
