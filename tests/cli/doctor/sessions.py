"""Sessions as programs make them, for `--session tests.cli.doctor.sessions:NAME`."""

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from resilient_transport import ResilientAdapter, RetryPolicy


class OwnAdapter(HTTPAdapter):
    """An adapter of the program's own class."""


class Choosy(requests.Session):
    """A session that mounts nothing where others do."""

    def get_adapter(self, url: str) -> HTTPAdapter:
        """Choose the program's own adapter, whatever is mounted."""
        return OwnAdapter()


class Sender(requests.Session):
    """A session that sends by itself."""

    def send(self, request: requests.PreparedRequest, **kwargs: object) -> requests.Response:
        """Send as others do, this time."""
        return super().send(request, **kwargs)


def plain() -> requests.Session:
    """Return a session as it comes."""
    return requests.Session()


def ours() -> requests.Session:
    """Return a session with the adapter, some settings of which are its own."""
    session = requests.Session()
    policy = RetryPolicy(retries=2)
    session.mount("https://", ResilientAdapter(policy=policy, idle_timeout=7, tcp_keepalive=30))
    return session


def disabling() -> requests.Session:
    """Return a session that refuses a page."""
    session = requests.Session()
    session.mount("https://", ResilientAdapter(disable=["https://api.example.test/"]))
    return session


def own_class() -> requests.Session:
    """Return a session with an adapter of a class of its own."""
    session = requests.Session()
    session.mount("https://", OwnAdapter())
    return session


def longer_prefix() -> requests.Session:
    """Return a session that has an adapter for one host."""
    session = requests.Session()
    session.mount("https://api.example.test/", HTTPAdapter(max_retries=3))
    session.mount("ftp://", OwnAdapter())
    return session


class OwnRetry(Retry):
    """A `Retry` with a method of its own."""

    def sleep(self, response: object = None) -> None:
        """Wait in the program's own way."""


def own_retry() -> requests.Session:
    """Return a session whose `Retry` cannot be translated."""
    session = requests.Session()
    session.mount("https://", HTTPAdapter(max_retries=OwnRetry(2)))
    return session


def careless() -> requests.Session:
    """Return a session that checks no certificate."""
    session = requests.Session()
    session.verify = False
    return session


def with_proxy() -> requests.Session:
    """Return a session that names a proxy."""
    session = requests.Session()
    session.proxies = {"https": "http://session.example.test:8080"}
    return session


def aloof() -> requests.Session:
    """Return a session that does not read the environment."""
    session = requests.Session()
    session.trust_env = False
    return session


def forgetful() -> requests.Session:
    """Return a session that trusts a file that is not there."""
    session = requests.Session()
    session.verify = "/nowhere/ca.pem"
    return session
