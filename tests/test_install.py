"""For scripts and plugins: one session, or every session a program creates."""

import abc
import inspect
import itertools
import pickle
import warnings

import pytest
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

import resilient_transport
from resilient_transport import ResilientAdapter, RetryPolicy, install, mount, stats, uninstall
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.programs import run_python


@pytest.fixture(autouse=True)
def uninstalled(server):
    """End each test with stock requests."""
    server.play(Script())
    yield
    uninstall()


def fetch(server, **values):
    """One `requests.get()` with the server's CA and a client certificate."""
    return requests.get(server.url, verify=server.authority.ca_file, cert=server.authority.client, **values)


def kinds(session):
    """The classes of a session's adapters."""
    return {type(adapter) for adapter in session.adapters.values()}


def retries():
    """How often a new session repeats a call."""
    return requests.Session().get_adapter("http://x").policy.retries


def test_mount_on_one_session():
    """One adapter for https and http; other sessions keep theirs."""
    session = requests.Session()

    adapter = mount(session, max_retries=2)

    assert set(session.adapters.values()) == {adapter}
    assert adapter.policy.retries == 2
    assert kinds(requests.Session()) == {HTTPAdapter}


def test_install_for_every_session():
    """Sessions created afterwards have it, those that exist keep what they have."""
    before = requests.Session()

    install(max_retries=4)
    after = requests.Session()

    assert kinds(before) == {HTTPAdapter}
    assert kinds(after) == {ResilientAdapter}
    assert after.get_adapter("https://x").policy.retries == 4


def test_uninstall_restores_stock():
    """After it, new sessions are as if nothing had happened."""
    install()
    install()

    uninstall()

    assert kinds(requests.Session()) == {HTTPAdapter}
    assert requests.sessions.HTTPAdapter is HTTPAdapter


def test_install_for_a_block():
    """As a context manager it ends with its block, and nests."""
    with install(max_retries=1):
        with pytest.warns(RuntimeWarning, match="max_retries"), install(max_retries=2) as inner:
            counts = [retries()]
        counts.append(retries())

    assert counts == [2, 1]
    assert kinds(requests.Session()) == {HTTPAdapter}
    assert repr(inner).endswith(", ended>")
    assert f"{__file__}:" in repr(inner)


@pytest.mark.filterwarnings("ignore:install:RuntimeWarning")
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))))
def test_installations_end_in_any_order(order):
    """One's end is not the other's: the newest that has not ended is in force; after the last, stock is."""
    installations = [install(max_retries=number) for number in range(3)]
    left, found = {0, 1, 2}, []
    for number in order:
        installations[number].end()
        left.remove(number)
        found.append((retries() if left else None, max(left, default=None)))
        installations[number].end()

    assert all(seen == expected for seen, expected in found)
    assert "active" not in repr(installations)
    assert requests.sessions.HTTPAdapter is HTTPAdapter


def test_an_end_after_uninstall_changes_nothing():
    """`uninstall` has ended all; what is installed afterwards is none of the old ones'."""
    old = install(max_retries=1)
    uninstall()
    install(max_retries=2)
    old.end()

    assert retries() == 2


def installed_elsewhere(**settings):
    """Install from another line."""
    return install(**settings)


def test_two_that_differ_are_named():
    """The warning has both places, the arguments, and which holds; but no value, which may be a secret."""
    install(max_retries=1, key_password="first secret")
    with pytest.warns(RuntimeWarning) as caught:
        newer = installed_elsewhere(max_retries=1, key_password="other secret", mounted=False, pool_maxsize=3)
    lines = (
        inspect.getsourcelines(test_two_that_differ_are_named)[1],
        inspect.getsourcelines(installed_elsewhere)[1],
    )
    old, new = f"{__file__}:{lines[0] + 2}", f"{__file__}:{lines[1] + 2}"

    assert [str(warning.message) for warning in caught] == [
        f"install() at {new} differs from install() at {old}, which has not ended, in key_password, mounted, "
        f"pool_maxsize: sessions get what {new} says, until that one ends"
    ]
    assert (caught[0].filename, caught[0].lineno) == (__file__, lines[1] + 2)
    assert newer.place == new


@pytest.mark.parametrize(
    "settings",
    [
        dict,
        lambda: {"max_retries": 3, "mounted": False},
        lambda: {"policy": RetryPolicy(retries=3, deadline=9), "on_event": print},
        lambda: {"max_retries": Retry(3, backoff_factor=1)},
    ],
)
def test_two_that_are_equal_are_no_matter(settings):
    """Two plugins that want the same are told nothing."""
    install(**settings())
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        install(**settings())

    assert caught == []


def test_after_the_end_of_the_other_there_is_no_warning():
    """What has ended differs from nothing."""
    with install(max_retries=1):
        pass
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        install(max_retries=2)

    assert caught == []


def test_a_warning_that_is_an_error_leaves_nothing_installed():
    """With `-W error` the older one is in force as before, and its end brings stock back."""
    older = install(max_retries=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RuntimeWarning, match="differs"):
            install(max_retries=2)
    counts = [retries()]
    older.end()

    assert counts == [1]
    assert kinds(requests.Session()) == {HTTPAdapter}


def test_the_command_line_is_a_place(tmp_path):
    """`python -m` has no line of its own; a script that it runs has."""
    script, ours = tmp_path / "script.py", tmp_path / "ours.py"
    script.write_text("import resilient_transport\nprint(resilient_transport.install())\n")
    ours.write_text("__package__ = 'resilient_transport'\n" + script.read_text())
    told = [run_python("-m", name, PYTHONPATH=str(tmp_path)).stdout.strip() for name in ("script", "ours")]

    assert told == [
        f"<Installation of ResilientAdapter at {script}:2, active>",
        "<Installation of ResilientAdapter at the command line, active>",
    ]


def test_bad_settings_are_refused_at_once():
    """Not at the first session, in some plugin's code."""
    with pytest.raises(TypeError, match="max_retries"):
        install(max_retries="three")

    assert kinds(requests.Session()) == {HTTPAdapter}


def test_requests_get_keeps_its_connection(server):
    """`requests.get()` opens a session each time; all of them share one warm pool."""
    with install():
        for _ in range(5):
            fetch(server)

    assert server.counts().accepts == 1


def test_without_it_each_get_connects(server):
    """The control: stock opens a connection for every `requests.get()`."""
    for _ in range(5):
        fetch(server)

    assert server.counts().accepts == 5


def test_requests_get_survives(server):
    """A plugin's call survives resets although the plugin knows nothing of it."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=3),)))

    with install():
        assert fetch(server).ok


class Plugin(requests.Session):
    """Mounts an adapter of its own, as many programs do."""

    def __init__(self, adapter):
        super().__init__()
        self.mount("https://", adapter)


@pytest.mark.parametrize(("takes_over", "kind"), [(True, ResilientAdapter), (False, HTTPAdapter)])
def test_a_session_that_mounts_a_plain_adapter(takes_over, kind):
    """It is taken over, unless `mounted=False`; its own number holds, in either case."""
    with install(mounted=takes_over, max_retries=9):
        adapter = Plugin(HTTPAdapter(max_retries=2)).get_adapter("https://x")

    assert type(adapter) is kind
    assert adapter.max_retries.total == 2


def test_a_session_that_mounts_a_class_of_its_own_keeps_it():
    """Who has derived a class has decided; `stats()` names it."""

    class Own(HTTPAdapter):
        pass

    with install():
        adapter = Plugin(Own()).get_adapter("https://x")

    assert type(adapter) is Own
    assert list(stats().left_alone) == [f"{__name__}.{Own.__qualname__}"]


@pytest.mark.filterwarnings("ignore:install:RuntimeWarning")
def test_the_installation_in_force_says_what_is_taken_over():
    """The newest; and after its end the older one again."""
    kinds_then = []
    with install():
        with install(mounted=False):
            kinds_then.append(type(Plugin(HTTPAdapter()).get_adapter("https://x")))
        kinds_then.append(type(Plugin(HTTPAdapter()).get_adapter("https://x")))

    assert kinds_then == [HTTPAdapter, ResilientAdapter]


def test_public_names_have_one_home():
    """What users meet is `resilient_transport.…`, wherever it is written."""
    homes = {
        getattr(resilient_transport, name).__module__
        for name in resilient_transport.__all__
        if name != "registry"
    }

    assert homes == {"resilient_transport"}


def test_what_stands_in_passes_for_the_class():
    """Plugins that name `requests.sessions.HTTPAdapter` find a class: to call, to ask and to derive from."""
    with install(max_retries=4):
        named = requests.sessions.HTTPAdapter
        made = named(pool_maxsize=3)

        class Derived(named):
            pass

        derived = Derived(max_retries=1)
        asked = isinstance(made, named), isinstance(HTTPAdapter(), named), isinstance(derived, named)

    assert type(made) is ResilientAdapter
    assert (made.policy.retries, made._pool_maxsize) == (4, 3)
    assert asked == (True, True, True)
    assert derived.policy.retries == 1


def test_a_class_that_is_derived_from_what_stands_in_is_its_own():
    """A session's adapter is none of it, so that a program mounts it; and stock is of what stands in."""
    with install():
        named = requests.sessions.HTTPAdapter

        class Derived(named):
            settings = {}

        class Abstract(named, abc.ABC):
            @abc.abstractmethod
            def f(self): ...

        asked = [
            isinstance(requests.Session().get_adapter("https://x"), kind) for kind in (Derived, Abstract)
        ]
        own = isinstance(Derived(), Derived), issubclass(Derived, named), issubclass(HTTPAdapter, Derived)
        with pytest.raises(TypeError, match="abstract"):
            Abstract()

    assert asked == [False, False]
    assert own == (True, True, False)
    assert issubclass(HTTPAdapter, named)
    assert not issubclass(requests.Session, named)


@pytest.mark.parametrize(
    ("args", "kwargs", "found"),
    [
        ((), {}, (9, 4)),
        ((), {"max_retries": 1}, (1, 4)),
        ((5, 6, 2), {}, (2, 6)),
        ((), {"policy": RetryPolicy(retries=3), "pool_maxsize": 8}, (3, 8)),
    ],
)
@pytest.mark.parametrize("name", ["max_retries", "policy"])
def test_a_class_that_is_derived_has_the_settings(name, args, kwargs, found):
    """As far as it is not told others."""
    settings = {"max_retries": 9} if name == "max_retries" else {"policy": RetryPolicy(retries=9)}
    with install(pool_maxsize=4, **settings):

        class Derived(requests.sessions.HTTPAdapter):
            pass

        adapter = Derived(*args, **kwargs)

    assert (adapter.policy.retries, adapter._pool_maxsize) == found


def test_what_stands_in_can_be_pickled():
    """By the name under which programs know it; without an installation that is stock."""
    with install():
        named = requests.sessions.HTTPAdapter
        pickled = pickle.dumps(named)
        inside = pickle.loads(pickled)

    assert inside is named
    assert pickle.loads(pickled) is HTTPAdapter


@pytest.mark.parametrize(
    ("args", "kwargs", "retries"),
    [((), {"max_retries": 0}, 0), ((1, 2, False), {}, 0), ((1, 2), {}, 9), ((), {"max_retries": 2}, 2)],
)
def test_none_can_be_said_to_what_stands_in(args, kwargs, retries):
    """It sees that it was said. From an adapter that is mounted it could not be told from nothing."""
    with install(max_retries=9):
        said = requests.sessions.HTTPAdapter(*args, **kwargs)
        mounted = Plugin(HTTPAdapter(max_retries=0)).get_adapter("https://x")

    assert said.max_retries.total == retries
    assert mounted.max_retries.total == 9


@pytest.mark.parametrize(
    "settings", [{}, {"policy": RetryPolicy(retries=9)}, {"max_retries": 9, "pool_connections": 7}]
)
def test_arguments_for_what_stands_in_are_nearer_than_the_settings(settings):
    """By position and by name, as stock takes them."""
    with install(**settings):
        adapter = requests.sessions.HTTPAdapter(5, 6, max_retries=Retry(2))

    assert type(adapter) is ResilientAdapter
    assert (adapter._pool_connections, adapter._pool_maxsize, adapter.max_retries.total) == (5, 6, 2)
