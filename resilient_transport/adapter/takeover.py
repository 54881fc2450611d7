"""A plain `HTTPAdapter` that a program has made becomes a `ResilientAdapter`, and stays the same object."""

from __future__ import annotations

import logging
from typing import Any, Final

from requests import adapters
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from ..pool.manager import LeasingPoolManager, is_real, leased
from ..retry.urllib3_retry import ONE_ATTEMPT
from ..telemetry.log import say
from .adapter import ResilientAdapter
from .arguments import AdapterArguments

#: Arguments of `HTTPAdapter`, which keeps them under these names with an underscore.
_OF_POOLS: Final = ("pool_connections", "pool_maxsize", "pool_block")
#: What every `HTTPAdapter` has, once it is made.
_STATE: Final = frozenset(
    {"max_retries", "config", "proxy_manager", "poolmanager", *(f"_{name}" for name in _OF_POOLS)}
)


def take_over(adapter: HTTPAdapter, settings: AdapterArguments) -> bool:
    """Make an adapter a `ResilientAdapter` in place, so that it is for the program what it was.

    What the adapter was told itself holds: the sizes of its pools, the settings of its pool manager, and its
    `Retry`, which says when and how often. All else comes from the settings.

    Args:
        adapter: its class is `HTTPAdapter`, and none that is derived from it.
        settings: what `ResilientAdapter` takes.

    Returns:
        Whether it was done. Methods, pools, or a `Retry` of the program's own would have no say any more.
    """
    state = _state_for(adapter, settings)
    if type(adapter) is not HTTPAdapter:
        # Another thread was faster, or a signal handler.
        return True
    if isinstance(state, str):
        say(logging.DEBUG, "a mounted HTTPAdapter stays as it is: %s", state)
        return False
    # Another thread may be sending with it: it has all that its next class needs before it has the class.
    vars(adapter).update(state)
    adapter.__class__ = ResilientAdapter
    vars(adapter).pop("max_retries", None)
    return True


def obstacle(adapter: HTTPAdapter) -> str | None:
    """Why an `HTTPAdapter` could not be taken over; None: it could."""
    state = _state_for(adapter, {})
    return state if isinstance(state, str) else None


def _state_for(adapter: Any, settings: AdapterArguments) -> dict[str, Any] | str:
    """What the adapter has as a `ResilientAdapter`; or why it has to stay what it is."""
    own = vars(adapter).copy()
    if missing := sorted(_STATE - own.keys()):
        return f"it has no {', '.join(missing)}"
    if methods := sorted(name for name in own if hasattr(HTTPAdapter, name)):
        return f"it has its own {', '.join(methods)}"
    try:
        made = _made(own, settings)
    except (TypeError, ValueError) as error:
        # A `Retry` with methods of its own, for one; with stock's adapter it works.
        return str(error)
    manager = own["poolmanager"]
    if not made._bypassed:
        manager = leased(manager, made._options)
        if not issubclass(type(manager), LeasingPoolManager):
            return f"it has pools of its own, in a {type(manager).__name__}"
    kept = {"config": own["config"], "proxy_manager": own["proxy_manager"], "poolmanager": manager}
    return {**vars(made), **kept}


def _made(own: dict[str, Any], settings: AdapterArguments) -> ResilientAdapter:
    """An adapter with these settings, but for what the attributes of an `HTTPAdapter` say."""
    retries, manager = own["max_retries"], own["poolmanager"]
    arguments: dict[str, Any] = {**settings, **{name: own[f"_{name}"] for name in _OF_POOLS}}
    if is_real(manager) and manager.connection_pool_kw.get("ssl_context") is not None:
        arguments.pop("ssl_context", None)
        arguments.pop("identity", None)
    if is_said := _is_said(retries):
        # A policy stays: its deadline and its like are no matter of a `Retry`.
        arguments.pop("max_retries", None)
    made = ResilientAdapter(**arguments)
    made._retry_settings.paces = True
    if is_said:
        made.max_retries = retries
    return made


def _is_said(retries: Any) -> bool:
    """Whether the program has said how often; stock makes the same `Retry` of 0 and of nothing."""
    if not isinstance(retries, Retry):
        return True
    # Where a program has changed requests' default, an adapter that was told nothing has another one.
    usual = ONE_ATTEMPT if adapters.DEFAULT_RETRIES == 0 else Retry.from_int(0)
    return vars(retries) not in (vars(ONE_ATTEMPT), vars(usual))
