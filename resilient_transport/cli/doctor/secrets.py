"""The last door for secrets: what the user's URLs hold of them is taken out of all that is told.

No finding, chart or measured value should have one. A library's message, or a page that repeats what it was
asked for, may.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, TypeVar, cast
from urllib.parse import parse_qsl, unquote, urlsplit

T = TypeVar("T")

#: Stands for a secret.
HIDDEN: Final = "..."
#: What is shorter stands in other words, too: a password of less is looked for as a whole userinfo only, and
#: a value of a query only as a part of the whole query.
_LEAST_PASSWORD: Final = 4
_LEAST_VALUE: Final = 8


class Secrets:
    """Knows queries and credentials.

    Args:
        urls: those that were asked for, pages and proxies; None is left out.
    """

    __slots__ = ("_words",)

    def __init__(self, *urls: str | None) -> None:
        words = {word for url in urls if url for word in _secrets_in(url)}
        #: The longest first: a part of it may be a secret, too.
        self._words = sorted(words, key=len, reverse=True)

    def out_of(self, text: str) -> str:
        """A text without them."""
        for word in self._words:
            text = text.replace(word, HIDDEN)
        return text

    def out_of_all(self, value: T) -> T:
        """A value without them: a text, or dataclasses, sequences and mappings of texts."""
        return cast("T", self._mapped(value))

    def _mapped(self, value: Any) -> Any:
        if type(value) is str:
            return self.out_of(value)
        if isinstance(value, (list, tuple)) and type(value) in (list, tuple):
            return type(value)(map(self._mapped, value))
        if isinstance(value, Mapping):
            return {self._mapped(name): self._mapped(each) for name, each in value.items()}
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            names = [field.name for field in dataclasses.fields(value)]
            return dataclasses.replace(value, **{name: self._mapped(getattr(value, name)) for name in names})
        return value

    def __repr__(self) -> str:
        return f"<Secrets: {len(self._words)}>"


def _secrets_in(url: str) -> Iterator[str]:
    try:
        parts = urlsplit(url if "//" in url else f"//{url}")
        user, password, query = parts.username, parts.password, parts.query
    except ValueError:
        # It cannot be asked for either.
        return
    if user and password:
        yield from _spellings((f"{user}:{password}",), 1)
    yield from _spellings((password or "",), _LEAST_PASSWORD)
    yield from _spellings((query,), _LEAST_PASSWORD)
    yield from _spellings((value for _, value in parse_qsl(query)), _LEAST_VALUE)


def _spellings(words: Iterable[str], least: int) -> Iterator[str]:
    """Words as they are, and without their percent-encoding."""
    for word in words:
        for spelled in (word, unquote(word)):
            if len(spelled) >= least:
                yield spelled
