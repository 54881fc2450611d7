"""Who is compared, and with what each is put into `requests`.

`stock` is what all ratios are against. `stock again` is the control: the same thing once more, so that its
ratio shows nothing but noise.
"""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Final
from unittest import mock

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from resilient_transport import ResilientAdapter, install

STOCK: Final = "stock"
CONTROL: Final = "stock again"
OURS: Final = "ResilientAdapter"

#: Each makes the adapter of one contestant.
CONTESTANTS: Final[Mapping[str, Callable[[], HTTPAdapter]]] = {
    STOCK: HTTPAdapter,
    CONTROL: HTTPAdapter,
    "Retry(3)": lambda: HTTPAdapter(max_retries=Retry(3)),
    OURS: ResilientAdapter,
}


def session_of(contestant: str, ca_file: str, cert: tuple[str, str]) -> requests.Session:
    """Return a session with the contestant's adapter that shows a client certificate."""
    session = requests.Session()
    session.trust_env = False
    session.verify, session.cert = ca_file, cert
    session.mount("https://", CONTESTANTS[contestant]())
    return session


def everywhere(contestant: str) -> AbstractContextManager[object]:
    """Put the contestant behind `requests.get`, in the way that `install` does it."""
    if contestant == OURS:
        return install()
    return mock.patch.object(requests.sessions, "HTTPAdapter", CONTESTANTS[contestant])
