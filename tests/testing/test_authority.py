"""The certificates: each is what its name says, checked by OpenSSL or by reading it."""

import builtins
import os
import ssl
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import pytest
from cryptography import x509

from resilient_transport.testing import Authority
from resilient_transport.testing.authority import _remove


def certificate(pair):
    """Return the parsed leaf of a certificate file."""
    return x509.load_pem_x509_certificate(Path(pair[0]).read_bytes())


def common_name(pair):
    """Return the subject's common name."""
    return certificate(pair).subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value


def is_expired(pair):
    """Tell whether the certificate's time is over."""
    return certificate(pair).not_valid_after_utc < datetime.now(timezone.utc)


def is_signed_by(ca_file, pair):
    """Tell whether a bundle's certificate signed this one."""
    ca = x509.load_pem_x509_certificate(Path(ca_file).read_bytes())
    try:
        certificate(pair).verify_directly_issued_by(ca)
    except Exception:
        return False
    return True


def test_clients_are_who_they_are(authority):
    """Names, signatures and dates."""
    clients = (authority.client, authority.other_client, authority.expired_client, authority.stranger_client)

    assert [common_name(pair) for pair in clients] == ["alice", "bob", "alice", "mallory"]
    assert [is_signed_by(authority.ca_file, pair) for pair in clients] == [True, True, True, False]
    assert [is_expired(pair) for pair in clients] == [False, False, True, False]
    assert is_signed_by(authority.other_ca_file, authority.stranger_client)


def test_servers_are_what_they_are(authority):
    """One is good, each of the others has one thing wrong."""
    kinds = ("good", "expired", "misnamed", "untrusted")
    names = {
        kind: certificate(authority.server(kind))
        .extensions.get_extension_for_class(x509.SubjectAlternativeName)
        .value.get_values_for_type(x509.DNSName)
        for kind in kinds
    }

    assert [kind for kind in kinds if is_expired(authority.server(kind))] == ["expired"]
    assert [kind for kind in kinds if names[kind] != ["localhost"]] == ["misnamed"]
    assert [k for k in kinds if not is_signed_by(authority.ca_file, authority.server(k))] == ["untrusted"]


def test_the_encrypted_key_opens_with_its_password_only(authority):
    """It is the client's key, and it is locked."""
    chain, _ = authority.client
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(chain, authority.encrypted_key, authority.key_password)

    with pytest.raises(ssl.SSLError):
        context.load_cert_chain(chain, authority.encrypted_key, "wrong")


def test_an_unknown_server_is_refused(authority):
    """The message says what there is."""
    with pytest.raises(
        ValueError, match="kind must be one of good, expired, misnamed, untrusted, got 'gold'"
    ):
        authority.server("gold")


def test_files_go_where_they_are_told_and_stay(tmp_path):
    """A directory that was given is the caller's."""
    authority = Authority(tmp_path)
    assert repr(authority) == f"<Authority in {str(tmp_path)!r}>"
    ca_file = Path(authority.ca_file)
    del authority

    assert ca_file.parent == tmp_path
    assert ca_file.exists()


def test_a_temporary_directory_goes_with_its_authority():
    """Nothing is left behind."""
    authority = Authority()
    directory = authority.directory
    assert directory.is_dir()
    assert os.stat(directory).st_mode & 0o077 == 0
    del authority

    assert not directory.exists()


def test_a_temporary_directory_goes_with_its_process():
    """The shared one too, when Python ends."""
    code = "from resilient_transport.testing import Authority; print(Authority.shared().directory)"
    root = str(Path(__file__).parents[2])
    ended = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)

    assert ended.stdout.strip()
    assert not Path(ended.stdout.strip()).exists()


def test_a_forked_child_leaves_the_files_alone(tmp_path):
    """They are its parent's, and its finaliser is a copy."""
    _remove(tmp_path, os.getpid() + 1)
    assert tmp_path.is_dir()
    _remove(tmp_path, os.getpid())

    assert not tmp_path.exists()


def test_clients_can_be_issued(tmp_path):
    """Each has files and a key of its own, so that a pair can be rotated."""
    authority = Authority(tmp_path)
    first, second = authority.issue("carol"), authority.issue("carol")

    assert [common_name(pair) for pair in (first, second)] == ["carol", "carol"]
    assert is_signed_by(authority.ca_file, second)
    assert len({*first, *second, *authority.client}) == 6
    assert certificate(first).public_key() != certificate(second).public_key()


def test_the_shared_authority_is_one(authority):
    """All servers of a process show certificates of one authority, and fixtures use it."""
    assert Authority.shared() is Authority.shared() is authority


def test_without_trustme_the_message_names_the_cure(monkeypatch):
    """The cure is in the message."""
    real = builtins.__import__

    def without(name, *args, **kwargs):
        if name == "trustme":
            raise ImportError("No module named 'trustme'")
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)

    with pytest.raises(ImportError, match="pip install trustme"):
        Authority()
