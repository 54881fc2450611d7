"""Fixtures for pytest: a fault server, a factory of them, and the certificates they use."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from .authority import Authority
from .server import FaultServer


@pytest.fixture(scope="session")
def authority() -> Authority:
    """Return the certificates that all fault servers of this run use."""
    return Authority.shared()


@pytest.fixture
def fault_server(fault_server_factory: Callable[..., FaultServer]) -> FaultServer:
    """Return a fault server that does nothing wrong until it is told to `play` a script."""
    return fault_server_factory()


@pytest.fixture
def fault_server_factory(authority: Authority) -> Iterator[Callable[..., FaultServer]]:
    """Return a function that takes what `FaultServer` takes; its servers end with the test."""
    with ExitStack() as stack:

        def make(*args: Any, **fields: Any) -> FaultServer:
            fields.setdefault("authority", authority)
            return stack.enter_context(FaultServer(*args, **fields))

        yield make
