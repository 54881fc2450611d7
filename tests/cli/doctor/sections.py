"""Sections made by hand, for tests of what is done with any."""

from dataclasses import dataclass, field

from resilient_transport.cli.doctor.doctor_options import Options
from resilient_transport.cli.doctor.examination import examine
from resilient_transport.cli.doctor.finding import Finding, Level, fail, ok, warn
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.section import Check, Section
from resilient_transport.cli.doctor.visit import Visit

#: Nothing is asked of it.
PAGE = "https://host.example/page"


@dataclass(frozen=True, slots=True)
class Measured:
    """What these sections measure."""

    #: The section's name.
    name: str
    #: What must not be told.
    secret: str = field(default="a secret", repr=False)


def section(name, *findings, measure=None, needs=(), requests=3, **more):
    """A section that finds these: by default that all is well."""
    findings = findings or (ok(f"{name}.one", f"{name} is well", "3 of 3"),)
    checks = tuple(
        Check(check, f"whether {check} is well") for check in dict.fromkeys(f.check for f in findings)
    )
    return Section(
        name, name.capitalize(), checks, measure or (lambda visit: Measured(name)), lambda _: findings,
        needs=needs, requests=lambda _: requests, **more,
    )  # fmt: skip


def refused(check="connect.one", **more):
    """A failure after which nothing else can be tried."""
    return fail(check, "nobody listens there", "start the server", "0 of 1", Root.REFUSED, **more)


def warned(check="tls.two"):
    """A warning."""
    return warn(check, "the certificate expires soon", "renew it", "5 days", Root.CLIENT_CERTIFICATE_EXPIRED)


class Listener:
    """Keeps what it is told."""

    def __init__(self):
        self.begun, self.ended = [], {}

    def begins(self, section):
        self.begun.append(section.name)

    def ends(self, section, findings):
        self.ended[section.name] = tuple(findings)


def report(*sections, options=None, listener=None, news=None):
    """What comes of them."""
    visit = Visit(options or Options(PAGE))
    return examine(visit, sections, listener or Listener(), news)


def levels(report):
    """Each finding's check and level."""
    return {finding.check: str(finding.level) for finding in report.findings}


__all__ = ["Finding", "Level", "fail", "ok", "warn"]
