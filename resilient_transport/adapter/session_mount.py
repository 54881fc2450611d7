"""`requests.Session.mount`, with somebody who sees each adapter before it is mounted.

What stands there is wrapped, and put back later. Somebody else may have wrapped it in turn meanwhile: then
our wrapper stays inside, so that the viewer may see an adapter twice, or after it was told to stop.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final

from requests.sessions import SessionRedirectMixin

if TYPE_CHECKING:
    from requests import Session

#: requests' own class, which others derive from. `requests.Session` may be somebody else's by now: what
#: `requests_cache.install_cache` puts there is derived from it. (For type checkers, to which a method is no
#: place to write to, it is anything.)
STOCK_SESSION: Final[Any] = next(
    kind
    for kind in SessionRedirectMixin.__subclasses__()
    if kind.__module__ == SessionRedirectMixin.__module__
)
#: Is shown a prefix and an adapter.
Viewer = Callable[[str, Any], object]


def show_adapters_to(viewer: Viewer) -> None:
    """Wrap `Session.mount`, unless it is wrapped already."""
    outermost: Any = vars(STOCK_SESSION)["mount"]
    if not _is_ours(outermost):
        STOCK_SESSION.mount = _wrapped(outermost, viewer)


def show_adapters_to_nobody() -> None:
    """Put back what was wrapped, where nobody has wrapped ours."""
    outermost: Any = vars(STOCK_SESSION)["mount"]
    if _is_ours(outermost):
        STOCK_SESSION.mount = outermost.__wrapped__


def _wrapped(inner: Any, viewer: Viewer) -> Callable[[Session, str, Any], None]:
    # A test's double may be no function, and is called without the session.
    bound = getattr(type(inner), "__get__", lambda double, *_: double)

    @wraps(inner)
    def mount(self: Session, prefix: str, adapter: Any) -> None:
        viewer(prefix, adapter)
        bound(inner, self, type(self))(prefix, adapter)

    return mount


def _is_ours(function: Any) -> bool:
    # By the code, since `wraps` copies what else could mark it, and a proxy of `wrapt` shows what it proxies.
    return type(function) is FunctionType and function.__code__ is _CODE


_CODE = _wrapped(STOCK_SESSION.mount, lambda *_: None).__code__
