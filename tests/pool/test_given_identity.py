"""An identity in memory: what is taken for one, what is refused, and how it is loaded without a file."""

import os
import pickle
import ssl
import stat
import sys
from pathlib import Path
from traceback import TracebackException

import pytest
import requests
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    NoEncryption,
    load_pem_private_key,
    pkcs12,
)
from urllib3.exceptions import SSLError

from resilient_transport import Identity, ResilientAdapter
from resilient_transport.pool import identity as room
from resilient_transport.pool import identity_source
from resilient_transport.pool.contexts import Contexts
from resilient_transport.pool.given_identity import NoIdentity, UnusableSettings
from resilient_transport.pool.identity_source import Asked, IdentitySource
from tests.pool.rotation import settings_of, without_files_in_memory


def read(path):
    """Return what is in a file."""
    return Path(path).read_bytes()


@pytest.fixture
def alice(authority):
    """Return alice's certificate, key and authority, as bytes."""
    return {
        "cert": read(authority.client[0]),
        "key": read(authority.client[1]),
        "ca": read(authority.ca_file),
    }


@pytest.fixture
def contexts():
    """Return a room of the test's own."""
    return Contexts([].append)


def loaded(contexts, given, **settings):
    """Return the context of a pool that takes all of an identity."""
    return contexts.of({"identity": Asked(IdentitySource.of(given), True, True), **settings})


def test_memory_and_files_of_the_same_contents_are_one_identity(authority, contexts, alice):
    """One context, whether the bytes come from files, as bytes or as text; and another one for bob's."""
    of_files = contexts.of(settings_of(authority, authority.client))
    as_text = {name: value.decode() for name, value in alice.items()}
    bob = {**alice, "cert": read(authority.other_client[0]), "key": read(authority.other_client[1])}

    assert loaded(contexts, Identity(**alice)) is of_files
    assert loaded(contexts, Identity(**as_text)) is of_files
    assert loaded(contexts, Identity(**bob)) is not of_files


def test_a_key_may_stand_with_its_certificate(contexts, alice):
    """As in a file of both."""
    both = Identity(alice["cert"] + alice["key"])

    assert isinstance(loaded(contexts, both), ssl.SSLContext)


def test_an_encrypted_key_wants_its_password(authority, contexts, alice):
    """With it the key is loaded; without it, or with another, the error says what to do."""
    locked = {**alice, "key": read(authority.encrypted_key)}
    with pytest.raises(UnusableSettings, match=r"give its password in Identity\(password=\.\.\.\)"):
        loaded(contexts, Identity(**locked))
    with pytest.raises(UnusableSettings, match="does not open its key") as wrong:
        loaded(contexts, Identity(**locked, password="not sesame"))

    assert "sesame" not in str(wrong.value)
    assert loaded(contexts, Identity(**locked, password=authority.key_password))


def test_anothers_key_is_refused(authority, contexts, alice):
    """In words that name what is wrong."""
    with pytest.raises(UnusableSettings, match="does not belong to its certificate"):
        loaded(contexts, Identity(**{**alice, "key": read(authority.other_client[1])}))


@pytest.mark.parametrize("name", ["cert", "ca"])
def test_a_garbled_certificate_is_refused(contexts, alice, name):
    """It has the form of PEM, and OpenSSL makes nothing of it."""
    garbled = b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
    with pytest.raises(UnusableSettings, match="What identity= gives cannot be loaded"):
        loaded(contexts, Identity(**{**alice, name: garbled}))


@pytest.mark.parametrize(
    ("changed", "kind", "words"),
    [
        ({"cert": "client.pem"}, ValueError, "neither a path nor DER"),
        ({"cert": None}, TypeError, "cert= of an Identity takes str or bytes, not NoneType"),
        ({"key": "client.key"}, ValueError, "key= of an Identity has to hold the private key"),
        ({"key": None}, ValueError, "cert=, since there is no key=, of an Identity has to hold"),
        ({"ca": ""}, ValueError, "ca= of an Identity takes certificates"),
        ({"password": 7}, TypeError, "password= of an Identity takes str or bytes, not int"),
    ],
)
def test_what_is_no_identity_is_refused_when_it_is_made(alice, changed, kind, words):
    """By the name of what is wrong."""
    with pytest.raises(kind, match=words):
        Identity(**{**alice, **changed})


def test_a_callable_whose_first_pair_is_none_may_call_on(authority, contexts, alice, monkeypatch):
    """Towards a proxy its authorities were usable. Its own calls show no certificate until one is."""
    monkeypatch.setattr(identity_source, "_ASK_EVERY", -1.0)
    given, own = [Identity(**{**alice, "key": read(authority.other_client[1])}), Identity(**alice)], []

    def ask():
        if len(given) == 1:
            own.extend(contexts.of({"identity": Asked(source, shown, True)}) for shown in (True, False))
        return given.pop(0)

    source = IdentitySource.of(ask)
    to_proxy = contexts.of({"identity": Asked(source, False, True)})
    contexts.of({"identity": Asked(source, True, True)})

    assert own == [contexts.of({}), to_proxy]
    assert source.usable is source.trusted


#: What `errors="surrogateescape"` makes of a byte that is no UTF-8, in the midst of a secret.
NO_TEXT = "open\udc80sesame"


@pytest.mark.parametrize("name", ["cert", "key", "password", "ca"])
def test_what_is_no_text_is_refused_without_a_word_of_it(alice, name):
    """The codec's own error has all of it in its arguments, and so in its repr and its pickle."""
    with pytest.raises(ValueError, match=f"{name}= of an Identity is a text that cannot be encoded") as told:
        Identity(**{**alice, name: NO_TEXT})

    assert type(told.value) is NoIdentity
    assert told.value.__context__ is None


def test_nor_is_a_password_of_pkcs12():
    """It opens nothing."""
    with pytest.raises(NoIdentity, match="the password of PKCS#12 data is a text that cannot") as told:
        Identity.from_pkcs12(b"", NO_TEXT)

    assert told.value.__context__ is None


def test_nor_is_a_password_for_files(authority, contexts):
    """Whether an adapter is given it, or a callable that returns it."""
    settings = settings_of(authority, (authority.client[0], authority.encrypted_key))
    with pytest.raises(UnusableSettings, match="key_password= is a text that cannot be encoded") as asked:
        contexts.of({**settings, "key_password": lambda: NO_TEXT})
    with pytest.raises(ValueError, match="key_password is a text that cannot be encoded") as given:
        ResilientAdapter(key_password=NO_TEXT)

    assert type(given.value) is ValueError
    assert asked.value.__context__ is given.value.__context__ is None


#: OpenSSL takes no more than 1024 bytes.
TOO_LONG = "sesame" * 200


def test_a_password_that_is_too_long_is_a_wrong_one(authority, contexts, alice):
    """`ssl` says it by another kind of error; in use stays what was usable before."""
    locked = {**alice, "key": read(authority.encrypted_key)}
    settings = settings_of(authority, (authority.client[0], authority.encrypted_key))
    with pytest.raises(UnusableSettings, match="does not open its key"):
        loaded(contexts, Identity(**locked, password=TOO_LONG))
    with pytest.raises(SSLError, match="password cannot be longer"):
        contexts.of({**settings, "key_password": TOO_LONG})


@pytest.mark.parametrize("wrong", ["key", "password"])
def test_error_reports_do_not_show_the_key(authority, contexts, alice, wrong):
    """They show what is in the frames of an error, and of those that it came from."""
    key = authority.encrypted_key if wrong == "password" else authority.other_client[1]
    given = Identity(**{**alice, "key": read(key)}, password="not sesame")
    session = requests.Session()
    session.mount("https://", ResilientAdapter(identity=given))
    with pytest.raises(requests.exceptions.SSLError) as told:
        session.get("https://localhost:1/")
    text = "".join(TracebackException.from_exception(told.value, capture_locals=True).format())

    assert "identity= gives" in text
    assert "contents = " not in text
    assert read(key).splitlines()[1].decode() not in text
    assert "not sesame" not in text


def test_it_shows_nothing_and_does_not_pickle(alice):
    """Neither the key nor the password."""
    identity = Identity(**alice, password="open sesame")
    with pytest.raises(TypeError, match="let identity= be an importable function"):
        pickle.dumps(identity)

    assert repr(identity) == "Identity(cert=..., key=..., password=..., ca=...)"


def bundle(authority, pair, password=None, chain=True, key=True):
    """Return a PKCS#12 file with this certificate, its key, and the authority behind it."""
    cert = x509.load_pem_x509_certificate(read(pair[0]))
    behind = [x509.load_pem_x509_certificate(read(authority.ca_file))] if chain else None
    how = NoEncryption() if password is None else BestAvailableEncryption(password)
    private = load_pem_private_key(read(pair[1]), None) if key else None
    return pkcs12.serialize_key_and_certificates(b"alice", private, cert, behind, how)


@pytest.mark.parametrize("password", [None, b"open sesame"])
def test_pkcs12_has_the_key_and_the_whole_chain(authority, contexts, password):
    """With a password and without; the first certificate is the client's."""
    data = bundle(authority, authority.client, password)
    identity = Identity.from_pkcs12(data, password and password.decode(), ca=read(authority.ca_file))
    found = x509.load_pem_x509_certificates(identity.cert)

    assert found == [
        x509.load_pem_x509_certificate(read(p)) for p in (authority.client[0], authority.ca_file)
    ]
    assert loaded(contexts, identity)


def test_pkcs12_that_cannot_be_opened(authority, monkeypatch):
    """A wrong password, none, no PKCS#12 at all, and one that is encrypted as nobody reads it any more."""
    data = bundle(authority, authority.client, b"open sesame")
    with pytest.raises(ValueError, match="the password is wrong, or it is no PKCS#12"):
        Identity.from_pkcs12(data, "another")
    with pytest.raises(ValueError, match="it wants a password, or it is no PKCS#12"):
        Identity.from_pkcs12(data)
    with pytest.raises(ValueError, match="it is no PKCS#12"):
        Identity.from_pkcs12(b"x", "open sesame")
    with pytest.raises(TypeError, match="takes the bytes of a file, not str"):
        Identity.from_pkcs12("client.p12")

    def refuse(*args):
        raise UnsupportedAlgorithm("RC2")

    monkeypatch.setattr(pkcs12, "load_pkcs12", refuse)
    with pytest.raises(ValueError, match="openssl pkcs12 -legacy -in old.p12"):
        Identity.from_pkcs12(data, "open sesame")


def test_pkcs12_without_a_key_or_its_certificate(authority):
    """One that holds authorities only, and one whose key has no certificate."""
    authorities = pkcs12.serialize_java_truststore(
        [pkcs12.PKCS12Certificate(x509.load_pem_x509_certificate(read(authority.ca_file)), b"ca")],
        NoEncryption(),
    )
    private = load_pem_private_key(read(authority.client[1]), None)
    alone = pkcs12.serialize_key_and_certificates(b"alice", private, None, None, NoEncryption())
    with pytest.raises(ValueError, match="there is no private key in the PKCS#12 data"):
        Identity.from_pkcs12(authorities)
    with pytest.raises(ValueError, match="no certificate in the PKCS#12 data belongs"):
        Identity.from_pkcs12(alone)


def test_without_cryptography_pkcs12_says_what_to_install(monkeypatch):
    """It is an extra."""
    monkeypatch.setitem(sys.modules, "cryptography.exceptions", None)
    with pytest.raises(ImportError, match=r"the extra \[pkcs12\]: pip install cryptography"):
        Identity.from_pkcs12(b"", "")


@pytest.fixture
def written(monkeypatch, tmp_path):
    """Return the modes of the files that are written for OpenSSL, and where they are."""
    seen, stock = [], room.tempfile.mkstemp

    def mkstemp(**named):
        made = stock(dir=tmp_path, **named)
        seen.append(stat.S_IMODE(os.stat(made[1]).st_mode))
        return made

    monkeypatch.setattr(room.tempfile, "mkstemp", mkstemp)
    return seen, tmp_path


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs files in memory")
def test_no_key_touches_a_disk_where_there_are_files_in_memory(contexts, alice, written):
    """Nothing is written."""
    loaded(contexts, Identity(**alice))

    assert written[0] == []


def test_elsewhere_it_is_a_private_file_that_is_deleted(contexts, alice, written, monkeypatch):
    """The control: three files that nobody else may read, and none is left, even if nothing can be loaded."""
    without_files_in_memory(monkeypatch)
    loaded(contexts, Identity(**alice))
    with pytest.raises(UnusableSettings):
        loaded(contexts, Identity(alice["cert"], alice["key"].replace(b"\nM", b"\nA", 1)))

    assert written[0][:3] == [0o600] * 3
    assert list(written[1].iterdir()) == []
