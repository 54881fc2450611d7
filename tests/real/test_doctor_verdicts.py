"""Whether the doctor names the right cause at real servers: the whole of it, at nginx and HAProxy."""

import pytest

from resilient_transport import registry
from resilient_transport.cli.doctor.doctor_options import Options
from resilient_transport.cli.doctor.examination import examine
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections import SECTIONS
from resilient_transport.cli.doctor.visit import Visit
from tests.cli.doctor.sections import Listener
from tests.timeouts import LONG_TIMEOUT

NGINX, HAPROXY = ("nginx", "on"), ("haproxy", "required")
MISSING, REFUSED = Root.CLIENT_CERTIFICATE_MISSING, Root.CLIENT_CERTIFICATE_REFUSED

# fmt: off
TABLE = (
    # The server, the client certificate that is shown, and the verdict: its level, its root, and words.
    (NGINX, "client", "ok", None, "Nothing is wrong"),
    (HAPROXY, "client", "ok", None, "Nothing is wrong"),
    (NGINX, "", "fail", MISSING, "400 No required SSL certificate was sent"),
    (NGINX, "stranger_client", "fail", REFUSED, "400 The SSL certificate error"),
    (HAPROXY, "", "fail", MISSING, "TLS alert"),
    (HAPROXY, "stranger_client", "fail", REFUSED, "TLS alert unknown_ca"),
)
# fmt: on


@pytest.mark.slow
@pytest.mark.parametrize(("server", "shown", "level", "root", "words"), TABLE)
def test_the_right_cause_is_named(request, authority, server, shown, level, root, words):
    """The healthy ones, of which nothing is bad, are the controls of the others."""
    name, wanted = server
    started = request.getfixturevalue(name)(verify_client=wanted)
    certificate, key = getattr(authority, shown) if shown else (None, None)
    url, skipped = f"{started.url}/", ("this-host",)
    options = Options(url, certificate, key, authority.ca_file, timeout=LONG_TIMEOUT, skip=skipped)
    report = examine(Visit(options), SECTIONS, Listener())
    registry.clear()

    assert (str(report.verdict.level), report.verdict.root) == (level, root)
    assert words in report.verdict.whole
    assert [one.check for one in report.findings if one.is_bad] == (
        [] if root is None else ["client-certificate.accepted"]
    )
