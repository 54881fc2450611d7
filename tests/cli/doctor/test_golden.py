"""What `doctor` prints in five situations, as a reviewer reads it: `golden/*.txt`.

`UPDATE_DOCTOR=1 .ci/run test tests/cli/doctor/test_golden.py` writes the files anew. Whoever adds a section,
or changes the words of one, does that and reads what changed. Ports, times, paths and versions are replaced,
and so are counts of what is random.
"""

import os
import re
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import certifi
import pytest

from resilient_transport.cli.doctor.sections import SECTIONS
from resilient_transport.cli.main import main
from resilient_transport.testing import Fault, FaultServer, How, Moment, Rule, Script
from tests.programs import ROOT

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parent / "golden"
UPDATE = "UPDATE_DOCTOR"
#: The names of the sections.
THERE = [section.name for section in SECTIONS]
#: How a reset comes to light differs: with what was on its way just then.
ERRORS = (
    "ConnectionError", "ConnectionResetError", "BrokenPipeError", "SSLError", "SSLEOFError",
    "SSLZeroReturnError", "RemoteDisconnected", "IncompleteRead", "ProtocolError", "ChunkedEncodingError",
)  # fmt: skip


@dataclass(frozen=True)
class Situation:
    """A server, and how it is asked."""

    #: The name of its file.
    name: str
    #: The exit status, the words that the verdict must have, and the section that finds what is wrong.
    status: int
    verdict: str
    section: str
    #: What the server does wrong.
    script: Script = field(default_factory=Script)
    #: The page, and more arguments, of which `{url}` is where the server is.
    page: str = "/words/30"
    arguments: tuple[str, ...] = ()
    #: The sections that are wanted; empty: all. A draw of lots in each of them would be read by nobody.
    only: tuple[str, ...] = ()
    #: The client's certificate and key, from the authority.
    client: Callable = lambda authority: authority.client
    #: Whether what fails is drawn by lot.
    is_random: bool = False
    #: Whether nobody listens at the port.
    is_closed: bool = False


SITUATIONS = (
    Situation("healthy", 0, "Nothing is wrong", "control"),
    Situation("refused_port", 1, "refused", "connect", is_closed=True),
    Situation(
        "refused_client_certificate", 1, "refuses the client certificate", "client-certificate",
        client=lambda authority: authority.stranger_client,
    ),
    Situation(
        "resets", 1, "are reset", "control",
        Script((Rule(Fault(Moment.CLIENT_HELLO, How.RST), probability=0.5),), seed=4), is_random=True,
        only=("tls", "control"),
    ),
    Situation(
        "cut_by_size", 1, "odies are cut", "control",
        Script((Rule(Fault(Moment.BODY, How.RST, mean_bytes=100_000), on_request=None),), seed=7),
        page="/bytes/100000", is_random=True,
        only=("sizes", "control"),
        arguments=("--yes", "--sizes", "{url}/bytes/1000", "{url}/bytes/100000", "{url}/bytes/300000"),
    ),
)  # fmt: skip


def normalised(text, port, directory, is_random=False):
    """What is the same on every machine and with every run."""
    for path, name in ((directory, "CERTIFICATES"), (certifi.where(), "CERTIFI"), (str(ROOT), "CLONE")):
        text = text.replace(path, name)
    for pattern, name in (
        (rf"\b{port}\b", "PORT"),
        (r"\b\d+(\.\d+)? (ms|s|µs)\b(?! for each step)", "TIME"),
        (r"\b\d+(\.\d+)? (years|days|hours)\b", r"N \2"),
        (r"\b[A-Z][a-z]{2} [ \d]\d [\d:]{8} \d{4} GMT|\b\d{1,2} [A-Z][a-z]{2} \d{4}\b", "DATE"),
        (r" #[\w-]{16}(?![\w-])", " #SERIAL"),
        (r"\b[0-9a-f]{64}\b", "DIGEST"),
        (r"\btrustme v[\d.]+\d", "trustme vVERSION"),
        (r"\b\d{4}-\d\d-\d\d([ T][\d:.]+)?(Z| UTC|\+00:00)?", "DATE"),
        (r"(?<!TLS )(?<=[\s(\[])\d+\.\d+(\.\d+)?[a-z+]?(?![\d.])", "VERSION"),
        (r"_ssl\.c:\d+", "_ssl.c:N"),
        (r"\b\d+ requests? in TIME", "N requests in TIME"),
    ):
        text = re.sub(pattern, name, text)
    if is_random:
        text = re.sub(r"\b(\d+) of (\d+)\b", _share, text)
        text = re.sub(r"\b\d+ (x (?=status \d)|times\b)", r"N \1", text)
        text = re.sub(rf"\((?:{'|'.join(ERRORS)})[^()]*(?:\([^()]*\))?\)", "(ERROR)", text)
    return text


def _share(match):
    """How many of how many, where that is drawn by lot."""
    some, all_of_them = map(int, match.groups())
    word = {0: "none", all_of_them: "all"}.get(some, "some")
    return f"{word} of {all_of_them}"


@pytest.fixture
def closed_port():
    """A port at which nobody listens, and nobody else can while the test runs."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield bound.getsockname()[1]


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.name)
def test_what_it_prints(situation, authority, closed_port, capsys):
    """Each line, in five situations; and the verdict names what is wrong."""
    with FaultServer(situation.script, authority=authority) as server:
        port = closed_port if situation.is_closed else server.port
        # By its address: how many a name has differs between machines.
        url = f"https://127.0.0.1:{port}"
        certificate, key = situation.client(authority)
        status = main(
            ["doctor", url + situation.page, "--ca", authority.ca_file, "--cert", certificate, "--key", key]
            + [each.format(url=url) for each in situation.arguments]
            + [word for name in situation.only if name in THERE for word in ("--only", name)]
        )
    text = normalised(capsys.readouterr().out, port, str(authority.directory), situation.is_random)
    file = GOLDEN / f"{situation.name}.txt"
    if os.environ.get(UPDATE):
        file.write_text(text, encoding="utf-8")
    verdict = next(line for line in text.splitlines() if line.startswith("Verdict: "))

    assert status == situation.status
    assert situation.verdict in verdict or situation.section not in THERE
    assert text == file.read_text(encoding="utf-8"), f"if it is meant so: {UPDATE}=1, and read what changed"


def test_what_is_replaced():
    """And what is not: addresses, versions of protocols, statuses, what the doctor itself bounds."""
    text = (
        "https://localhost:41 127.0.0.1:41 TLSv1.3 HTTP/1.1 in 3.2 ms, 5 s for each step (OpenSSL 3.0.2) "
        "24 requests in 1.0 s, expires 2031-02-03 in 12 days, /x/ca.pem, 3 of 8, 8 of 8, 5 x status 200 "
        "(SSLError: EOF (_ssl.c:2427))"
    )

    assert normalised(text, 41, "/x") == (
        "https://localhost:PORT 127.0.0.1:PORT TLSv1.3 HTTP/1.1 in TIME, 5 s for each step (OpenSSL VERSION) "
        "N requests in TIME, expires DATE in N days, CERTIFICATES/ca.pem, 3 of 8, 8 of 8, 5 x status 200 "
        "(SSLError: EOF (_ssl.c:N))"
    )
    assert normalised("3 of 8, 8 of 8, 0 of 8, 5 x status 200 (SSLError: EOF)", 41, "/x", True) == (
        "some of 8, all of 8, none of 8, N x status 200 (ERROR)"
    )
