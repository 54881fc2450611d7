"""truststore replaces `ssl.SSLContext`, early or late; its errors on macOS and Windows have no `reason`."""

import json
import ssl

import pytest
import requests
import truststore
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, attempts_of
from resilient_transport.testing import Script
from tests.programs import run_python

EARLY = "import truststore; truststore.inject_into_ssl()"
LATE = "import resilient_transport, truststore; truststore.inject_into_ssl()"


@pytest.mark.slow
@pytest.mark.parametrize("first", [EARLY, LATE], ids=["early", "late"])
def test_injected_early_or_late_it_is_asked(first, server):
    """With `verify=True` its authorities count, such as those of SSL_CERT_FILE; stock is the oracle."""
    server.play(Script())
    ours, stock = (calls(first, whose, server) for whose in ("ours", "stock"))

    assert ours == stock
    assert ours[-1] == "alice"


@pytest.mark.slow
def test_certifi_alone_trusts_nobody_here(server):
    """The control: without truststore the same call is refused."""
    server.play(Script())

    assert calls("", "ours", server)[-1] == "SSLError"


def calls(first, whose, server):
    """Return what the program of calls has said, where the system trusts the server."""
    files = server.authority.ca_file, *server.authority.client
    arguments = ("-m", "tests.neighbours.calls", first, whose, server.url, *files)
    return json.loads(run_python(*arguments, SSL_CERT_FILE=files[0]).stdout)


class LikeTruststore(ssl.SSLContext):
    """What truststore does on macOS and Windows when the system does not trust the server."""

    def wrap_socket(self, *args, **kwargs):
        """Shake hands, and raise an error that Python code has made."""
        super().wrap_socket(*args, **kwargs).close()
        error = ssl.SSLCertVerificationError("the certificate is not trusted")
        error.verify_message, error.verify_code = "the certificate is not trusted", -67843
        raise error


class Bare(ssl.SSLContext):
    """An error without any of the attributes that `ssl` gives to its own."""

    def wrap_socket(self, *args, **kwargs):
        """Shake hands, and raise it."""
        super().wrap_socket(*args, **kwargs).close()
        raise ssl.SSLError("bad handshake")


@pytest.mark.parametrize("kind", [LikeTruststore, Bare])
def test_an_error_without_a_reason_is_told_as_in_stock(kind, server, dial):
    """The same exception with the same words, and what they mean; the attempts tell its type."""
    server.play(Script())
    context = kind(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(server.authority.ca_file)
    context.load_cert_chain(*server.authority.client)

    class Stock(HTTPAdapter):
        def init_poolmanager(self, *args, **kwargs):
            super().init_poolmanager(*args, ssl_context=context, **kwargs)

    raised = []
    for adapter in (ResilientAdapter(max_retries=1, ssl_context=context), Stock()):
        session = dial(server, adapter)
        session.verify, session.cert = True, None
        with pytest.raises(requests.RequestException) as caught:
            session.get(server.url)
        raised.append(caught.value)
    ours, stock = raised

    assert type(ours) is type(stock) is requests.exceptions.SSLError
    assert str(ours).startswith(str(stock))
    assert server.url in str(ours)
    assert str(attempts_of(ours)[0].error).startswith("SSL")
    assert not hasattr(ssl.SSLError("bad handshake"), "reason")


def test_a_context_of_truststores_may_be_brought(server, dial):
    """A subclass's `init_poolmanager` passes one on; `verify=` names the authorities, as in stock."""
    server.play(Script())

    class Ours(ResilientAdapter):
        def init_poolmanager(self, *args, **kwargs):
            context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            super().init_poolmanager(*args, ssl_context=context, **kwargs)

    assert dial(server, Ours()).get(server.url + "/whoami").json()["client"] == "alice"
