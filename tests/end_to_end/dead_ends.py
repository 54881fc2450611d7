"""Ways to a server that lead nowhere: queues without room, and names that nobody tells the address of.

What they block ends with the block that they were entered for, or after FOR_EVER.
"""

import socket
import threading
from contextlib import ExitStack

import pytest

from tests.end_to_end.slow_peers import FOR_EVER
from tests.loopback import full_queue, has_ipv6
from tests.timeouts import SHORT_TIMEOUT

#: How many addresses a name has whose every address is full: one deadline each would be much too late.
ADDRESSES = 10


class Full:
    """A port whose queue of connections is full, so that SYNs are dropped: what a black hole looks like.

    Args:
        names: whether it is a name with ADDRESSES such addresses, of both families where there are two.
    """

    proxies = ()

    def __init__(self, names=False):
        self._families = [socket.AF_INET, *([socket.AF_INET6] if names and has_ipv6() else [])]
        self._names = names
        self.slow = threading.Event()

    def __enter__(self):
        with ExitStack() as stack:
            found = [(family, full_queue(family, stack, SHORT_TIMEOUT)) for family in self._families]
            self.port = found[0][1].getsockname()[1]
            if self._names:
                answers = [
                    (family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", listener.getsockname())
                    for family, listener in found
                ] * (ADDRESSES // len(found))
                patch = stack.enter_context(pytest.MonkeyPatch.context())
                patch.setattr(socket, "getaddrinfo", lambda *args, **values: answers)
            self._stack = stack.pop_all()
        self.slow.set()
        return self

    def __exit__(self, *_):
        self._stack.close()

    @property
    def url(self):
        """What to ask for."""
        return f"http://{'localhost' if self._names else '127.0.0.1'}:{self.port}/"


class Resolver:
    """Nobody's name server answers, as long as it is entered."""

    url = "http://localhost/"
    proxies = ()

    def __enter__(self):
        self.slow, self._over = threading.Event(), threading.Event()
        self._patch = pytest.MonkeyPatch()
        self._patch.setattr(socket, "getaddrinfo", self._resolve)
        return self

    def __exit__(self, *_):
        self._patch.undo()
        self._over.set()

    def _resolve(self, *args, **values):
        self.slow.set()
        self._over.wait(FOR_EVER)
        raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
