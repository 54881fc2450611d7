"""Text of others, made harmless for a terminal: no control sequence, nothing that cannot be encoded. Pure."""

from __future__ import annotations


def printable(text: str, encoding: str = "utf-8") -> str:
    """A text on one line, in which what cannot be shown is escaped as in a string of Python.

    Args:
        text: may be a certificate's subject, a server's word, a path.
        encoding: what the terminal takes.
    """
    if text.isprintable() and text.isascii():
        return text
    return "".join(char if _is_harmless(char, encoding) else _escaped(char) for char in text)


def can_show(text: str, encoding: str) -> bool:
    """Whether an encoding has all characters of a text."""
    try:
        text.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _is_harmless(char: str, encoding: str) -> bool:
    """Whether it is a letter, a sign or the plain space: no control, no mark that turns the writing round."""
    return char.isprintable() and (char.isascii() or can_show(char, encoding))


def _escaped(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")
