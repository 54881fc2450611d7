"""The doctor's sections on bodies and connections, at real servers with usual settings: nothing is found."""

import random

from resilient_transport.cli.doctor.doctor_options import Options
from resilient_transport.cli.doctor.finding import Level
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections.burst import BURST
from resilient_transport.cli.doctor.sections.by_hand import CONTROL
from resilient_transport.cli.doctor.sections.idle_connection import IDLE
from resilient_transport.cli.doctor.sections.keep_alive import KEEP_ALIVE
from resilient_transport.cli.doctor.sections.resumable_body import RESUME
from resilient_transport.cli.doctor.sections.sizes import SIZES
from resilient_transport.cli.doctor.visit import Visit
from tests.cli.doctor.visits import bad, found
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

SECTIONS = (BURST, SIZES, IDLE, KEEP_ALIVE, RESUME, CONTROL)
FILE = random.Random(0).randbytes(200_000)


def examined(authority, url, **options):
    """What each section finds, by the section's name: (measured, findings)."""
    settings = {"ca": authority.ca_file, "cert": authority.client[0], "key": authority.client[1]}
    visit = Visit(Options(url, timeout=LONG_TIMEOUT, **settings, **options))
    told = {}
    for section in SECTIONS:
        if section.idle_because(visit) is None:
            visit.measured[section.name] = section.measure(visit)
            told[section.name] = visit.measured[section.name]
    assert visit.budget.left > 0
    return told


def warnings(told):
    """All that is bad."""
    return [one for section in SECTIONS if section.name in told for one in bad(section, told[section.name])]


def test_nothing_is_found_at_nginx(nginx, authority):
    """All of it, with a burst, two sizes and a hold; its files would be resumed."""
    server = nginx(verify_client="on", files={"/large": FILE, "/small": b"x"})

    told = examined(authority, server.url + "/large", burst=4, sizes=("/small",), hold=SHORT_TIMEOUT)

    assert warnings(told) == []
    assert found(RESUME, told["resume"])["resume.body"].text == "a body that is cut is resumed where it ended"
    assert [page.size for page in told["sizes"].pages] == [1, len(FILE)]


def test_nothing_is_found_at_haproxy(haproxy, authority):
    """It answers by itself, and has no validator: that is told, and no warning."""
    server = haproxy(verify_client="required")

    told = examined(authority, server.url + "/", hold=SHORT_TIMEOUT)

    assert warnings(told) == []
    assert "no strong validator" in found(RESUME, told["resume"])["resume.body"].text


def test_nothing_is_found_at_nginx_that_compresses_without_tickets_or_keep_alive(nginx, authority):
    """Less usual settings that are no faults: gzip on the way, TLS 1.2, a handshake for each call."""
    server = nginx(
        protocols=["TLSv1.2"], tickets=False, keepalive_timeout=0, files={"/text.html": b"word " * 20_000},
        locations="gzip on; gzip_types *;",
    )  # fmt: skip

    told = examined(authority, server.url + "/text.html")

    assert warnings(told) == []
    assert told["resume"].encoding == "gzip"
    assert told["resume"].validator == "weak ETag"
    assert not told["keep-alive"].first.keeps


def test_nginx_that_closes_idle_connections_is_told(nginx, authority):
    """It says nothing of its limit; a client that holds a connection for longer finds it closed."""
    server = nginx(keepalive_timeout=0.3)

    told = examined(authority, server.url + "/", hold=LONG_TIMEOUT)

    assert [(one.level, one.root) for one in warnings(told)] == [(Level.WARN, Root.IDLE_CLOSED)]
