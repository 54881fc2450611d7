"""Tables as Markdown writes them."""

from collections.abc import Sequence


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table; its first two rows are the heads and the ruler."""
    return "\n".join(f"| {' | '.join(cells)} |" for cells in rows)
