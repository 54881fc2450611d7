"""A certificate that is about to expire, shown to a real server: who is told, how often, and by what."""

import logging
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
import requests

import resilient_transport
from resilient_transport import Identity, ResilientAdapter, events, registry, stats
from resilient_transport.events import CertificateExpiring
from resilient_transport.pool import expiry, identity
from resilient_transport.testing import Script
from resilient_transport.util.clock import date_of, realtime
from resilient_transport.util.inbox import Inbox
from tests.end_to_end.hearing import Heard
from tests.missing import require
from tests.pool.rotation import put
from tests.programs import run_python
from tests.timeouts import HANG_TIMEOUT, LONG_TIMEOUT

DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
THREADS = 8


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


@pytest.fixture
def looking(monkeypatch):
    """Have sessions look at their files for each call."""
    monkeypatch.setattr("resilient_transport.pool.key._LOOK_EVERY", -1.0)


@pytest.fixture
def issue(authority, tmp_path):
    """Return a function that signs a certificate with so much of so long a life left; its files."""

    def issued(left, life=365 * DAY, name="carol"):
        end = datetime.now(timezone.utc) + left
        leaf = authority._ca.issue_cert(common_name=name, not_before=end - life, not_after=end)
        pair = tmp_path / f"{name}.pem", tmp_path / f"{name}.key"
        pair[0].write_bytes(leaf.cert_chain_pems[0].bytes())
        pair[1].write_bytes(leaf.private_key_pem.bytes())
        return tuple(map(str, pair))

    return issued


@pytest.fixture
def told(caplog):
    """What all hooks of the process hear of certificates."""
    caplog.set_level(logging.INFO, logger="resilient_transport")
    heard = Heard()
    with events.subscribed(heard):
        yield lambda: heard.of(CertificateExpiring)


def lines(caplog):
    """Return the lines of the log about certificates."""
    return [record for record in caplog.records if record.rt_event == "CertificateExpiring"]


def call(server, pair, **settings):
    """Return the name that the server saw, of a session and an adapter of its own."""
    with requests.Session() as session:
        session.trust_env, session.verify, session.cert = False, server.authority.ca_file, pair
        session.mount("https://", ResilientAdapter(**settings))
        return session.get(server.url + "/whoami", timeout=LONG_TIMEOUT).json()["client"]


@pytest.mark.parametrize(
    ("left", "life", "words"),
    [
        (5 * DAY, 365 * DAY, "days"),
        (20 * HOUR, 365 * DAY, "hours"),
        (10 * MINUTE, HOUR, "minutes"),
        (60 * DAY, 365 * DAY, None),
        (50 * MINUTE, HOUR, None),
    ],
    ids=["5 days", "20 hours", "10 minutes of an hour", "60 days", "50 minutes of an hour"],
)
def test_one_line_and_one_event(server, issue, told, caplog, left, life, words):
    """By whichever of 8 threads that begin at once and call twice; one that lives for longer: nothing."""
    pair = issue(left, life)
    start = threading.Barrier(THREADS)

    def calls(_):
        start.wait(LONG_TIMEOUT)
        return [call(server, pair) for _ in range(2)]

    with ThreadPoolExecutor(THREADS) as pool:
        seen = sum(pool.map(calls, range(THREADS)), [])
    found, written = told(), lines(caplog)

    assert seen == ["carol"] * 2 * THREADS
    assert [f" {words} (" in str(event) for event in found] == [True] * (words is not None)
    assert [(record.levelname, record.getMessage()) for record in written] == [
        ("WARNING", str(event)) for event in found
    ]
    assert [(event.origin, event.file) for event in found] == [(server.url, pair[0])] * len(found)
    assert {record.rt_subject for record in written} <= {one.subject for one in stats().certificates.values()}
    assert list(stats().certificates) == [pair[0]]


def test_a_process_that_builds_no_context_is_told(server, dial, issue, told, looking, monkeypatch):
    """Its connections stay warm for months, until the certificate has expired: 30, 7 and 1 days before."""
    session = dial(server)
    session.cert = issue(400 * DAY, 800 * DAY)
    session.get(server.url)
    built, handshakes = registry.contexts_built, server.counts().handshakes
    heard = []
    for left in (31, 29.5, 8, 6.5, 6, 0.9, -1, -2):
        monkeypatch.setattr(expiry, "realtime", lambda left=left: realtime() + (400 - left) * 86400)
        before = len(told())
        session.get(server.url)
        heard.append(len(told()) - before)

    assert heard == [0, 1, 0, 1, 0, 1, 1, 0]
    assert (registry.contexts_built, server.counts().handshakes) == (built, handshakes)


def test_a_renewed_certificate_is_not_told(server, dial, issue, told, looking):
    """The file has the new one: it is in use, the old one is not, and nobody hears of either again."""
    session = dial(server)
    session.cert = pair = issue(5 * DAY)
    session.get(server.url)
    before = stats().certificates
    for source, target in zip(issue(300 * DAY, name="renewed"), pair, strict=True):
        put(source, target)
    for _ in range(3):
        session.get(server.url)
    after = stats().certificates

    assert len(told()) == 1
    assert list(before) == list(after) == [pair[0]]
    assert (after[pair[0]].not_after - before[pair[0]].not_after) // 86400 == pytest.approx(295, abs=1)
    assert "CN=renewed" in after[pair[0]].subject


def test_files_that_cannot_be_used_leave_the_old_one_to_be_told(server, dial, issue, told, looking):
    """The old one stays in use, and it is the one that expires."""
    session = dial(server)
    session.cert = pair = issue(60 * DAY)
    session.get(server.url)
    Path(pair[0]).write_text("half")
    session.get(server.url)
    quiet = len(told())
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(expiry, "realtime", lambda: realtime() + 40 * 86400)
        session.get(server.url)

    assert (quiet, len(told())) == (0, 1)


def test_requests_get_is_told_once(server, issue, told):
    """Under `install()`, where each call has a session of its own."""
    pair = issue(5 * DAY)
    heard = Heard()
    with resilient_transport.install(on_event=heard):
        for _ in range(4):
            requests.get(server.url, verify=server.authority.ca_file, cert=pair)

    assert len(told()) == len(heard.of(CertificateExpiring)) == 1


def test_what_is_shown_besides_is_told(server, issue, told):
    """One that follows the client's own in the file; that it has expired hides nothing of the others."""
    pair, other = issue(5 * DAY), issue(-DAY, name="intermediate")
    Path(pair[0]).write_bytes(Path(pair[0]).read_bytes() + Path(other[0]).read_bytes())
    seen = [call(server, pair) for _ in range(2)]

    assert seen == ["carol"] * 2
    assert [(event.is_intermediate, event.subject.split("CN=")[1]) for event in told()] == [
        (True, "intermediate"),
        (False, "carol"),
    ]
    assert "CN=intermediate" in stats().certificates[pair[0]].subject


def test_what_has_expired_is_told_before_the_server_refuses_it(server, authority, told, monkeypatch):
    """In the words of the refusal that follows, as far as both say the same."""
    monkeypatch.setattr(expiry, "_told", {})
    with pytest.raises(resilient_transport.ClientCertificateRejected) as raised:
        call(server, authority.expired_client)
    (event,) = told()

    assert (event.subject, date_of(event.not_after)) == (raised.value.subject, raised.value.not_after)
    assert -3 * 86400 < event.seconds_left <= -86400
    assert "has expired 1 day ago" in str(event)


def own_context(authority, pair):
    """Return a context with a certificate that the program has loaded."""
    context = ssl.create_default_context(cafile=authority.ca_file)
    context.load_cert_chain(*pair)
    return context


def test_a_context_of_the_programs_own_cannot_be_read(server, dial, authority, issue, told):
    """Nothing is told of what it shows; the control, the same files as `cert=`, is told."""
    pair = issue(5 * DAY)
    session = dial(server, ResilientAdapter(ssl_context=own_context(authority, pair)))
    session.verify, session.cert = True, None
    seen = session.get(server.url + "/whoami").json()["client"]
    quiet = told(), stats().certificates
    call(server, pair)

    assert seen == "carol"
    assert quiet == ([], {})
    assert len(told()) == 1


def test_what_is_loaded_into_a_programs_context_is_told(server, dial, issue, told):
    """A context that `init_poolmanager` passes on, and that `cert=` completes."""

    class Passing(ResilientAdapter):
        def init_poolmanager(self, *args, **kwargs):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            super().init_poolmanager(*args, ssl_context=context, **kwargs)

    session = dial(server, Passing())
    session.cert = issue(5 * DAY)
    seen = session.get(server.url + "/whoami").json()["client"]

    assert seen == "carol"
    assert len(told()) == 1


def test_a_certificate_that_cannot_be_read_is_used(server, issue, told, monkeypatch):
    """The call is as good as ever; the control above is told of the same file."""
    monkeypatch.setattr(expiry, "chain_in", lambda pem: [])
    seen = call(server, issue(5 * DAY))

    assert seen == "carol"
    assert (told(), stats().certificates) == ([], {})


def test_a_hook_that_raises_breaks_nothing(server, issue, caplog):
    """The call goes on, and the log says which hook."""

    def hook(event):
        if isinstance(event, CertificateExpiring):
            raise ValueError("s3cret")

    seen = call(server, issue(5 * DAY), on_event=hook)

    assert seen == "carol"
    assert [record.rt_hook_error for record in caplog.records[1:]] == ["ValueError"]
    assert "s3cret" not in caplog.text


def test_a_call_in_the_middle_of_the_bookkeeping_tells_nothing(server, issue, told):
    """A signal handler's, whose thread holds the lock of all pools: no hook runs. The next call tells."""
    pair = issue(5 * DAY)
    with Inbox.lock:
        seen = call(server, pair)
        during = len(told())
    call(server, pair)

    assert seen == "carol"
    assert (during, len(told())) == (0, 1)


def test_no_part_of_the_key_is_told(server, issue, told):
    """Nor, where the text of a pair stands in the place of a path, any of that."""
    pair = issue(5 * DAY)
    joint = Path(pair[0]).with_name("joint.pem")
    joint.write_bytes(Path(pair[1]).read_bytes() + Path(pair[0]).read_bytes())
    call(server, str(joint))
    (event,) = told()
    secret = Path(pair[1]).read_text().splitlines()[1]

    assert secret not in f"{event!r}{event}{event.as_dict()}{stats()!r}"
    assert identity.name_of(joint.read_text()) == "the text that was given in the place of a path"


@pytest.mark.parametrize("kind", [str.encode, Path], ids=["bytes", "Path"])
def test_a_path_of_any_kind_is_told_as_text(server, issue, told, kind):
    """As the program has written it."""
    pair = issue(5 * DAY)
    call(server, tuple(map(kind, pair)))

    assert [event.file for event in told()] == list(stats().certificates) == [pair[0]]


#: A call tells; then the process forks, and the child makes the same call, and so does the control, a child
#: that has forgotten. For each: its certificates before and after, and how often it, or its parent, was told.
FORK = """
import os, sys
import requests
from resilient_transport import ResilientAdapter, events, stats
from resilient_transport.pool import expiry
heard = []
events.subscribe(lambda event: heard.append(type(event).__name__))
def call():
    with requests.Session() as session:
        session.verify, session.cert = sys.argv[2], tuple(sys.argv[3:])
        session.mount("https://", ResilientAdapter())
        before = len(stats().certificates)
        session.get(sys.argv[1], timeout=10)
        print(before, len(stats().certificates), heard.count("CertificateExpiring"), flush=True)
call()
for told in (expiry._told, {}):
    child = os.fork()
    if not child:
        expiry._told = told
        call()
        os._exit(0)
    os.waitpid(child, 0)
"""


def test_a_forked_child_repeats_nothing(server, issue):
    """What its parent was told it is not; its own certificates are those that it has shown itself."""
    said = run_python("-c", FORK, server.url, server.authority.ca_file, *issue(5 * DAY)).stdout

    assert said.split("\n") == ["0 1 1", "0 1 1", "0 1 2", ""]


def test_prometheus_has_the_last_second(server, issue):
    """As a time stamp, by file and subject; without a client certificate, nothing."""
    parser = require("prometheus_client.parser")
    pair = issue(5 * DAY)

    def samples():
        families = parser.text_string_to_metric_families(stats().prometheus())
        all_samples = [sample for family in families for sample in family.samples]
        return [sample for sample in all_samples if "certificate_expiry" in sample.name]

    before = samples()
    call(server, pair)
    (sample,) = samples()

    assert before == []
    assert sample.name == "resilient_transport_client_certificate_expiry_timestamp_seconds"
    assert sample.labels == {"file": pair[0], "subject": stats().certificates[pair[0]].subject}
    assert sample.value - realtime() == pytest.approx(5 * 86400, abs=HANG_TIMEOUT)


def test_opentelemetry_has_what_remains(server, issue, watched):
    """In seconds, by file and subject."""
    pair = issue(5 * DAY)
    name = "resilient_transport.client_certificate.remaining"
    before = watched.points(name)
    call(server, pair)
    ((about, remaining),) = watched.points(name)

    assert before == []
    assert about == {"file.path": pair[0], "tls.client.subject": stats().certificates[pair[0]].subject}
    assert remaining == pytest.approx(5 * 86400, abs=HANG_TIMEOUT)


def test_one_that_no_file_holds(server, authority, issue, told):
    """It is told by the callable that gives it."""
    files = (*issue(5 * DAY), authority.ca_file)

    def carols():
        cert, key, ca = (Path(path).read_bytes() for path in files)
        return Identity(cert, key, ca=ca)

    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", ResilientAdapter(identity=carols))
        session.get(server.url)
    (event,) = told()

    assert event.file == f"identity={carols.__qualname__}"
    assert event.file in stats().certificates
    assert str(event).endswith("Let that give a newer one; it is asked again within a second.")
