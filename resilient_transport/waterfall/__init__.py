"""The waterfall: when each phase of each attempt began and how long it took, as a page or as a HAR.

`recording` records the calls of the process while a block runs, and gives a `Recording`, which writes them
down. `chart` has the values, `page` and `har` turn them into text. None of them holds a query, a header or a
credential, because a chart has no place for one.
"""

from .recorder import Recording, recording

__all__ = ["Recording", "recording"]
