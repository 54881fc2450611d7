"""What Sphinx makes of the package's docstrings: plain text, with `Args:` and the like as Google has it."""

from __future__ import annotations

import ast
import inspect
import re
from typing import Any

from sphinx.application import Sphinx
from sphinx.ext.napoleon import Config, GoogleDocstring
from sphinx.pycode import ModuleAnalyzer

from docs.public import PACKAGE, RETURNED, is_shown
from resilient_transport import Attempt, events, public_names

#: What users get and do not make.
NEVER_MADE = (events.Event, Attempt, BaseException)
RETURNED_CLASSES = {PACKAGE + name for name in RETURNED}
#: The list of a class's arguments, up to what follows it.
ARGUMENTS = re.compile(r"^Args:\n(?:(?: .*)?\n)+(?=\S|\Z)", re.MULTILINE)


def know_fields(_: Sphinx) -> None:
    """Find the comments of public classes, which claim the package as their home, where they are."""
    home = ModuleAnalyzer.for_module(PACKAGE)
    home.analyze()
    for node in ast.parse(inspect.getsource(public_names)).body:
        if isinstance(node, ast.ImportFrom) and node.level and node.module:
            other = ModuleAnalyzer.for_module(f"{PACKAGE}.{node.module}")
            other.analyze()
            home.attr_docs |= other.attr_docs
            home.tagorder |= other.tagorder


def process_docstring(app: Sphinx, what: str, name: str, value: Any, options: Any, lines: list[str]) -> None:
    """Turn `Args:` and the like into lists."""
    if hasattr(value, "__dataclass_fields__") and isinstance(value, type):
        lines[:] = without_arguments(lines)
    # What stands before the first colon of an attribute's comment is no type.
    kind = "method" if what in ("attribute", "data", "property") else what
    lines[:] = GoogleDocstring(list(lines), Config(), app, kind, name, value, options).lines()


def without_arguments(lines: list[str]) -> list[str]:
    """Return the docstring of a class without its arguments: its fields are the same, and are explained."""
    return ARGUMENTS.sub("", "\n".join(lines)).split("\n")


def process_signature(
    app: Sphinx, what: str, name: str, value: Any, options: Any, signature: str | None, returned: str | None
) -> tuple[str | None, str | None] | None:
    """Leave out signatures of what nobody calls, and defaults that are objects without a spelling."""
    if signature is None:
        return None
    if isinstance(value, type) and (name in RETURNED_CLASSES or issubclass(value, NEVER_MADE)):
        return "", None
    return re.sub(r"<(?:factory|object object)>", "...", signature), returned


def process_bases(app: Sphinx, name: str, value: Any, options: Any, bases: list[Any]) -> None:
    """Leave out bases that nobody meets."""
    bases[:] = [base for base in bases if not getattr(base, "__name__", "").startswith("_")]


def skip_member(app: Sphinx, what: str, name: str, value: Any, skip: bool, options: Any) -> bool | None:
    """Leave out what is not for users."""
    named = getattr(value, "fget", value)
    return None if is_shown(getattr(named, "__qualname__", name)) else True


def setup(app: Sphinx) -> None:
    """Connect what this file does."""
    app.connect("builder-inited", know_fields)
    app.connect("autodoc-process-docstring", process_docstring)
    app.connect("autodoc-process-signature", process_signature)
    app.connect("autodoc-process-bases", process_bases)
    app.connect("autodoc-skip-member", skip_member)
