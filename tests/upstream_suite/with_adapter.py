"""A pytest plugin: every `requests.Session` of requests' own suite has this adapter."""

import pytest
import requests

import resilient_transport

INSTALLATION = resilient_transport.install()


@pytest.hookimpl(trylast=True)
def pytest_runtest_setup() -> None:
    """Fail a test that would run with stock requests: it would prove nothing."""
    assert requests.sessions.HTTPAdapter is INSTALLATION.stand_in


def pytest_report_header() -> str:
    """Say in the log what sessions get."""
    with requests.Session() as session:
        return f"transport: {type(session.get_adapter('https://')).__name__}"
