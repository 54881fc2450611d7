"""The contestants that are adapters of `requests`, in this process: for what needs no process of its own."""

from contextlib import AbstractContextManager
from functools import partial
from unittest import mock

import requests

from benchmarks.clients import adapter_of
from benchmarks.contestants import OURS
from resilient_transport import install


def session_of(contestant: str, ca_file: str, cert: tuple[str, str]) -> requests.Session:
    """Return a session with the contestant's adapter that shows a client certificate."""
    session = requests.Session()
    session.trust_env = False
    session.verify, session.cert = ca_file, cert
    session.mount("https://", adapter_of(contestant))
    return session


def everywhere(contestant: str) -> AbstractContextManager[object]:
    """Put the contestant behind `requests.get`, in the way that `install` does it."""
    if contestant == OURS:
        return install()
    return mock.patch.object(requests.sessions, "HTTPAdapter", partial(adapter_of, contestant))
