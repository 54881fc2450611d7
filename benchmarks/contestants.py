"""Who is compared, in the order of the tables' columns. `clients.py` has what each of them does.

`stock` is what most ratios are against. `stock again` is the control: the same thing once more, so that its
ratio shows nothing but noise.
"""

from collections.abc import Iterable
from typing import Final

#: `ssl` and `socket` by hand, with one context: what nobody can go below.
FLOOR: Final = "floor"
#: urllib3's `PoolManager` with one context.
URLLIB3: Final = "urllib3"
STOCK: Final = "stock"
CONTROL: Final = "stock again"
RETRY: Final = "Retry(3)"
#: httpx, with httpx-retries as its transport.
HTTPX: Final = "httpx-retries"
NIQUESTS: Final = "niquests"
OURS: Final = "ResilientAdapter"
#: The same, with its connections made before the clock starts.
WARMED: Final = "warmed"

CONTESTANTS: Final = (FLOOR, URLLIB3, STOCK, CONTROL, RETRY, HTTPX, NIQUESTS, OURS, WARMED)
#: Those that make calls without having been warmed.
PEERS: Final = CONTESTANTS[:-1]
#: Those that are adapters of `requests`.
ADAPTERS: Final = (STOCK, CONTROL, RETRY, OURS)


def in_order(names: Iterable[str]) -> list[str]:
    """Sort names as the columns are sorted; others come last, as they came."""
    known = {name: place for place, name in enumerate(CONTESTANTS)}
    return sorted(dict.fromkeys(names), key=lambda name: known.get(name, len(known)))
