"""Adapters that bring a TLS context, and leave it to `verify` and `cert` whom it trusts and whom it shows."""

import os
import shutil
import ssl
import sys
import threading

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, load_pem_private_key, pkcs12
from requests.adapters import HTTPAdapter
from requests_pkcs12 import Pkcs12Adapter
from requests_toolbelt.adapters.x509 import X509Adapter
from urllib3.util.ssl_ import create_urllib3_context

from resilient_transport import ResilientAdapter
from resilient_transport.pool import own_contexts
from resilient_transport.pool.own_contexts import complete
from resilient_transport.pool.registry import registry
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.timeouts import LONG_TIMEOUT


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


def with_identity(authority):
    """A context that has the client's identity, and no authority."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_cert_chain(*authority.client)
    return context


def for_old_servers(authority):
    """What is often copied for servers with old ciphers."""
    context = create_urllib3_context(ciphers="DEFAULT:@SECLEVEL=1")
    context.check_hostname = False
    return context


def with_authority(authority):
    """A context that trusts the server."""
    return ssl.create_default_context(cafile=authority.ca_file)


def adapter_with(context, base=ResilientAdapter):
    """An adapter whose `init_poolmanager` passes a context on."""

    class Bringing(base):
        def init_poolmanager(self, *args, **kwargs):
            super().init_poolmanager(*args, ssl_context=context, **kwargs)

    return Bringing()


def said(server, adapter, **settings):
    """Return whom the server has seen, or the type of the exception."""
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", adapter)
        try:
            return session.get(server.url + "/whoami", timeout=LONG_TIMEOUT, **settings).json()["client"]
        except Exception as error:
            return type(error).__name__


@pytest.fixture
def certifis(server, monkeypatch):
    """Have certifi trust the server."""
    for module in (
        "requests.adapters",
        "resilient_transport.adapter.adapter",
        "resilient_transport.pool.own_contexts",
    ):
        monkeypatch.setattr(f"{module}.DEFAULT_CA_BUNDLE_PATH", server.authority.ca_file)


def mixed(authority):
    """A certificate and another's key."""
    return authority.client[0], authority.other_client[1]


CASES = {
    "identity, verify=path": (with_identity, lambda a: {"verify": a.ca_file}, "alice"),
    "identity, verify=other": (with_identity, lambda a: {"verify": a.other_ca_file}, "SSLError"),
    "identity, verify=True": (with_identity, lambda a: {}, "SSLError"),
    "identity, verify=False": (with_identity, lambda a: {"verify": False}, "ValueError"),
    "identity, verify, cert": (with_identity, lambda a: {"verify": a.ca_file, "cert": a.other_client}, "bob"),
    "identity, absent": (with_identity, lambda a: {"verify": "/nowhere.pem"}, "OSError"),
    "ciphers, verify=path": (for_old_servers, lambda a: {"verify": a.ca_file, "cert": a.client}, "alice"),
    "ciphers, verify=False": (for_old_servers, lambda a: {"verify": False, "cert": a.client}, "alice"),
    "ciphers, wrong key": (for_old_servers, lambda a: {"verify": a.ca_file, "cert": mixed(a)}, "SSLError"),
    "authority, cert": (with_authority, lambda a: {"cert": a.client}, "alice"),
}  # fmt: skip


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize("case", CASES)
def test_it_is_as_with_stock(case, server):
    """`verify` and `cert` have their say over a context that `init_poolmanager` passes on."""
    make, settings, expected = CASES[case]
    authority = server.authority
    ours = said(server, adapter_with(make(authority)), **settings(authority))
    stock = said(server, adapter_with(make(authority), HTTPAdapter), **settings(authority))

    assert ours == stock == expected


def test_the_bundle_of_the_environment_counts(server, monkeypatch):
    """As with stock, it is the `verify` of a call that has none."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", server.authority.ca_file)
    seen = []
    for base in (ResilientAdapter, HTTPAdapter):
        with requests.Session() as session:
            session.mount("https://", adapter_with(with_identity(server.authority), base))
            seen.append(session.get(server.url + "/whoami").json()["client"])

    assert seen == ["alice", "alice"]


def test_verify_true_means_certifis_authorities(server, certifis):
    """For a context that has none, as with stock."""
    context = with_identity(server.authority)

    assert said(server, adapter_with(context)) == "alice"
    assert said(server, adapter_with(with_identity(server.authority), HTTPAdapter)) == "alice"


def test_certifi_is_not_added_to_a_private_authority(server, certifis):
    """A context that trusts somebody by itself trusts nobody else; stock adds certifi's authorities to it."""
    ours, stock = (ssl.create_default_context(cafile=server.authority.other_ca_file) for _ in range(2))
    for context in (ours, stock):
        context.load_cert_chain(*server.authority.client)

    assert said(server, adapter_with(ours)) == "SSLError"
    assert len(ours.get_ca_certs()) == 1
    assert said(server, adapter_with(stock, HTTPAdapter)) == "alice"


def test_it_is_completed_once(server, monkeypatch):
    """Before the first handshake, however many threads begin at once; stock loads before each."""
    loads = []

    class Counting(ssl.SSLContext):
        def load_verify_locations(self, *args, **kwargs):
            loads.append(1)
            super().load_verify_locations(*args, **kwargs)

    def run(base, context):
        context.load_cert_chain(*server.authority.client)
        adapter = adapter_with(context, base)
        barrier, seen = threading.Barrier(4), []

        def call():
            barrier.wait(LONG_TIMEOUT)
            seen.append(said(server, adapter, verify=server.authority.ca_file))

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG_TIMEOUT)
        return seen, len(loads)

    ours = run(ResilientAdapter, Counting(ssl.PROTOCOL_TLS_CLIENT))
    loads.clear()
    _, stock = run(HTTPAdapter, Counting(ssl.PROTOCOL_TLS_CLIENT))

    assert ours == (["alice"] * 4, 1)
    assert stock > 1


ASKED = {
    "another authority": lambda a: {"verify": a.other_ca_file, "cert": a.client},
    "another client": lambda a: {"verify": a.ca_file, "cert": a.other_client},
    "no client": lambda a: {"verify": a.ca_file},
    "no verification": lambda a: {"verify": False, "cert": a.client},
}


@pytest.mark.parametrize("asked", ASKED)
def test_what_was_loaded_serves_nobody_else(asked, server):
    """The same context with another `verify` or `cert` is refused, in another adapter, too."""
    authority = server.authority
    context = for_old_servers(authority)
    first = {"verify": authority.ca_file, "cert": authority.client}

    assert said(server, adapter_with(context), **first) == "alice"
    accepts = server.counts().accepts
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", adapter_with(context))
        with pytest.raises(TypeError, match="for each verify= and cert= use an adapter of its own"):
            session.get(server.url, **ASKED[asked](authority))
    assert said(server, ResilientAdapter(ssl_context=context)) == "TypeError"
    assert len(context.get_ca_certs()) == 1
    assert said(server, adapter_with(context), **first) == "alice"
    assert server.counts().accepts <= accepts + 1


def test_a_context_that_is_used_as_it_is_is_not_completed(server):
    """`ResilientAdapter(ssl_context=)` keeps what it was given, whoever brings the same context elsewhere."""
    context = with_authority(server.authority)
    context.load_cert_chain(*server.authority.client)

    assert said(server, ResilientAdapter(ssl_context=context)) == "alice"
    assert said(server, adapter_with(context), cert=server.authority.other_client) == "TypeError"
    assert said(server, adapter_with(context)) == "alice"


def test_stock_mixes_them(server):
    """The control: there the second session is seen as the first one's client."""
    context = for_old_servers(server.authority)
    adapter, other = (adapter_with(context, HTTPAdapter) for _ in range(2))
    said(server, adapter, verify=server.authority.ca_file, cert=server.authority.client)

    assert said(server, other, verify=server.authority.ca_file) == "alice"


def copied(paths, folder, names):
    """Copy files, as older than any clock's tick; return where they are now."""
    made = []
    for path, name in zip(paths, names, strict=True):
        made.append(shutil.copy(path, folder / name))
        os.utime(made[-1], (1, 1))
    return made


def replace_with_others(authority, bundle, folder):
    """Put another authority and another client in the place of these."""
    copied([authority.other_ca_file], folder, [os.path.basename(bundle)])
    copied(authority.other_client, folder, ["client.pem", "client.key"])


def remove(authority, bundle, folder):
    """Take the files away, as in the middle of a rotation."""
    for name in (bundle, "client.pem", "client.key"):
        (folder / name).unlink()


def spoil(authority, bundle, folder):
    """Leave a pair that does not match."""
    copied([authority.other_client[1]], folder, ["client.key"])


@pytest.mark.parametrize("change", [replace_with_others, remove, spoil])
def test_replaced_files(server, tmp_path, caplog, change):
    """Whatever becomes of its files, a context keeps what it has, with one warning for each change."""
    authority = server.authority
    (bundle,) = copied([authority.ca_file], tmp_path, ["ca.pem"])
    cert = tuple(copied(authority.client, tmp_path, ["client.pem", "client.key"]))
    context = for_old_servers(authority)

    def call():
        # By a connection of its own.
        registry.clear()
        return said(server, adapter_with(context), verify=bundle, cert=cert)

    seen = [call()]
    change(authority, bundle, tmp_path)
    seen += [call(), call()]

    assert seen == ["alice"] * 3
    assert caplog.text.count("keeps what was loaded before. Make a new adapter") == 1
    assert len(context.get_ca_certs()) == 1
    # The files as they were are no news, and the next change is.
    copied([authority.ca_file, *authority.client], tmp_path, ["ca.pem", "client.pem", "client.key"])
    assert call() == "alice"
    assert caplog.text.count("keeps what") == 1
    change(authority, bundle, tmp_path)
    assert call() == "alice"
    assert caplog.text.count("keeps what") == 2


def test_a_new_context_takes_replaced_files(server, tmp_path):
    """As the warning says."""
    authority = server.authority
    cert = tuple(copied(authority.client, tmp_path, ["client.pem", "client.key"]))
    seen = []
    for pair in (authority.client, authority.other_client):
        copied(pair, tmp_path, ["client.pem", "client.key"])
        adapter = adapter_with(for_old_servers(authority))
        seen.append(said(server, adapter, verify=authority.ca_file, cert=cert))

    assert seen == ["alice", "bob"]


def test_a_pair_that_does_not_fit_leaves_the_context_usable(server):
    """What could not be loaded counts for nothing: the right pair is taken afterwards."""
    authority = server.authority
    context = for_old_servers(authority)
    assert said(server, adapter_with(context), verify=authority.ca_file, cert=mixed(authority)) == "SSLError"
    assert said(server, adapter_with(context), verify="/nowhere.pem", cert=authority.client) == "OSError"
    assert said(server, adapter_with(context), verify=authority.ca_file, cert=authority.other_client) == "bob"


def broken(authority, folder):
    """A certificate that is none, with its key."""
    (folder / "broken.pem").write_text("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n")
    return str(folder / "broken.pem"), authority.client[1]


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize("make", [lambda a, _: mixed(a), broken], ids=["mixed", "broken"])
def test_a_pair_that_fails_leaves_no_less_strict_a_context(server, tmp_path, make):
    """`verify=False` beside a pair that cannot be loaded changes nothing for who verifies."""
    authority = server.authority
    context = ssl.create_default_context(cafile=authority.other_ca_file)
    context.check_hostname = False

    assert said(server, adapter_with(context), verify=False, cert=make(authority, tmp_path)) == "SSLError"
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert said(server, ResilientAdapter(ssl_context=context)) == "SSLError"


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
def test_the_right_pair_is_taken_without_verification(server):
    """The control: after a pair that failed, another may be loaded; then nobody uses the context as it is."""
    authority = server.authority
    context = ssl.create_default_context(cafile=authority.other_ca_file)
    context.check_hostname = False

    assert said(server, adapter_with(context), verify=False, cert=mixed(authority)) == "SSLError"
    assert said(server, adapter_with(context), verify=False, cert=authority.client) == "alice"
    assert said(server, ResilientAdapter(ssl_context=context)) == "TypeError"


def interrupted_at(number, function, files):
    """Raise an interrupt before this line, by its number, of what runs in these files; return the last."""
    met = [0]

    def strike(frame, event, _):
        if frame.f_code.co_filename not in files:
            return None
        if event == "line":
            met[0] += 1
            if met[0] == number:
                raise KeyboardInterrupt
        return strike

    before = sys.gettrace()
    sys.settrace(strike)
    try:
        function()
    finally:
        sys.settrace(before)
        # No signal strikes between the end of a block and the release of its lock, but a trace function does.
        while own_contexts._lock._is_owned():
            own_contexts._lock.release()
    return met[0]


@pytest.mark.parametrize("with_pair", [False, True])
def test_an_interrupt_at_any_line_leaves_no_trust_behind(server, with_pair):
    """The mode is the program's, or nobody may use the context as it is; the same asked again works."""
    authority, files = server.authority, {own_contexts.__file__}
    settings = {"cert_reqs": ssl.CERT_NONE}
    if with_pair:
        settings.update(zip(("cert_file", "key_file"), authority.client, strict=True))

    def make():
        context = ssl.create_default_context(cafile=authority.other_ca_file)
        context.check_hostname = False
        return context

    steps = interrupted_at(0, lambda: complete(make(), settings), files)
    outcomes = set()
    for number in range(1, steps + 1):
        context = make()
        with pytest.raises(KeyboardInterrupt):
            interrupted_at(number, lambda context=context: complete(context, settings), files)
        again = number % 2
        if again:
            complete(context, settings)
            assert context.verify_mode is ssl.CERT_NONE
        try:
            _, mode = complete(context, {})
        except TypeError:
            outcomes.add("refused")
        else:
            assert not again
            assert mode is context.verify_mode is ssl.CERT_REQUIRED
            outcomes.add("as it was made")

    assert outcomes == {"refused", "as it was made"}


def test_what_an_interrupt_has_left_is_loaded_after_a_change(server, tmp_path):
    """A context that was completed by half takes the files as they are then: no handshake has used it."""
    authority = server.authority
    cert = tuple(copied(authority.client, tmp_path, ["client.pem", "client.key"]))
    context = for_old_servers(authority)
    settings = {"ca_certs": authority.ca_file, "cert_file": cert[0], "key_file": cert[1]}

    def interrupt(*_):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(own_contexts, "frozen_view", interrupt)
        with pytest.raises(KeyboardInterrupt):
            complete(context, {"cert_reqs": ssl.CERT_REQUIRED, **settings})
    copied(authority.other_client, tmp_path, ["client.pem", "client.key"])

    assert said(server, adapter_with(context), verify=authority.ca_file, cert=cert) == "bob"


def test_a_reset_is_repeated_with_it(server):
    """Such an adapter is no less resilient than others."""
    server.play(Script((Rule(Fault(Moment.HANDSHAKE), first=2),)))

    assert (
        said(server, adapter_with(with_identity(server.authority)), verify=server.authority.ca_file)
        == "alice"
    )


def test_through_a_proxy_too(server, fault_server_factory):
    """An adapter that passes its context to the managers of proxies, as all of these do."""
    proxy = fault_server_factory(tls=False)
    context = with_identity(server.authority)

    class Bringing(ResilientAdapter):
        def proxy_manager_for(self, *args, **kwargs):
            return super().proxy_manager_for(*args, **{**kwargs, "ssl_context": context})

    settings = {"verify": server.authority.ca_file, "proxies": {"https": proxy.url}}

    assert said(server, Bringing(), **settings) == "alice"
    assert proxy.counts().tunnels == 1
    # The control: without the context there is no identity.
    assert said(server, ResilientAdapter(), **settings) == "ClientCertificateRejected"


def read(path):
    """Return what is in a file."""
    with open(path, "rb") as file:
        return file.read()


def x509_adapter(authority, base):
    """requests-toolbelt's, with the client's certificate in memory."""
    kind = type("Mine", (X509Adapter, base), {})
    cert, key = map(read, authority.client)
    return kind(cert_bytes=cert, pk_bytes=key)


def pkcs12_adapter(authority, base):
    """requests-pkcs12's, with the client's certificate in a PKCS #12 file in memory."""
    kind = type("Mine", (Pkcs12Adapter, base), {})
    cert, key = map(read, authority.client)
    data = pkcs12.serialize_key_and_certificates(
        b"client", load_pem_private_key(key, None), x509.load_pem_x509_certificate(cert), None,
        BestAvailableEncryption(b"open sesame"),
    )  # fmt: skip
    return kind(pkcs12_data=data, pkcs12_password="open sesame")


@pytest.mark.filterwarnings("ignore:Unverified HTTPS", "ignore::DeprecationWarning", "ignore:Properties that")
@pytest.mark.parametrize("verify", ["path", "other", "True", "False"])
@pytest.mark.parametrize("make", [x509_adapter, pkcs12_adapter])
def test_adapters_of_others_are_as_with_stock(make, verify, server, certifis):
    """The client is shown, and `verify` has its say.

    So it is over further connections, which pyOpenSSL 26 lets stock not make.
    """
    authority = server.authority
    paths = {"path": authority.ca_file, "other": authority.other_ca_file, "True": True, "False": False}
    stock = said(server, make(authority, HTTPAdapter), verify=paths[verify])
    adapter, ours = make(authority, ResilientAdapter), []
    for _ in range(2):
        registry.clear()
        ours.append(said(server, adapter, verify=paths[verify]))

    assert stock == ("SSLError" if verify == "other" else "alice")
    assert ours == [stock] * 2
