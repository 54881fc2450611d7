"""What Sphinx does with tables: a long name goes on in the next line after a joint, not after any letter."""

from __future__ import annotations

import re

from docutils import nodes
from sphinx.application import Sphinx

#: After what a name may be broken. The prefix of the settings' variables stays whole.
JOINT = re.compile(r"(?<=[_./(=])(?<!RESILIENT_)(?=[A-Za-z])(?!py\b)")


def break_names(_: Sphinx, page: nodes.document, __: str) -> None:
    """Allow a break at each joint of the code in a page's tables."""
    for cell in page.findall(nodes.entry):
        for code in list(cell.findall(nodes.literal)):
            first, *rest = JOINT.split(code.astext())
            code.children = [nodes.Text(first)]
            for part in rest:
                code += [nodes.raw("", "<wbr>", format="html"), nodes.Text(part)]


def setup(app: Sphinx) -> None:
    """Connect what this file does."""
    app.connect("doctree-resolved", break_names)
