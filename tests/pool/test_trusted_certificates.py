"""Certificates in OpenSSL's "TRUSTED" form, in a directory of authorities: they count as in OpenSSL."""

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from resilient_transport.pool.contexts import Contexts
from resilient_transport.pool.identity import Sources
from tests.pool.rotation import without_files_in_memory
from tests.timeouts import LONG_TIMEOUT

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl program")

#: How the authority's certificate is written, and whether it may vouch for servers then.
FORMS = {
    "plain": (None, True),
    "trusted for all": (["-trustout"], True),
    "trusted for servers": (["-addtrust", "serverAuth"], True),
    "trusted for clients": (["-addtrust", "clientAuth"], False),
    "rejected for servers": (["-addreject", "serverAuth"], False),
    "rejected for clients": (["-addreject", "clientAuth"], True),
}


def openssl(*arguments):
    """Run the openssl program; return what it says."""
    return subprocess.run(
        ["openssl", "x509", *arguments], capture_output=True, text=True, check=True, timeout=LONG_TIMEOUT
    ).stdout


def written(place, authority, form):
    """Make a directory of authorities with one certificate in this form; return where."""
    place.mkdir()
    name = openssl("-in", authority.ca_file, "-noout", "-hash").strip()
    options = FORMS[form][0]
    text = openssl("-in", authority.ca_file, *options) if options else Path(authority.ca_file).read_text()
    assert ("TRUSTED CERTIFICATE" in text) is (form != "plain")
    (place / f"{name}.0").write_text("a comment: Főtanúsítvány\n" + text, encoding="utf-8")
    return str(place)


def stock(place):
    """Return a context that leaves the directory to OpenSSL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(capath=place)
    return context


def ours(place):
    """Return our context for the directory."""
    return Contexts(lambda context: None).of({"ca_cert_dir": place})


def handshake(context, authority):
    """Shake hands with a server of the authority, in memory; return whether the client accepts it."""
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server_side.load_cert_chain(*authority.server("good"))
    one, other = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(one, other, server_hostname="localhost")
    server = server_side.wrap_bio(other, one, server_side=True)
    done = set()
    while len(done) < 2:
        for end in {client, server} - done:
            try:
                end.do_handshake()
                done.add(end)
            except ssl.SSLWantReadError:
                pass
            except ssl.SSLCertVerificationError:
                return False
    return True


@pytest.mark.parametrize("form", FORMS)
def test_openssl_says_who_is_trusted(authority, tmp_path, form):
    """The oracle: the standard library's context with the directory, in a handshake."""
    assert handshake(stock(written(tmp_path / "certs", authority, form)), authority) is FORMS[form][1]


@pytest.mark.parametrize("in_memory", [True, False], ids=["in memory", "by name"])
@pytest.mark.parametrize("form", FORMS)
def test_a_directory_is_trusted_as_openssl_trusts_it(authority, tmp_path, monkeypatch, form, in_memory):
    """By the same handshake, wherever OpenSSL reads the certificate from."""
    if not in_memory:
        without_files_in_memory(monkeypatch)

    assert handshake(ours(written(tmp_path / "certs", authority, form)), authority) is FORMS[form][1]


@pytest.mark.parametrize("form", [form for form in FORMS if form != "plain"])
def test_without_its_own_way_to_load_it_would_not(authority, tmp_path, monkeypatch, form):
    """The control: as `cadata`, which knows nothing of this form, it counts for nothing."""
    monkeypatch.setattr("resilient_transport.pool.identity._TRUSTED", b"never")

    assert not handshake(ours(written(tmp_path / "certs", authority, form)), authority)


def test_each_form_is_another_identity(authority, tmp_path):
    """Who trusts for something else is somebody else."""
    identities = set()
    for number, form in enumerate(FORMS):
        sources = Sources.of({"ca_cert_dir": written(tmp_path / str(number), authority, form)})
        identities.add(sources.identify(sources.read(), None))

    assert len(identities) == len(FORMS)


def test_a_broken_one_takes_no_other_with_it(authority, tmp_path):
    """OpenSSL finds the others, and so do we."""
    place = Path(written(tmp_path / "certs", authority, "trusted for servers"))
    (place / "deadbeef.0").write_text(
        "-----BEGIN TRUSTED CERTIFICATE-----\nAAAA\n-----END TRUSTED CERTIFICATE-----\n"
    )

    assert handshake(stock(str(place)), authority)
    assert handshake(ours(str(place)), authority)


@pytest.mark.parametrize("form", FORMS)
def test_a_bundle_is_read_as_openssl_reads_it(authority, tmp_path, form):
    """The control: a file of authorities has always been OpenSSL's to read."""
    (bundle,) = Path(written(tmp_path / "certs", authority, form)).iterdir()
    context = Contexts(lambda context: None).of({"ca_certs": str(bundle)})

    assert handshake(context, authority) is FORMS[form][1]
