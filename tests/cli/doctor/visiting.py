"""What tests of the doctor's sections have in common: visits, findings by their checks, and dead ends."""

import socket
from collections.abc import Iterable
from contextlib import ExitStack
from typing import Any

import pytest

from resilient_transport.cli.doctor.doctor_options import Options
from resilient_transport.cli.doctor.finding import Finding
from resilient_transport.cli.doctor.visit import Visit


def visit_to(url: str, **options: Any) -> Visit:
    """Return a visit that has not begun."""
    return Visit(Options(url, **options))


def by_check(findings: Iterable[Finding]) -> dict[str, Finding]:
    """Return findings by their checks, of which none comes twice."""
    found = list(findings)
    told = {finding.check: finding for finding in found}
    assert len(told) == len(found), "a check comes twice"
    return told


def bad(findings: Iterable[Finding]) -> list[str]:
    """Return the checks that warn or fail."""
    return [finding.check for finding in findings if finding.is_bad]


def dead_port() -> int:
    """Return a port of loopback where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def resolve_to(patch: pytest.MonkeyPatch, *addresses: tuple[str, int]) -> None:
    """Let every name have these addresses, in this order; what is an address already stays what it is."""
    real = socket.getaddrinfo
    families = {socket.AF_INET: ".", socket.AF_INET6: ":"}

    def resolve(host: Any, port: Any, family: int = 0, *args: Any, **kwargs: Any) -> Any:
        if any(mark in str(host) for mark in ".:"):
            return real(host, port, family, *args, **kwargs)
        found = [
            (kind, socket.SOCK_STREAM, 6, "", where)
            for where in addresses
            for kind, mark in families.items()
            if mark in where[0] and family in (0, kind)
        ]
        if not found:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return found

    patch.setattr(socket, "getaddrinfo", resolve)


def listening(stack: ExitStack, host: str = "127.0.0.1") -> tuple[str, int]:
    """Return where somebody listens who says nothing, until the stack ends."""
    listener = stack.enter_context(socket.create_server((host, 0)))
    where: tuple[str, int] = listener.getsockname()[:2]
    return where
