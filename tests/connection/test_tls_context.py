"""A TLS context that is complete when it is made, and frozen from then on."""

import socket
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from urllib3.util.ssl_ import ALPN_PROTOCOLS, create_urllib3_context, ssl_wrap_socket

from resilient_transport.connection.tls_context import build_context, frozen_class
from tests.timeouts import LONG_TIMEOUT

#: What Debian's Python sets, so that a cut stream passes for a whole one.
IGNORE_EOF = getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
#: All that decides how a context shakes hands.
SETTINGS = [
    "check_hostname",
    "hostname_checks_common_name",
    "keylog_filename",
    "maximum_version",
    "minimum_version",
    "options",
    "post_handshake_auth",
    "protocol",
    "sni_callback",
    "sslobject_class",
    "verify_flags",
    "verify_mode",
]


def empty(_):
    """Load nothing."""


def built(**fields):
    """Return a context as an identity makes it, with nothing in it unless it is told otherwise."""
    given = {"verify_mode": ssl.CERT_REQUIRED, "check_hostname": True, "fill": empty, **fields}
    return build_context(**given)


@pytest.fixture
def context(authority):
    """Return a frozen context that trusts the authority and shows a client certificate."""

    def fill(unfrozen):
        unfrozen.load_verify_locations(authority.ca_file)
        unfrozen.load_cert_chain(*authority.client)

    return built(fill=fill)


def settings_of(context):
    """Return what decides how a context shakes hands."""
    settings = {name: getattr(context, name) for name in SETTINGS}
    # Apart from these two, which have tests of their own.
    settings["options"] &= ~(IGNORE_EOF | ssl.OP_NO_TICKET)
    return {**settings, "ciphers": [cipher["name"] for cipher in context.get_ciphers()]}


@pytest.mark.parametrize(
    ("own", "urllib3s"),
    [
        ({}, {}),
        ({"verify_mode": ssl.CERT_NONE, "check_hostname": False}, {"cert_reqs": ssl.CERT_NONE}),
        ({"verify_mode": ssl.CERT_OPTIONAL, "check_hostname": False}, {"cert_reqs": ssl.CERT_OPTIONAL}),
        ({"minimum": ssl.TLSVersion.TLSv1_3}, {"ssl_minimum_version": ssl.TLSVersion.TLSv1_3}),
        ({"maximum": ssl.TLSVersion.TLSv1_2}, {"ssl_maximum_version": ssl.TLSVersion.TLSv1_2}),
        (
            {"minimum": ssl.TLSVersion.TLSv1_2, "maximum": ssl.TLSVersion.TLSv1_2},
            {
                "ssl_minimum_version": ssl.TLSVersion.TLSv1_2,
                "ssl_maximum_version": ssl.TLSVersion.TLSv1_2,
            },
        ),
    ],
)
def test_its_settings_are_urllib3s(own, urllib3s):
    """Every one of them, for every way in which a pool can ask for a context."""
    assert settings_of(built(**own)) == settings_of(create_urllib3_context(**urllib3s))


def test_its_settings_are_not_those_of_ssl():
    """The control: a context of the standard library's differs."""
    assert settings_of(built()) != settings_of(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT))


def test_tickets_are_asked_for():
    """urllib3 resumes nothing, and so asks for none in TLS 1.2."""
    assert built().options & ssl.OP_NO_TICKET == 0
    assert create_urllib3_context().options & ssl.OP_NO_TICKET


def test_a_cut_stream_is_told():
    """An end without close_notify is never ignored, whatever the interpreter was built to do."""
    assert built().options & IGNORE_EOF == 0
    assert issubclass(built().sslsocket_class, ssl.SSLSocket)


def test_a_single_version_is_urllib3s():
    """The deprecated `ssl_version` means what it means there, and warns as it warns there."""
    with pytest.warns((FutureWarning, DeprecationWarning), match="'ssl_version' option is deprecated"):
        own = built(ssl_version=ssl.PROTOCOL_TLSv1_2)

    assert (own.minimum_version, own.maximum_version) == (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_2)


def test_a_pinned_name_leaves_the_comparison_to_urllib3():
    """Then `ssl` checks the chain and not the name."""
    own = built(check_hostname=False)

    assert (own.verify_mode, own.check_hostname) == (ssl.CERT_REQUIRED, False)


def test_a_key_log_is_written_where_the_environment_says(monkeypatch, tmp_path):
    """`SSLKEYLOGFILE` is honoured as urllib3 honours it; without it there is none."""
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    logging = built()
    monkeypatch.delenv("SSLKEYLOGFILE")

    assert logging.keylog_filename == str(tmp_path / "keys")
    assert built().keylog_filename is None


def test_it_is_filled_before_it_is_frozen(authority, context):
    """What the caller loads is in it."""
    (trusted,) = context.get_ca_certs(binary_form=True)

    assert ssl.DER_cert_to_PEM_cert(trusted) in Path(authority.ca_file).read_text()
    assert built().get_ca_certs() == []


def test_what_cannot_be_filled_is_not_made(tmp_path):
    """The error of loading is the caller's."""
    with pytest.raises(FileNotFoundError):
        built(fill=lambda unfrozen: unfrozen.load_verify_locations(tmp_path / "absent.pem"))


CURE = (
    "this TLS context is shared by the process and frozen; {} cannot be changed. "
    "Pass ssl_context= to ResilientAdapter to use a context of your own"
)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("verify_mode", ssl.CERT_NONE),
        ("check_hostname", False),
        ("minimum_version", ssl.TLSVersion.TLSv1_3),
        ("maximum_version", ssl.TLSVersion.TLSv1_2),
        ("options", 0),
        ("verify_flags", 0),
        ("post_handshake_auth", False),
        ("hostname_checks_common_name", True),
        ("keylog_filename", "/tmp/keys"),
        ("sni_callback", print),
        ("sslsocket_class", socket.socket),
        ("sslobject_class", object),
        ("num_tickets", 7),
        ("anything_else", 1),
        ("_frozen", False),
    ],
)
def test_no_setting_can_be_changed(context, name, value):
    """The error says what was tried and what to do instead; the setting is as it was."""
    before = getattr(context, name, "nothing")
    with pytest.raises(AttributeError) as refusal:
        setattr(context, name, value)

    assert str(refusal.value) == CURE.format(name)
    assert getattr(context, name, "nothing") == before


CHANGES = {
    "load_cert_chain": ("absent.pem",),
    "load_default_certs": (),
    "load_dh_params": ("absent.pem",),
    "load_verify_locations": ("absent.pem",),
    "set_ciphers": ("ALL",),
    "set_ciphersuites": ("TLS_AES_128_GCM_SHA256",),
    "set_client_sigalgs": ("rsa_pss_rsae_sha256",),
    "set_default_verify_paths": (),
    "set_ecdh_curve": ("prime256v1",),
    "set_groups": ("prime256v1",),
    "set_npn_protocols": (["http/1.1"],),
    "set_psk_client_callback": (None,),
    "set_server_sigalgs": ("rsa_pss_rsae_sha256",),
    "set_servername_callback": (None,),
}


@pytest.mark.parametrize("name", CHANGES)
def test_nothing_can_be_loaded_or_set(context, name):
    """Each method that would change it is refused by its name, before it looks at its arguments."""
    with pytest.raises(AttributeError) as refusal:
        getattr(context, name)(*CHANGES[name])

    assert str(refusal.value) == CURE.format(f"{name}()")


def test_every_change_that_ssl_knows_is_refused():
    """A new Python may bring new methods: each is refused here, or by `ssl` for a client."""
    known = {name for name in dir(ssl.SSLContext) if name.startswith(("set_", "load_"))}
    only_for_servers = {"set_psk_server_callback"}

    assert known - set(CHANGES) - only_for_servers == {"set_alpn_protocols"}


@pytest.mark.skipif(
    not hasattr(ssl.SSLContext, "set_psk_server_callback"), reason="pre-shared keys came with Python 3.13"
)
def test_a_servers_callback_is_refused_by_ssl(context):
    """The control of the exception above."""
    with pytest.raises(ssl.SSLError, match="PROTOCOL_TLS_CLIENT"):
        context.set_psk_server_callback(print)


def test_alpn_protocols_cannot_be_changed(context):
    """Others than urllib3's are refused."""
    with pytest.raises(AttributeError) as refusal:
        context.set_alpn_protocols(["h2"])

    assert str(refusal.value) == CURE.format("ALPN protocols")


@pytest.mark.parametrize("name", [name for name in SETTINGS if name not in ("protocol", "sslobject_class")])
def test_what_is_set_again_to_the_same_value_is_accepted(context, name):
    """urllib3 sets some of them before every handshake; what it was is what it is."""
    before = getattr(context, name)
    setattr(context, name, before)

    assert getattr(context, name) == before


def test_urllib3s_no_ops_are_accepted():
    """The same `verify_mode`, `check_hostname` off where it is off, the same ALPN protocols."""
    pinned = built(check_hostname=False)
    pinned.verify_mode = ssl.CERT_REQUIRED
    pinned.check_hostname = False
    pinned.set_alpn_protocols(ALPN_PROTOCOLS)
    pinned.set_alpn_protocols(tuple(ALPN_PROTOCOLS))

    assert settings_of(pinned) == settings_of(built(check_hostname=False))


def test_an_unfrozen_one_can_be_changed(authority):
    """The control: until it is complete, everything can be set and loaded."""
    unfrozen = frozen_class()(ssl.PROTOCOL_TLS_CLIENT)
    unfrozen.check_hostname = False
    unfrozen.verify_mode = ssl.CERT_NONE
    unfrozen.set_ciphers("ECDHE+AESGCM")
    unfrozen.set_alpn_protocols(["h2"])
    unfrozen.load_cert_chain(*authority.client)

    assert unfrozen.verify_mode is ssl.CERT_NONE


def test_it_is_a_context():
    """A subclass of whatever `ssl.SSLContext` is, made once for each."""
    assert isinstance(built(), ssl.SSLContext)
    assert type(built()) is type(built()) is frozen_class()


def test_it_follows_who_replaces_ssl_context(monkeypatch):
    """truststore puts a class of its own there: then contexts are made from that one."""

    class Replaced(ssl.SSLContext):
        pass

    before = frozen_class()
    monkeypatch.setattr(ssl, "SSLContext", Replaced)
    during = frozen_class()
    monkeypatch.undo()

    assert issubclass(during, Replaced)
    assert not issubclass(before, Replaced)
    assert frozen_class() is before


@pytest.fixture
def server_context(authority):
    """Return a server's context that demands a certificate of the authority's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.server("good"))
    context.load_verify_locations(authority.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def accept(context, sock):
    """Shake hands as a server; return whose certificate came, and close."""
    try:
        with context.wrap_socket(sock, server_side=True) as server:
            server.sendall(b"!")
            return dict(field[0] for field in server.getpeercert()["subject"]).get("commonName")
    except OSError as error:
        sock.close()
        return type(error)


def shake_hands(server_context, **options):
    """Shake hands as urllib3 does; return what came, what was negotiated, and who the server saw."""
    ours, theirs = socket.socketpair()
    for sock in (ours, theirs):
        sock.settimeout(LONG_TIMEOUT)
    with ThreadPoolExecutor(1) as pool, ours:
        seen = pool.submit(accept, server_context, theirs)
        with ssl_wrap_socket(ours, **options) as client:
            return client.recv(1), client.selected_alpn_protocol(), seen.result(LONG_TIMEOUT)


def test_a_handshake_works_with_it(context, server_context):
    """Through urllib3's own function: the server is checked, and sees the client's certificate."""
    server_context.set_alpn_protocols(["http/1.1"])
    came = shake_hands(server_context, ssl_context=context, server_hostname="localhost")

    assert came == (b"!", "http/1.1", "alice")


def test_a_handshake_works_with_it_again_and_again(context, server_context):
    """In several threads at once, which all use the one context."""
    with ThreadPoolExecutor(4) as pool:
        work = [
            pool.submit(shake_hands, server_context, ssl_context=context, server_hostname="localhost")
            for _ in range(8)
        ]
        seen = [one.result(LONG_TIMEOUT)[2] for one in work]

    assert seen == ["alice"] * 8


@pytest.mark.parametrize("name", ["elsewhere.invalid", "127.0.0.2"])
def test_a_handshake_under_a_wrong_name_fails(context, server_context, name):
    """The control: it does check the name."""
    with pytest.raises(ssl.SSLCertVerificationError, match="verify failed"):
        shake_hands(server_context, ssl_context=context, server_hostname=name)


def test_a_handshake_with_a_stranger_fails(authority, context, server_context):
    """The control: it does check the chain."""
    server_context.load_cert_chain(*authority.server("untrusted"))
    with pytest.raises(ssl.SSLCertVerificationError, match="self-signed|unable to get local issuer"):
        shake_hands(server_context, ssl_context=context, server_hostname="localhost")


def test_urllib3_cannot_load_into_it(authority, context, server_context):
    """What the usual adapters do to a shared context for each connection is refused."""
    with pytest.raises(AttributeError, match="load_verify_locations"):
        shake_hands(
            server_context, ssl_context=context, server_hostname="localhost", ca_certs=authority.other_ca_file
        )

    assert len(context.get_ca_certs()) == 1
