"""Fixtures that start real servers. Without the programs a person's run skips these tests, and CI fails."""

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import pytest

from resilient_transport.testing import Authority
from tests.real.servers import HAProxy, Nginx, Server, find_binary

ServerType = TypeVar("ServerType", bound=Server)


def require(binary: str) -> None:
    """Skip the test if a program is missing; fail it in CI, so that a green run has tried everything."""
    if find_binary(binary) is None:
        complain = pytest.fail if os.environ.get("CI") else pytest.skip
        complain(f"{binary} is not installed (Debian: apt-get install nginx-light haproxy)")


def starter(
    kind: type[ServerType], directory: Path, authority: Authority, running: contextlib.ExitStack
) -> Any:
    """Return a function that starts a server with the options of its class; certificates are filled in."""

    def start(**options: Any) -> ServerType:
        place = directory / f"{kind.binary}{len(list(directory.glob(kind.binary + '*')))}"
        place.mkdir()
        options.setdefault("certificate", authority.server("good"))
        options.setdefault("client_ca", authority.ca_file)
        server = kind(place, **options)
        running.enter_context(server)
        return server

    return start


@pytest.fixture
def nginx(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., Nginx]]:
    """`nginx(verify_client="on", ...)` starts one; it ends with the test."""
    require("nginx")
    with contextlib.ExitStack() as running:
        yield starter(Nginx, tmp_path, authority, running)


@pytest.fixture
def haproxy(tmp_path: Path, authority: Authority) -> Iterator[Callable[..., HAProxy]]:
    """`haproxy(verify_client="required", ...)` starts one; it ends with the test."""
    require("haproxy")
    with contextlib.ExitStack() as running:
        yield starter(HAProxy, tmp_path, authority, running)
