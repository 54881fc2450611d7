"""Fixtures for pytest: a fault server, a factory of them, and the certificates they use.

pytest imports this in every run, before the first conftest, and the two packages around it. So none of the
three imports anything before a fixture is used: a conftest may still patch `ssl` and sockets (gevent,
eventlet), and who uses no fixture pays next to nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from . import Authority, FaultServer


@pytest.fixture(scope="session")
def fault_server_authority() -> Authority:
    """Return the certificates that all fault servers of this run use."""
    from . import Authority

    return Authority.shared()


@pytest.fixture
def fault_server(fault_server_factory: Callable[..., FaultServer]) -> FaultServer:
    """Return a fault server that does nothing wrong until it is told to `play` a script."""
    return fault_server_factory()


@pytest.fixture
def fault_server_factory(fault_server_authority: Authority) -> Iterator[Callable[..., FaultServer]]:
    """Return a function that takes what `FaultServer` takes; its servers end with the test."""
    from . import FaultServer

    with ExitStack() as stack:

        def make(*args: Any, **fields: Any) -> FaultServer:
            fields.setdefault("authority", fault_server_authority)
            return stack.enter_context(FaultServer(*args, **fields))

        yield make
