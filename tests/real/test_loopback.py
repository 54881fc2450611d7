"""The circuit checks of all tests hold: nothing leaves this machine, nobody's settings come in."""

import os
import socket
import ssl

import pytest
import requests

from tests.conftest import CA_VARIABLES, is_setting
from tests.loopback import LeftThisMachine, is_loopback
from tests.timeouts import HANG_TIMEOUT, LONG_TIMEOUT, SHORT_TIMEOUT

#: Addresses for documentation (RFC 5737, RFC 3849), so that nobody is called even if the circuit check fails.
ELSEWHERE = [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")]


@pytest.mark.parametrize(("family", "host"), ELSEWHERE)
@pytest.mark.parametrize("method", ["connect", "connect_ex"])
def test_no_socket_connects_elsewhere(family, host, method):
    """Both ways to connect are guarded, for both families."""
    with socket.socket(family) as sock, pytest.raises(LeftThisMachine, match=host):
        getattr(sock, method)((host, 9))


def test_a_tls_socket_connects_nowhere_else_either():
    """An SSLSocket's own connect ends in the guarded one."""
    context = ssl.create_default_context()

    with (
        context.wrap_socket(socket.socket(), server_hostname="192.0.2.1") as sock,
        pytest.raises(LeftThisMachine),
    ):
        sock.connect(("192.0.2.1", 443))


def test_requests_does_not_hide_the_refusal():
    """It is no OSError, so it comes through `requests` and through anything that retries."""
    with pytest.raises(LeftThisMachine):
        requests.get("http://192.0.2.1/", timeout=LONG_TIMEOUT)


def test_a_name_that_needs_dns_is_not_found():
    """The answer is the one that a resolver would give, without asking one."""
    with pytest.raises(requests.exceptions.ConnectionError, match="Name or service not known"):
        requests.get("http://example.com/", timeout=LONG_TIMEOUT)


def test_loopback_connects():
    """The control: the circuit check is no wall."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(("localhost", listener.getsockname()[1]), timeout=LONG_TIMEOUT) as sock,
    ):
        assert is_loopback(sock.getpeername()[0])


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::ffff:192.0.2.1", False),
        ("fe80::1%lo", False),
        ("localhost.example.com", False),
    ],
)
def test_what_counts_as_loopback(host, expected):
    """Spelled as IPv6 an address stays what it is, and only one name needs no resolver."""
    assert is_loopback(host) is expected


def test_nobodys_settings_come_in():
    """No variable that changes what a request does is left."""
    assert [name for name in os.environ if is_setting(name)] == []


@pytest.mark.parametrize(
    "name", [*sorted(CA_VARIABLES), "https_proxy", "NO_PROXY", "RESILIENT_TRANSPORT_RETRIES"]
)
def test_what_counts_as_a_setting(name):
    """The control for the test above."""
    assert is_setting(name)
    assert not is_setting("_" + name.replace("_", ""))


def test_the_hang_guard_is_armed(pytestconfig):
    """The number in tests/timeouts.py is the one that pytest uses, and far from the others."""
    assert pytestconfig.getini("faulthandler_timeout") == HANG_TIMEOUT
    assert pytestconfig.getini("faulthandler_exit_on_timeout") is True
    assert SHORT_TIMEOUT * 10 < LONG_TIMEOUT < HANG_TIMEOUT / 2
