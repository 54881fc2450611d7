"""Settings from the environment: what is allowed, what is refused and in which words, what comes first."""

import warnings

import pytest
import requests

import resilient_transport
from resilient_transport import ResilientAdapter, RetryPolicy, settings
from resilient_transport.settings import environment as environment_module
from resilient_transport.settings.environment import (
    SETTINGS,
    bundle_variable,
    clean_environment,
)
from resilient_transport.util.url_prefix import Prefix

PREFIX = "RESILIENT_TRANSPORT_"


@pytest.fixture
def said(monkeypatch):
    """Return a function that sets variables by their names without the prefix."""

    def say(**values):
        for name, value in values.items():
            monkeypatch.setenv(PREFIX + name, value)

    return say


def test_every_setting_of_the_issue_is_there():
    """The names are promised to people who cannot edit the program."""
    assert [setting.variable.removeprefix(PREFIX) for setting in SETTINGS] == [
        "RETRIES", "BACKOFF", "BACKOFF_MAX", "CONNECT_TIMEOUT", "READ_TIMEOUT", "DEADLINE", "IDLE_TIMEOUT",
        "MAX_AGE", "TCP_KEEPALIVE", "DNS_ORDER", "HANDSHAKES", "MAX_IDLE", "RETRY_NON_IDEMPOTENT", "DISABLE",
        "BYPASS", "LOG",
    ]  # fmt: skip


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_without_a_variable_the_default_holds(setting):
    """The control of all that follows; a default is a value that may be given, too."""
    assert settings.told(setting.name) == (setting.default, False)
    assert setting.kind.admit(setting.default) == setting.default


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("retries", "0", 0),
        ("retries", " 7 ", 7),
        ("retries", "none", None),
        ("backoff", "0.25", 0.25),
        ("backoff", ".5", 0.5),
        ("backoff_max", "3", 3.0),
        ("connect_timeout", "1.5", 1.5),
        ("connect_timeout", "None", None),
        ("read_timeout", "60", 60.0),
        ("deadline", "0", 0.0),
        ("deadline", "none", None),
        ("idle_timeout", "0", 0.0),
        ("max_age", "600", 600.0),
        ("tcp_keepalive", "0", 0),
        ("tcp_keepalive", "32767", 32767),
        ("dns_order", "IPv4First", "ipv4first"),
        ("handshakes", "1", 1),
        ("retry_non_idempotent", "YES", True),
        ("retry_non_idempotent", "off", False),
        ("bypass", "1", True),
        ("log", "debug", "debug"),
        ("disable", "https://a.example/v1, http://b.example", ("https://a.example/v1", "http://b.example/")),
    ],
)
def test_what_is_allowed(said, name, text, value):
    """A text becomes the value that the constructor takes."""
    said(**{name.upper(): text})
    found, is_told = settings.told(name)

    assert is_told
    assert (tuple(map(str, found)) if name == "disable" else found) == value
    assert settings.checked(name, found) == found


@pytest.mark.parametrize("text", ["", "   "])
def test_an_empty_variable_says_nothing(said, text):
    """As `NAME= program` means in a shell."""
    said(RETRIES=text)

    assert settings.told("retries") == (None, False)


REFUSED = [
    ("RETRIES", "-1", "a whole number, 0 or more, or none"),
    ("RETRIES", "1_0", "a whole number"),
    ("RETRIES", "\u0663", "a whole number"),
    ("BACKOFF", "nan", "a number of seconds, 0 or more"),
    ("BACKOFF_MAX", "inf", "a number of seconds"),
    ("CONNECT_TIMEOUT", "0", "a number of seconds over 0, or none"),
    ("READ_TIMEOUT", "1s", "a number of seconds over 0"),
    ("DEADLINE", "-5", "a number of seconds, 0 or more, or none"),
    ("IDLE_TIMEOUT", "none", "a number of seconds, 0 or more"),
    ("MAX_AGE", "0", "over 0"),
    ("TCP_KEEPALIVE", "40000", "up to 32767, or 0 to turn it off"),
    ("DNS_ORDER", "ipv5first", "ipv4first, ipv6first, system"),
    ("HANDSHAKES", "0", "1 or more"),
    ("MAX_IDLE", "0", "1 or more"),
    ("RETRY_NON_IDEMPOTENT", "maybe", "1, true, yes or on; 0, false, no or off"),
    ("DISABLE", "api.example/v1", "URLs with http or https"),
    ("DISABLE", "ftp://api.example", "URLs with http or https"),
    ("DISABLE", "https://api.example/?q=1", "no credentials, query or fragment"),
    ("BYPASS", "2", "0, false, no or off"),
    ("LOG", "loud", "off, debug, info, warning, error"),
]


@pytest.mark.parametrize(("name", "text", "allowed"), REFUSED)
def test_what_is_not_allowed_is_refused_at_construction(said, name, text, allowed):
    """The message names the variable, the value and what is allowed; importing the package raises nothing."""
    said(**{name: text})
    with pytest.raises(ValueError, match=PREFIX + name) as caught:
        ResilientAdapter()

    shown = repr(text) if "?" not in text else "a value that is not shown, since it may hold secrets"
    assert f"{PREFIX}{name}={shown}: " in str(caught.value)
    assert allowed in str(caught.value)


SECRETS = [
    "https://user:hunter2@api.example/",
    "https://user:p@hunter2@api.example/",
    "https://u:se/hunter2@api.example/",
    "https://u:se hunter2@api.example/",
    "https://api.example/?token=hunter2",
    "https://api.example/#hunter2",
]


@pytest.mark.parametrize("url", SECRETS)
def test_a_secret_in_a_refused_value_is_not_told(said, url):
    """A URL with credentials, or a query, is refused, and they are in no message."""
    said(DISABLE=url)
    with pytest.raises(ValueError, match="credentials") as of_environment:
        ResilientAdapter()
    said(DISABLE="")
    with pytest.raises(ValueError, match="credentials") as of_constructor:
        ResilientAdapter(disable=[url])
    with pytest.raises(TypeError, match="credentials") as of_mistake:
        ResilientAdapter(disable=url)

    for caught in (of_environment, of_constructor, of_mistake):
        chain = [caught.value, caught.value.__cause__, caught.value.__context__]
        assert "hunter2" not in " ".join(map(str, chain[:2]))
        assert chain[2] is None or caught.value.__suppress_context__


def test_an_installation_is_refused_as_well(said):
    """What is installed for a whole program is refused where it is installed."""
    said(RETRIES="many")

    with pytest.raises(ValueError, match="RETRIES='many'"):
        resilient_transport.install()
    assert type(requests.Session().get_adapter("https://")) is requests.adapters.HTTPAdapter


@pytest.mark.parametrize(
    ("unknown", "nearest"),
    [("RETRY", "RETRIES"), ("CONECT_TIMEOUT", "CONNECT_TIMEOUT"), ("HANDSHAKE_MAX", "HANDSHAKES")],
)
def test_an_unknown_name_warns_with_the_nearest(said, monkeypatch, unknown, nearest):
    """A name that nothing reads is told, once."""
    monkeypatch.setattr(environment_module, "_warned", set())
    said(**{unknown: "1"})
    with pytest.warns(UserWarning, match=f"{PREFIX}{unknown} is no setting.*{PREFIX}{nearest}$"):
        ResilientAdapter()
    with warnings.catch_warnings():
        warnings.simplefilter("error")

        ResilientAdapter()


GIVEN = {
    "connect_timeout": ("3", 4.0, lambda adapter: adapter._options.timeout[0]),
    "read_timeout": ("3", 4.0, lambda adapter: adapter._options.timeout[1]),
    "idle_timeout": ("3", 4.0, lambda adapter: adapter._options.connection_options.idle_timeout),
    "max_age": ("3", 4.0, lambda adapter: adapter._options.connection_options.max_age),
    "tcp_keepalive": ("3", 4, lambda adapter: adapter._options.tcp_keepalive),
    "handshakes": ("3", 4, lambda adapter: adapter._options.connection_options.handshakes),
    "dns_order": ("ipv4first", "ipv6first", lambda adapter: adapter._options.connection_options.dns_order),
    "disable": ("http://a/", (Prefix.parse("http://b/"),), lambda adapter: adapter._options.disable),
}


@pytest.mark.parametrize("name", GIVEN)
def test_the_constructor_is_stronger_than_the_environment(said, name):
    """Default, then environment, then constructor."""
    text, value, held = GIVEN[name]
    told = [held(ResilientAdapter())]
    said(**{name.upper(): text})
    told += [held(ResilientAdapter()), held(ResilientAdapter(**{name: value}))]

    assert told == [settings.default(name), settings.value(name), value]
    assert len(set(map(str, told))) == 3


@pytest.mark.parametrize(
    ("name", "text", "from_environment", "given"),
    [
        ("retries", "3", 3, 4),
        ("retries", "3", 3, None),
        ("backoff", "0.5", 0.5, 0.05),
        ("backoff_max", "1", 1.0, 2.0),
        ("deadline", "9", 9.0, 8),
        ("deadline", "9", 9.0, None),
        ("retry_non_idempotent", "on", True, False),
    ],
)
def test_a_policy_takes_from_the_environment_what_it_is_not_given(said, name, text, from_environment, given):
    """Field by field; what is given counts, its default included."""
    said(**{name.upper(): text})

    assert getattr(RetryPolicy(), name) == from_environment
    assert getattr(RetryPolicy(jitter=0.1), name) == from_environment
    assert getattr(ResilientAdapter().policy, name) == from_environment
    assert getattr(RetryPolicy(**{name: given}), name) == given


@pytest.mark.parametrize("name", ["connect_timeout", "max_age", "tcp_keepalive", "dns_order", "disable"])
@pytest.mark.parametrize("value", [-1, True, "nonsense", object()])
def test_a_wrong_argument_is_refused_by_name(name, value):
    """What the constructor does not take, it names."""
    with pytest.raises((TypeError, ValueError), match=f"{name} is "):
        ResilientAdapter(**{name: value})


FOREIGN = [
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "SSLKEYLOGFILE",
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
]


def test_a_clean_environment_points_nowhere_else():
    """Certificates and proxies of others are taken out, however they are spelled; all else is left."""
    kept = {"PATH": "/bin", "MY_PROXY": "x", "HTTP_PROXY_USER": "y", "RESILIENT_TRANSPORT_RETRIES": "3"}
    source = {**dict.fromkeys(FOREIGN, "elsewhere"), **kept}
    before = dict(source)

    assert clean_environment(source) == kept
    assert source == before


@pytest.mark.parametrize("name", FOREIGN)
def test_the_environment_of_this_process_is_cleaned(monkeypatch, name):
    """Without an argument the real one is copied, and stays as it is."""
    monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("RESILIENT_TRANSPORT_SOMETHING", "kept")
    clean = clean_environment()

    assert name not in clean
    assert clean["RESILIENT_TRANSPORT_SOMETHING"] == "kept"


@pytest.mark.parametrize(
    ("name", "value", "verify", "told"),
    [
        ("REQUESTS_CA_BUNDLE", "/a.pem", "/a.pem", True),
        ("CURL_CA_BUNDLE", "/a.pem", "/a.pem", True),
        ("REQUESTS_CA_BUNDLE", "/a.pem", "/b.pem", False),
        ("SSL_CERT_FILE", "/a.pem", "/a.pem", False),
        ("REQUESTS_CA_BUNDLE", "", "", False),
        ("REQUESTS_CA_BUNDLE", "1", True, False),
        ("REQUESTS_CA_BUNDLE", "/a.pem", None, False),
    ],
)
def test_a_bundle_of_the_environment_is_told_from_one_of_the_program(monkeypatch, name, value, verify, told):
    """By its value: `requests` hands on the path, and not where it came from."""
    for each in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(each, raising=False)
    monkeypatch.setenv(name, value)

    assert bundle_variable(verify) == (name if told else None)
