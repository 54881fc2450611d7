"""Who a connection is made as: by content, and with one context for each."""

import gc
import os
import pickle
import shutil
import ssl
import subprocess
import sys
from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest
from urllib3.exceptions import SSLError

from resilient_transport.pool.identity import TLS_SETTINGS, Sources, fault, fingerprint
from resilient_transport.pool.registry import registry
from tests.timeouts import LONG_TIMEOUT

#: The name under which `openssl rehash` would put a certificate into a directory.
HASHED = "0a1b2c3d.0"


def context_for(settings):
    """Return the shared context of these settings."""
    return registry.contexts.of(settings)


def identified(settings):
    """Return the identity of these settings, as their files are now."""
    sources = Sources.of(settings)
    return sources.identify(sources.read(), sources.password())


@pytest.fixture
def settings(authority):
    """Return what a pool says of its TLS: a trusted authority and a client certificate."""
    certificate, key = authority.client
    return {"ca_certs": authority.ca_file, "cert_file": certificate, "key_file": key}


def copied(directory, path, name=None):
    """Copy a file to another place; return where."""
    directory.mkdir(exist_ok=True)
    return shutil.copy(path, directory / (name or "copy-of-" + Path(path).name))


def test_the_same_settings_share_one_context(settings):
    """Who asks again gets the same object, and nothing is built."""
    first = context_for(settings)
    built = registry.contexts_built

    assert context_for(dict(settings)) is first
    assert registry.contexts_built == built


def test_the_same_content_is_the_same_identity(settings, tmp_path):
    """Whatever the files are called, what comes out of them decides."""
    copies = {name: copied(tmp_path, path) for name, path in settings.items()}

    assert set(copies.values()).isdisjoint(settings.values())
    assert context_for(copies) is context_for(settings)


def test_a_certificate_and_key_in_one_file_need_no_key_file(authority, tmp_path):
    """As in stock; it is another identity than the pair, because the content of its file is."""
    both = tmp_path / "both.pem"
    both.write_bytes(b"".join(Path(path).read_bytes() for path in authority.client))
    certificate, key = authority.client
    one, pair = (
        context_for({"cert_file": str(both)}),
        context_for({"cert_file": certificate, "key_file": key}),
    )

    assert one is context_for({"cert_file": str(both)})
    assert one is not pair


@pytest.mark.parametrize(
    "change",
    [
        {"cert_reqs": "CERT_NONE"},
        {"cert_reqs": ssl.CERT_OPTIONAL},
        {"assert_hostname": "elsewhere"},
        {"assert_hostname": False},
        {"assert_fingerprint": "aa:bb"},
        {"ssl_minimum_version": ssl.TLSVersion.TLSv1_3},
        {"ssl_maximum_version": ssl.TLSVersion.TLSv1_2},
        {"key_password": "unused"},
        {"ca_certs": None},
        {"cert_file": None, "key_file": None},
    ],
    ids=str,
)
def test_a_different_setting_is_another_identity(settings, change):
    """Everything that makes a TLS client differ is compared."""
    ours, theirs = context_for(settings), context_for({**settings, **change})

    assert ours is not theirs
    assert context_for(settings) is ours


@pytest.mark.parametrize(
    "change", [{"cert_reqs": None}, {"cert_reqs": "REQUIRED"}, {"cert_reqs": ssl.CERT_REQUIRED}]
)
def test_another_spelling_is_the_same_identity(settings, change):
    """The control: what urllib3 takes for the same is the same."""
    assert context_for({**settings, **change}) is context_for(settings)


def test_a_different_client_is_another_identity(authority, settings):
    """Two pairs that both are valid never share a context."""
    certificate, key = authority.other_client

    assert context_for({**settings, "cert_file": certificate, "key_file": key}) is not context_for(settings)


def test_a_different_authority_is_another_identity(authority, settings):
    """In a file, a directory or in memory."""
    data = Path(authority.other_ca_file).read_text()
    contexts = [
        context_for(settings),
        context_for({**settings, "ca_certs": authority.other_ca_file}),
        context_for({**settings, "ca_cert_data": data}),
    ]

    assert len({id(context) for context in contexts}) == 3
    assert [len(context.get_ca_certs()) for context in contexts] == [1, 1, 2]


@pytest.mark.parametrize("kind", [str, str.encode])
def test_an_authority_in_memory_is_loaded(authority, kind):
    """`ca_cert_data` as text is PEM; bytes are DER, as in `ssl`."""
    text = Path(authority.ca_file).read_text()
    data = text if kind is str else ssl.PEM_cert_to_DER_cert(text)
    (trusted,) = context_for({"ca_cert_data": data}).get_ca_certs(binary_form=True)

    assert trusted == ssl.PEM_cert_to_DER_cert(text)


def test_a_single_version_is_another_identity(settings):
    """urllib3's deprecated `ssl_version`, by its number or its name, with urllib3's warning."""
    with pytest.warns((FutureWarning, DeprecationWarning), match="'ssl_version' option is deprecated"):
        named = context_for({**settings, "ssl_version": "TLSv1_2"})

    assert named is not context_for(settings)
    assert context_for({**settings, "ssl_version": ssl.PROTOCOL_TLSv1_2}) is named


def test_it_follows_who_replaces_ssl_context(settings, monkeypatch):
    """truststore's contexts and the standard library's are never taken for each other."""

    class Replaced(ssl.SSLContext):
        pass

    before = identified(settings)
    monkeypatch.setattr(ssl, "SSLContext", Replaced)
    during = identified(settings)
    monkeypatch.undo()

    assert (before.terms.kind, during.terms.kind) == (ssl.SSLContext, Replaced)
    assert before != during
    assert identified(settings) == before


def test_verification_decides_what_is_checked(settings):
    """Chain and name; the chain alone where urllib3 compares the name; nothing."""
    checks = [
        (context.verify_mode, context.check_hostname)
        for context in (
            context_for(settings),
            context_for({**settings, "assert_hostname": "pinned"}),
            context_for({**settings, "cert_reqs": "CERT_NONE"}),
        )
    ]

    assert checks == [(ssl.CERT_REQUIRED, True), (ssl.CERT_REQUIRED, False), (ssl.CERT_NONE, False)]


def test_without_an_authority_the_systems_is_loaded(monkeypatch, authority):
    """Where the environment points it, as in stock; and not when nothing is checked anyway."""
    monkeypatch.setenv("SSL_CERT_FILE", authority.ca_file)
    trusting, blind = context_for({}), context_for({"cert_reqs": "CERT_NONE"})

    assert len(trusting.get_ca_certs()) == 1
    assert blind.get_ca_certs() == []


def test_a_context_lives_as_long_as_somebody_uses_it(authority):
    """The registry keeps none alive: a rotated certificate's goes with its last connection."""
    settings = {"ca_cert_data": Path(authority.ca_file).read_text() * 2}
    first = context_for(settings)
    built = registry.contexts_built
    del first
    gc.collect()
    context_for(settings)

    assert registry.contexts_built == built + 1


@pytest.fixture
def encrypted(authority):
    """Return the settings of a client whose key is encrypted."""
    return {"cert_file": authority.client[0], "key_file": authority.encrypted_key}


@pytest.mark.parametrize("kind", [str, str.encode, lambda password: lambda: password])
def test_an_encrypted_key_is_unlocked(authority, encrypted, kind):
    """By text, by bytes, or by what a function returns; all are one identity."""
    password = kind(authority.key_password)

    assert context_for({**encrypted, "key_password": password}) is context_for(
        {**encrypted, "key_password": authority.key_password}
    )


@pytest.mark.parametrize("wrong", ["wrong", b"", "open sesame ", lambda: "open"])
def test_a_wrong_password_opens_nothing(authority, encrypted, wrong):
    """Not even when the right one has unlocked the key before and its context is there."""
    unlocked = context_for({**encrypted, "key_password": authority.key_password})
    with pytest.raises(ssl.SSLError):
        context_for({**encrypted, "key_password": wrong})

    assert context_for({**encrypted, "key_password": authority.key_password}) is unlocked


def test_no_password_opens_nothing(authority, encrypted):
    """The message is urllib3's, also when the key was unlocked before."""
    unlocked = context_for({**encrypted, "key_password": authority.key_password})
    with pytest.raises(SSLError) as refusal:
        context_for(encrypted)

    assert str(refusal.value) == "Client private key is encrypted, password is required"
    assert unlocked is not None


#: Loads an encrypted key without a password, with no terminal: then OpenSSL asks on stdin and stderr.
ASK = """
import sys
{setup}
try:
    {load}
except Exception as error:
    print(type(error).__module__)
"""
OURS = ASK.format(
    setup="from resilient_transport import registry",
    load="registry.contexts.of(dict(cert_file=sys.argv[1], key_file=sys.argv[2]))",
)
STOCK = ASK.format(
    setup="import ssl", load="ssl.create_default_context().load_cert_chain(sys.argv[1], sys.argv[2])"
)


def asked(program, encrypted):
    """Run a program with nobody at its terminal; return which module's error it met and what it asked."""
    done = subprocess.run(
        [sys.executable, "-c", program, *encrypted.values()],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        timeout=LONG_TIMEOUT,
        check=True,
    )
    return done.stdout.strip(), "pass phrase" in done.stderr


def test_nobody_is_asked_for_a_password(encrypted):
    """A program without a terminal must not stop and wait for somebody to type."""
    error, was_asked = asked(OURS, encrypted)

    assert (error, was_asked) == ("urllib3.exceptions", False)


def test_openssl_would_ask_for_a_password(encrypted):
    """The control: without that, OpenSSL does; Python 3.15 has it ask nobody, not even at a terminal."""
    _, was_asked = asked(STOCK, encrypted)

    assert was_asked is (sys.version_info < (3, 15))


def test_a_pair_that_does_not_match_is_refused(authority):
    """The key of another certificate, by OpenSSL's own error."""
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        context_for({"cert_file": authority.client[0], "key_file": authority.other_client[1]})


@pytest.mark.parametrize("name", ["cert_file", "key_file", "ca_certs", "ca_cert_dir"])
def test_a_file_that_is_not_there_is_refused(settings, tmp_path, name):
    """Before any context is built."""
    built = registry.contexts_built
    with pytest.raises(FileNotFoundError):
        context_for({**settings, name: str(tmp_path / "absent")})

    assert registry.contexts_built == built


@pytest.mark.parametrize(("name", "error"), [("ca_certs", SSLError), ("cert_file", ssl.SSLError)])
def test_a_file_with_something_else_in_it_is_refused(settings, tmp_path, name, error):
    """A bad authority as urllib3 refuses it, a bad certificate as `ssl` does."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    with pytest.raises(error):
        context_for({**settings, name: str(nonsense)})


def test_a_path_may_begin_at_home(monkeypatch, settings, authority):
    """As in urllib3, `~` is whoever runs the program; and a path may be a `Path`."""
    monkeypatch.setenv("HOME", str(Path(authority.ca_file).parent))
    at_home = {**settings, "ca_certs": "~/" + Path(authority.ca_file).name}
    as_path = {name: Path(path) for name, path in settings.items()}

    assert context_for(at_home) is context_for(as_path) is context_for(settings)


@pytest.fixture
def directory(authority, tmp_path):
    """Return a directory with one hashed certificate in it, and with files that OpenSSL never reads."""
    place = tmp_path / "certs"
    copied(place, authority.ca_file, HASHED)
    copied(place, authority.other_ca_file, "other.pem")
    copied(place, authority.other_ca_file, "0a1b2c3d.r0")
    copied(place, authority.other_ca_file, "0A1B2C3D.0")
    return place


def test_a_directory_is_read_as_openssl_reads_it(authority, directory):
    """What has a hashed name is trusted, what has another is not."""
    (trusted,) = context_for({"ca_cert_dir": str(directory)}).get_ca_certs(binary_form=True)

    assert trusted == ssl.PEM_cert_to_DER_cert(Path(authority.ca_file).read_text())


def test_a_directory_is_compared_by_what_openssl_would_find(authority, directory, tmp_path):
    """Another name of the directory, or a file that counts for nothing, makes no other identity."""
    ours = context_for({"ca_cert_dir": str(directory)})
    twin = tmp_path / "twin"
    copied(twin, authority.ca_file, HASHED)
    same = context_for({"ca_cert_dir": str(twin)})
    copied(twin, authority.other_ca_file, "0a1b2c3d.1")
    other = context_for({"ca_cert_dir": str(twin)})

    assert same is ours
    assert other is not ours
    assert len(other.get_ca_certs()) == 2


def test_an_empty_directory_trusts_nobody(tmp_path):
    """It is not the same as none, which stands for the system's authorities."""
    assert context_for({"ca_cert_dir": str(tmp_path)}).get_ca_certs() == []


def dangling_link(place):
    """Put a link to nothing into a directory."""
    (place / "deadbeef.0").symlink_to("/nonexistent.pem")


def subdirectory(place):
    """Put a directory into a directory."""
    (place / "deadbeef.0").mkdir()


def comments(place):
    """Put words that are not ASCII around the certificate."""
    found = (place / HASHED).read_bytes()
    (place / HASHED).write_bytes("# Főtanúsítvány\n".encode() + found + "# vége\n".encode("utf-16"))


def junk(place):
    """Put a file without a certificate into a directory."""
    (place / "deadbeef.0").write_bytes(bytes(range(256)))


def broken_certificate(place):
    """Put something that looks like a certificate into a directory."""
    (place / "deadbeef.0").write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


@pytest.mark.parametrize("spoil", [dangling_link, subdirectory, comments, junk, broken_certificate])
def test_a_directory_is_read_past_what_is_no_certificate(authority, directory, spoil):
    """OpenSSL finds the others, and so do we; and what it does not find makes no other identity."""
    ours = context_for({"ca_cert_dir": str(directory)})
    spoil(directory)
    spoiled = context_for({"ca_cert_dir": str(directory)})
    (trusted,) = spoiled.get_ca_certs(binary_form=True)

    assert trusted == ssl.PEM_cert_to_DER_cert(Path(authority.ca_file).read_text())
    assert (spoiled is ours) is (spoil is not broken_certificate)


def test_all_certificates_of_a_file_in_a_directory_are_found(authority, directory):
    """The control: more than one is taken from a file, with anything in between."""
    (directory / HASHED).write_text(
        Path(authority.ca_file).read_text() + "\nand\n" + Path(authority.other_ca_file).read_text()
    )

    assert len(context_for({"ca_cert_dir": str(directory)}).get_ca_certs()) == 2


def met(settings):
    """Return what is raised for these settings."""
    with pytest.raises((OSError, SSLError)) as caught:
        context_for(settings)
    return caught.value


def test_a_fault_names_the_file_that_is_not_there(settings):
    """And no other."""
    wrong = [{**settings, name: "/nonexistent.pem"} for name in settings]
    told = {fault(met(each), each) for each in wrong}

    assert told == {"/nonexistent.pem cannot be read: No such file or directory."}


def test_a_fault_names_the_directory_that_is_not_there():
    """Of authorities; and a directory that stands where a file should."""
    absent, wrong = {"ca_cert_dir": "/nonexistent"}, {"cert_file": "/"}

    assert fault(met(absent), absent) == "/nonexistent cannot be read: No such file or directory."
    assert fault(met(wrong), wrong) == "/ cannot be read: Is a directory."


@pytest.mark.parametrize(
    ("name", "what"),
    [("ca_certs", "certificate"), ("cert_file", "certificate"), ("key_file", "private key")],
)
def test_a_fault_names_the_file_that_holds_something_else(settings, tmp_path, name, what):
    """A key in the place of a certificate, or the other way round, is something else, too."""
    junk = tmp_path / "junk.pem"
    junk.write_text("junk")
    swapped = settings["key_file"] if what == "certificate" else settings["cert_file"]
    wrong = [{**settings, name: path} for path in (str(junk), swapped)]
    told = [fault(met(each), each) for each in wrong]

    assert told == [f"There is no {what} in PEM form in {path}." for path in (junk, swapped)]


def test_a_fault_names_the_pair_that_does_not_match(authority, settings):
    """The key of another certificate."""
    wrong = {**settings, "key_file": authority.other_client[1]}

    assert fault(met(wrong), wrong) == (
        f"The key in {authority.other_client[1]} does not belong to the certificate in {authority.client[0]}."
    )


def test_a_fault_tells_an_encrypted_key_from_a_wrong_password(authority, encrypted):
    """Without a password and with a wrong one; the password itself is not told."""
    wrong = {**encrypted, "key_password": "s3cret"}

    assert fault(met(encrypted), encrypted) == (
        f"The key in {authority.encrypted_key} is encrypted: "
        "give its password in ResilientAdapter(key_password=...)."
    )
    assert (
        fault(met(wrong), wrong) == f"The key_password= does not open the key in {authority.encrypted_key}."
    )


def test_a_fault_guesses_nothing(authority, encrypted, tmp_path):
    """The control: where the files look right, OpenSSL's error has to do, and no key is suspected."""
    broken = tmp_path / "broken.pem"
    broken.write_text("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
    wrong = {**encrypted, "key_password": authority.key_password, "ca_certs": str(broken)}

    assert fault(met(wrong), wrong) == ""


@pytest.mark.parametrize("path", ["/a\0b", 5.5])
def test_a_fault_of_what_is_no_path_is_one(path):
    """What cannot even be a path is told as what cannot be read."""
    told = fault(OSError("Could not find it"), {"cert_file": path})

    assert told.startswith(f"{path} cannot be read: ")


def test_an_identity_tells_no_secret(authority, encrypted):
    """Its repr has digests of files and nothing of the password; nor has that of where it came from."""
    settings = {**encrypted, "key_password": authority.key_password}
    sources, who = (
        Sources.of({**settings, "ca_cert_data": "-----BEGIN CERTIFICATE-----"}),
        identified(settings),
    )
    told = repr((who, sources, sources.read()))

    assert authority.key_password not in told
    assert who.password not in told
    assert "BEGIN" not in told


def test_a_passwords_digest_is_worth_nothing_elsewhere(encrypted):
    """Another process makes another one of the same password."""
    program = (
        "import sys; from resilient_transport.pool.identity import Sources; "
        "s = Sources.of(dict(cert_file=sys.argv[1], key_file=sys.argv[2], key_password='x')); "
        "print(s.identify(s.read(), s.password()).password)"
    )
    digests = {
        subprocess.check_output([sys.executable, "-c", program, *encrypted.values()], timeout=LONG_TIMEOUT)
        for _ in range(2)
    }

    assert len(digests) == 2


def test_an_identity_is_a_value(settings):
    """Frozen, hashable and equal to its like."""
    who = identified(settings)

    with pytest.raises(FrozenInstanceError):
        who.ca = "system"
    assert {who, identified(settings)} == {who}
    assert pickle.loads(pickle.dumps(who.cert)) == who.cert


def test_it_stands_for_all_of_urllib3s_settings():
    """What an identity replaces in a pool's key is what it compares."""
    assert set(TLS_SETTINGS) == {
        "cert_reqs", "cert_file", "key_file", "key_password", "ca_certs", "ca_cert_dir", "ca_cert_data",
        "ssl_version", "ssl_minimum_version", "ssl_maximum_version",
    }  # fmt: skip


def replace_by_rename(path):
    """Replace a file as careful programs do."""
    new = path.with_suffix(".new")
    new.write_bytes(path.read_bytes())
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    new.replace(path)


def rewrite(path):
    """Write into a file, to the same length, at another time."""
    path.write_bytes(path.read_bytes()[::-1])
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


@pytest.mark.parametrize(
    "change",
    [
        replace_by_rename,
        rewrite,
        lambda path: path.write_bytes(path.read_bytes() + b"#"),
        Path.unlink,
        lambda path: (path.parent / "another.pem").touch(),
    ],
)
def test_a_fingerprint_differs_when_something_was_replaced(authority, tmp_path, change):
    """By another file, by other bytes, by nothing, and by one more in a directory."""
    path = Path(copied(tmp_path / "certs", authority.ca_file))
    alone, within = (str(path),), (str(path.parent),)
    before = fingerprint(alone), fingerprint(within)
    unchanged = fingerprint(alone), fingerprint(within)
    change(path)

    assert unchanged == before
    assert fingerprint(within) != before[1]
    assert (fingerprint(alone) != before[0]) is (not (path.parent / "another.pem").exists())


def test_a_fingerprint_follows_links(authority, tmp_path):
    """Mounted secrets are links that are turned to another directory."""
    copied(tmp_path / "old", authority.ca_file, "ca.pem")
    copied(tmp_path / "new", authority.ca_file, "ca.pem")
    link = tmp_path / "now"
    link.symlink_to("old")
    before = fingerprint((link / "ca.pem",))
    link.unlink()
    link.symlink_to("new")

    assert fingerprint((link / "ca.pem",)) != before


def test_a_fingerprint_never_fails(tmp_path, monkeypatch):
    """A directory that cannot be read, or that goes while it is read, and a path that is none."""

    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    readable = fingerprint((str(tmp_path),))
    monkeypatch.setattr(os, "scandir", refuse)

    assert fingerprint((str(tmp_path),)) == readable
    assert fingerprint(("/a\0b",)) == (None,)


def test_a_fingerprint_of_nothing_is_a_value():
    """What is not there is told as not there, and can be compared."""
    assert fingerprint(()) == ()
    assert fingerprint(("/absent/file", "/absent/other")) == (None, None)
