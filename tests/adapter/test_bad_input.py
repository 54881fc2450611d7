"""Bad input is refused as requests refuses it, with the cure, and before any socket is opened."""

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from resilient_transport import ResilientAdapter, RetryPolicy
from resilient_transport.testing import Script


@pytest.fixture
def bad(server, tmp_path):
    """Values that cannot be right, by name."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("this is no certificate\n")
    certificate, key = server.authority.client
    return {
        "missing certificate": {"cert": str(tmp_path / "missing.pem")},
        "missing key": {"cert": (certificate, str(tmp_path / "missing.key"))},
        "missing CA": {"verify": str(tmp_path / "missing-ca.pem")},
        "another's key": {"cert": (certificate, server.authority.other_client[1])},
        "encrypted key": {"cert": (certificate, server.authority.encrypted_key)},
        "no certificate": {"cert": (str(nonsense), key)},
        "no CA": {"verify": str(nonsense)},
    }


def raised(server, adapter, **values):
    """What a call raises, or None."""
    values = {"verify": server.authority.ca_file, "cert": server.authority.client, **values}
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", adapter)
        try:
            session.get(server.url, **values)
        except Exception as error:
            return error
    return None


NAMES = [
    "missing certificate",
    "missing key",
    "missing CA",
    "another's key",
    "encrypted key",
    "no certificate",
    "no CA",
]


@pytest.mark.parametrize("name", NAMES)
def test_certificate_files(server, fault_server_factory, bad, name):
    """The exception type is stock's, for paths its message, too; the cure is in a note or in the message."""
    server.play(Script())
    stock = raised(server, HTTPAdapter(), **bad[name])
    # Another server: what stock has opened is still on its way to being counted.
    untouched = fault_server_factory()

    error = raised(untouched, ResilientAdapter(), **bad[name])

    assert type(error) is type(stock)
    assert "missing" not in name or str(error) == str(stock)
    told = error.__notes__ if "missing" in name else [str(error)]
    assert "cert= and verify= take paths" in "".join(told)
    assert untouched.counts().accepts == 0


def test_stock_opens_a_socket_for_a_key_that_does_not_match(server, bad):
    """The control: stock connects before it looks into the files."""
    server.play(Script())

    raised(server, HTTPAdapter(), **bad["another's key"])

    assert server.wait_for(lambda counts: counts.accepts == 1)


def test_the_password_opens_the_key(server):
    """`key_password=` takes str, bytes or a callable."""
    server.play(Script())
    authority = server.authority
    cert = (authority.client[0], authority.encrypted_key)
    password = authority.key_password

    for given in (password, password.encode(), lambda: password):
        assert raised(server, ResilientAdapter(key_password=given), cert=cert) is None


def test_a_wrong_password_is_not_helped_by_a_right_one(server):
    """What one adapter has unlocked, another does not get by guessing."""
    server.play(Script())
    authority = server.authority
    cert = (authority.client[0], authority.encrypted_key)
    raised(server, ResilientAdapter(key_password=authority.key_password), cert=cert)

    for adapter in (ResilientAdapter(key_password="wrong"), ResilientAdapter()):
        assert isinstance(raised(server, adapter, cert=cert), requests.exceptions.SSLError)


@pytest.mark.parametrize(
    "url",
    ["https://", "https://exa mple", "https://[::1", "https://*.example", "https://.example", "nonsense"],
)
def test_urls(server, url, pauses):
    """A URL that is none raises what stock raises, with its message."""
    outcomes = []
    for adapter in (HTTPAdapter(), ResilientAdapter()):
        request = requests.Request("GET", "https://localhost").prepare()
        request.url = url
        try:
            adapter.send(request)
        except Exception as error:
            outcomes.append((type(error), str(error)))

    assert len(outcomes) == 2
    (kind, words), (our_kind, our_words) = outcomes
    assert our_kind is kind
    # Of a name that is not found, the cure is said besides.
    assert our_words.startswith(words)


@pytest.mark.parametrize("header", [{"X-Bad": "a\r\nb"}, {"X-Bad\r\n": "a"}])
def test_headers(server, header):
    """A header that would split the request raises what stock raises, once, and sends nothing."""
    server.play(Script())
    outcomes = []
    for adapter in (HTTPAdapter(), ResilientAdapter()):
        request = requests.Request("GET", server.url).prepare()
        request.headers.update(header)
        try:
            adapter.send(request, verify=server.authority.ca_file, cert=server.authority.client)
        except Exception as error:
            outcomes.append((type(error), str(error)))
        adapter.close()

    assert len(outcomes) == 2
    (kind, words), (our_kind, our_words) = outcomes
    assert our_kind is kind
    # Of a name that is not found, the cure is said besides.
    assert our_words.startswith(words)
    assert server.counts().requests == 0


@pytest.mark.parametrize(
    "retries", ["3", 1.5, object, Retry(total="3"), Retry(connect=1.5), [], True], ids=repr
)
def test_retries(retries):
    """What is no count and no `Retry` is a TypeError (in stock, at the first failure)."""
    with pytest.raises(TypeError, match=r"takes (a number|an int)"):
        ResilientAdapter(max_retries=retries)


def test_retries_and_policy_together():
    """Two sources for one setting are refused, with the cure."""
    with pytest.raises(TypeError, match=r"either max_retries= or policy=RetryPolicy\(retries=\.\.\.\)"):
        ResilientAdapter(max_retries=3, policy=RetryPolicy())


@pytest.mark.parametrize(
    "settings", [{"policy": 3}, {"ssl_context": "ctx"}, {"key_password": 7}], ids=lambda s: next(iter(s))
)
def test_other_settings(settings):
    """A setting of the wrong type is refused by name when the adapter is made."""
    with pytest.raises(TypeError, match=next(iter(settings))):
        ResilientAdapter(**settings)


def test_a_timeout_tuple_of_three(server, dial):
    """requests says what is wrong with it."""
    with pytest.raises(ValueError, match="Pass a \\(connect, read\\) timeout tuple"):
        dial(server).get(server.url, timeout=(1, 2, 3))
