"""What Sphinx does not check of the site by itself: the reference is complete, and no link is dead."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterator, Mapping, Set
from pathlib import Path
from urllib.parse import unquote, urlsplit

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

from docs.public import public_names

REFERENCE = "reference"
log = logging.getLogger(__name__)


def differences(shown: Set[str], public: Set[str]) -> Iterator[str]:
    """Yield what is wrong with a reference that shows these names."""
    for name in sorted(public - shown):
        yield f"{name} is public, and the reference has not got it: has it a docstring, or `#:` above it?"
    for name in sorted(shown - public):
        yield f"{name} is in the reference, and docs/public.py has not got it among what is public"


def check_reference(_: Sphinx, env: BuildEnvironment) -> None:
    """Compare the reference with the package."""
    shown = {
        name
        for name, entry in env.get_domain("py").objects.items()
        if entry.docname == REFERENCE and entry.objtype != "module" and not entry.aliased
    }
    for difference in differences(shown, public_names()):
        log.warning(difference, location=REFERENCE)


def links_of(pages: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the page and the target of each link within a site of these pages, by their names."""
    for name, text in pages.items():
        for target in re.findall(r'<(?:a|link|script|img)\b[^>]*?\b(?:href|src)="([^"]+)"', text):
            if not urlsplit(target).scheme:
                yield name, target


def broken_links(pages: Mapping[str, str], files: set[str]) -> list[str]:
    """Return the links of a site's pages that lead to no file, or to no place on a page."""
    places = {name: set(re.findall(r'\bid="([^"]+)"', text)) for name, text in pages.items()}
    found = []
    for name, target in links_of(pages):
        link = urlsplit(target)
        path = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(link.path)))
        file = path if link.path else name
        if file not in files or (link.fragment and unquote(link.fragment) not in places.get(file, ())):
            found.append(f"{name}: {target}")
    return found


def check_links(app: Sphinx, error: Exception | None) -> None:
    """Look up each link of the site in the site."""
    if error is not None or app.builder.name != "html":
        return
    site = Path(app.outdir)
    files = {path.relative_to(site).as_posix() for path in site.rglob("*") if path.is_file()}
    pages = {name: (site / name).read_text(encoding="utf-8") for name in files if name.endswith(".html")}
    for link in broken_links(pages, files):
        log.warning("a link of the site leads nowhere: %s", link)


def setup(app: Sphinx) -> None:
    """Connect what this file does."""
    public_names()  # before autodoc, which may change what a class says of itself
    app.connect("env-check-consistency", check_reference)
    app.connect("build-finished", check_links)
