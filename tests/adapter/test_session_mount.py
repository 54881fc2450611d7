"""`Session.mount` is wrapped while an installation is in force, whatever others do to it meanwhile."""

import functools
import sys
import threading
from unittest import mock

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, install, uninstall
from resilient_transport.adapter.session_mount import show_adapters_to, show_adapters_to_nobody
from tests.missing import require
from tests.programs import run_python
from tests.timeouts import LONG_TIMEOUT

STOCK = vars(requests.Session)["mount"]
URL = "https://localhost"


@pytest.fixture(autouse=True)
def restored():
    """End each test with stock's method."""
    yield
    uninstall()
    requests.Session.mount = STOCK


def kind_of_mounted(session=None):
    """What becomes of an `HTTPAdapter` that a session mounts."""
    session = session or requests.Session()
    session.mount("https://", HTTPAdapter())
    return type(session.get_adapter(URL))


def wrapped(function):
    """Return what a tool makes of a method: it counts its calls."""

    @functools.wraps(function)
    def counting(*args, **kwargs):
        counting.calls += 1
        return function(*args, **kwargs)

    counting.calls = 0
    return counting


def test_the_method_is_stocks_before_and_after():
    """And in between it has stock's name and says what stock's does."""
    with install():
        within = vars(requests.Session)["mount"]

    assert vars(requests.Session)["mount"] is STOCK is not within
    assert (within.__qualname__, within.__doc__) == (STOCK.__qualname__, STOCK.__doc__)


def test_sessions_that_exist_and_subclasses_are_covered():
    """A session that was made before, and a class whose `mount` calls that of `Session`."""

    class Own(requests.Session):
        def mount(self, prefix, adapter):
            super().mount(prefix=prefix, adapter=adapter)

    sessions = requests.Session(), Own()
    before = [kind_of_mounted(session) for session in sessions]
    with install():
        during = [kind_of_mounted(session) for session in sessions]
    after = [kind_of_mounted(session) for session in sessions]

    assert before == after == [HTTPAdapter] * 2
    assert during == [ResilientAdapter] * 2


def test_the_order_of_prefixes_is_stocks():
    """The longest comes first."""
    with install():
        session = requests.Session()
        session.mount("https://localhost/words", HTTPAdapter())
        session.mount("https://localhost", HTTPAdapter())

    assert list(session.adapters) == [
        "https://localhost/words", "https://localhost", "https://", "http://"
    ]  # fmt: skip


def test_who_has_wrapped_it_before_stays():
    """A tool's wrapper is called while an installation is in force, and is there again afterwards."""
    tools = requests.Session.mount = wrapped(STOCK)

    with install():
        assert kind_of_mounted() is ResilientAdapter

    assert tools.calls == 3
    assert vars(requests.Session)["mount"] is tools


def test_who_wraps_it_meanwhile_stays():
    """Our wrapper is inside the tool's then, and has nothing to do after the end."""
    with install():
        tools = requests.Session.mount = wrapped(requests.Session.mount)
        during = kind_of_mounted()
    after = kind_of_mounted()
    with install():
        again = kind_of_mounted()

    assert vars(requests.Session)["mount"] is tools
    assert (during, after, again) == (ResilientAdapter, HTTPAdapter, ResilientAdapter)


def test_a_patch_that_is_undone_brings_nothing_back():
    """A tool has saved our wrapper and restores it after the end: it has nothing to do until it is needed."""
    with install():
        saved = requests.Session.mount
    requests.Session.mount = saved
    after = kind_of_mounted()
    with install():
        during = kind_of_mounted()

    assert (after, during) == (HTTPAdapter, ResilientAdapter)
    assert vars(requests.Session)["mount"] is STOCK


def test_an_installation_after_a_patch_is_undone():
    """What a tool restores may be stock's, in the middle of an installation: the next one wraps it again."""
    install()
    requests.Session.mount = STOCK
    without = kind_of_mounted()
    install()

    assert (without, kind_of_mounted()) == (HTTPAdapter, ResilientAdapter)


@pytest.mark.parametrize("double", [mock.Mock, mock.MagicMock, lambda: mock.create_autospec(STOCK)])
def test_a_double_in_its_place_is_called_as_ever(double):
    """With the same arguments as without an installation."""
    session, adapter, calls = requests.Session(), ResilientAdapter(), []
    for times in range(2):
        requests.Session.mount = double()
        for _ in range(times):
            install()
        session.mount("https://", adapter)
        uninstall()
        calls.append(requests.Session.mount.call_args_list)

    assert calls[0] == calls[1] != []


def test_a_wrapper_of_wrapt_is_not_taken_for_ours():
    """Its proxy shows the code of what is inside."""
    wrapt = require("wrapt")
    with install():
        proxy = wrapt.FunctionWrapper(
            vars(requests.Session)["mount"], lambda inner, _, args, kwargs: inner(*args, **kwargs)
        )
        requests.Session.mount = proxy
        during = kind_of_mounted()

    assert vars(requests.Session)["mount"] is proxy
    assert (during, kind_of_mounted()) == (ResilientAdapter, HTTPAdapter)


def test_it_is_wrapped_once():
    """However often it is asked for."""
    seen = []
    for _ in range(3):
        show_adapters_to(lambda prefix, adapter: seen.append((prefix, adapter)))
    session, adapter = requests.Session(), ResilientAdapter()
    seen.clear()
    session.mount("http://x", adapter)
    show_adapters_to_nobody()

    assert seen == [("http://x", adapter)]
    assert vars(requests.Session)["mount"] is STOCK


@pytest.mark.filterwarnings("ignore:install:RuntimeWarning")
def test_threads_that_install_end_and_mount_at_once():
    """No call fails; with the last end stock is back, and an installation that is left holds."""
    interval = sys.getswitchinterval()
    together, failed = threading.Barrier(8), []

    def work(number):
        session = requests.Session()
        try:
            together.wait(LONG_TIMEOUT)
            for count in range(60):
                with install(pool_maxsize=number + 1, mounted=bool(count % 5)):
                    requests.Session()
                    session.mount("https://", HTTPAdapter(max_retries=2))
                    assert session.get_adapter(URL).max_retries.total == 2
        except BaseException as error:
            failed.append(error)

    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=work, args=(number,), daemon=True) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(LONG_TIMEOUT)
    finally:
        sys.setswitchinterval(interval)
    over = requests.sessions.HTTPAdapter, vars(requests.Session)["mount"], kind_of_mounted()
    install()

    assert failed == []
    assert not any(thread.is_alive() for thread in threads)
    assert over == (HTTPAdapter, STOCK, HTTPAdapter)
    assert kind_of_mounted() is ResilientAdapter


#: A tool has put a class of its own in the place of `requests.Session`, and a test a double in that of
#: `send`.
EARLIER = """
from unittest import mock
import requests

stock = requests.Session

class Theirs(stock):
    pass

requests.Session = requests.sessions.Session = Theirs
with mock.patch.object(stock, "send"):
    import resilient_transport
    resilient_transport.install()
for kind in (Theirs, stock):
    session = kind()
    session.mount("http://a", requests.adapters.HTTPAdapter())
    print(*{type(adapter).__name__ for adapter in session.adapters.values()})
resilient_transport.uninstall()
session.mount("http://a", requests.adapters.HTTPAdapter())
print(type(session.adapters["http://a"]).__name__, "mount" in vars(Theirs))
"""


def test_whoever_was_there_first_may_have_replaced_the_class():
    """As `requests_cache.install_cache` does, before this package is imported: stock's class is found."""
    said = run_python("-c", EARLIER).stdout.splitlines()

    assert said == ["ResilientAdapter", "ResilientAdapter", "HTTPAdapter False"]
