"""Visits of the doctor to servers of the tests, in this process."""

from typing import Any

from resilient_transport.cli.doctor.doctor_options import Options
from resilient_transport.cli.doctor.finding import Finding, Level
from resilient_transport.cli.doctor.section import Section
from resilient_transport.cli.doctor.visit import Visit
from resilient_transport.testing import FaultServer
from tests.timeouts import LONG_TIMEOUT


def visit_to(server: Any, path: str = "/", **options: Any) -> Visit:
    """A visit to a page of a server; of a fault server with TLS, with alice's certificate."""
    options.setdefault("timeout", LONG_TIMEOUT)
    if isinstance(server, FaultServer) and server.options.tls:
        certificate, key = server.authority.client
        options = {"ca": server.authority.ca_file, "cert": certificate, "key": key} | options
    return Visit(Options(server.url + path, **options))


def found(section: Section, measured: Any) -> dict[str, Finding]:
    """What a section finds, by check; the worst of each."""
    worst: dict[str, Finding] = {}
    for finding in section.judge(measured):
        before = worst.get(finding.check)
        if before is None or _badness(finding) > _badness(before):
            worst[finding.check] = finding
    return worst


def bad(section: Section, measured: Any) -> list[Finding]:
    """The warnings and failures of a section."""
    return [finding for finding in section.judge(measured) if finding.is_bad]


def _badness(finding: Finding) -> int:
    return [Level.SKIPPED, Level.OK, Level.WARN, Level.FAIL].index(finding.level)
