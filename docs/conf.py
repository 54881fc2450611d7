"""Sphinx builds the pages of this folder into a site by this: `.ci/run docs`. It fetches nothing."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from docs import checks, docstrings, pages, tables
from resilient_transport import __version__

project = "resilient_transport"
author = "The resilient_transport authors"
release = version = __version__
extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    docstrings.__name__,
    pages.__name__,
    checks.__name__,
    tables.__name__,
]

#: As deep as headings go: each has the anchor that a code host gives it.
myst_heading_anchors = 6

autodoc_default_options = {"members": True, "member-order": "bysource"}
autodoc_typehints_format = "short"
#: What stands in backticks in a docstring is code, and a link where it names something of the reference.
default_role = "py:obj"
#: Dashes only: quoted values stay as they are typed.
smartquotes_action = "D"
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88

nitpicky = True
#: Types of others, those of the package that no page tells of, and type variables.
nitpick_ignore_regex = [
    ("py:.*", r"(?!resilient_transport\b).*"),
    ("py:obj", ".*"),
    ("py:class", r"resilient_transport\.(retry|util)\..*|.*\.[A-Z]"),
]

html_theme = "furo"
html_title = f"{project} {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_show_copyright = False
html_copy_source = False
html_show_sourcelink = False
