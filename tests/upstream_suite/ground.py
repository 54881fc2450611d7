"""A pytest plugin: the ground that requests' own suite stands on, with stock requests and with this adapter.

It knows nothing of this package, because it serves the control, too. That suite has a package named `tests`,
which hides ours: what is imported here is found in our folder `tests`, which is on the path.
"""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from loopback import full_queue, only_loopback

#: Seconds. Longer than a connection on loopback takes on a busy machine.
NO_ROOM = 0.5


@pytest.fixture(scope="session", autouse=True)
def loopback_only() -> Iterator[None]:
    """Refuse connections that leave this machine, and answer for DNS that no other name exists."""
    with only_loopback():
        yield


@pytest.fixture(scope="session", autouse=True)
def tarpit(request: Any) -> Iterator[None]:
    """Put an address on this machine in the place of `TARPIT`, one of a private network that never answers.

    Where something does answer, such as a proxy for all addresses, the four tests of it would fail.
    """
    with ExitStack() as stack:
        port = full_queue(socket.AF_INET, stack, NO_ROOM).getsockname()[1]
        for module in {item.module for item in request.session.items if hasattr(item, "module")}:
            if hasattr(module, "TARPIT"):
                module.TARPIT = f"http://127.0.0.1:{port}"
        yield
