"""Certificate files that are replaced, in each way and at each step of it, and who is seen on the wire."""

import re
import threading
import time
from functools import partial
from pathlib import Path

import pytest
import requests

from resilient_transport import ResilientAdapter, install, registry
from resilient_transport.pool import contexts as room
from resilient_transport.pool import identity, key, reaper
from resilient_transport.pool.contexts import Contexts
from resilient_transport.pool.identity import Sources
from resilient_transport.testing import FaultServer, Script
from tests.examples import examples_of, run_example
from tests.pool.rotation import WAYS, Secret, put
from tests.timeouts import LONG_TIMEOUT


@pytest.fixture(scope="module", params=["1.2", "1.3"])
def server(request, authority):
    """A server that demands a client certificate, with this version of TLS."""
    with FaultServer(authority=authority, max_tls=request.param) as server:
        yield server


@pytest.fixture
def secret(authority, tmp_path):
    """Return the files of an alice whom no other test has met."""
    return Secret(tmp_path / "secret", *authority.issue("alice"), authority.ca_file)


@pytest.fixture
def names(authority):
    """Return the files of clients whom no other test has met, by name."""
    return {
        name: (*authority.issue(name), authority.ca_file) for name in ("bob", "carol", "dave", "eve", "flo")
    }


@pytest.fixture
def looking(monkeypatch):
    """Have sessions look at their files for each call, and unusable files read as often."""
    monkeypatch.setattr("resilient_transport.pool.key._LOOK_EVERY", -1.0)
    monkeypatch.setattr(room, "_RETRY_EVERY", -1.0)


@pytest.fixture
def session():
    """Return a session with an adapter."""
    with requests.Session() as session:
        session.trust_env = False
        session.mount("https://", ResilientAdapter())
        yield session


def client_of(response):
    """Return the name that the server saw."""
    return response.json()["client"]


def by_session(session, secret, url):
    """Call with the files as the session's."""
    session.verify, session.cert = secret.trusted, secret.pair
    return client_of(session.get(url))


def by_request(session, secret, url):
    """Call with the files as the request's."""
    return client_of(session.post(url, verify=secret.trusted, cert=secret.pair))


def by_function(session, secret, url):
    """Call without a session, with the CA bundle that the environment names."""
    return client_of(requests.get(url, cert=secret.pair))


CALLS = [by_session, by_request, by_function]


@pytest.mark.parametrize("call", CALLS)
def test_each_way_at_each_step(server, secret, names, session, looking, monkeypatch, call):
    """The one before is shown until the files are whole, and then the new one; no call fails.

    The new one resumes no TLS session of the one before.
    """
    server.play(Script())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", secret.trusted)
    before, seen, expected = "alice", [], ["alice"]
    ask = partial(call, session, secret, server.url + "/whoami")
    with install():
        seen.append(ask())
        for way, (name, files) in zip(WAYS, names.items(), strict=True):
            steps = [ask() for _ in way(secret, *files)]
            seen.append(ask())
            expected.append(name)
            # The bundle comes last, and is the same.
            turn = steps.index(name) if name in steps else len(steps)
            assert steps == [before] * turn + [name] * (len(steps) - turn), way.__name__
            before = name
    first = {}
    for execution in server.executions():
        first.setdefault(execution.client, execution.resumed)

    assert seen == expected
    assert first == dict.fromkeys(expected, False)


@pytest.mark.parametrize("way", [Secret.renamed, Secret.rewritten, Secret.removed])
def test_stock_fails_at_some_step(server, secret, names, monkeypatch, way):
    """The control: without the package a call meets the half-written files."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", secret.trusted)
    failed = []
    for _ in way(secret, *names["bob"]):
        try:
            by_function(None, secret, server.url + "/whoami")
        except OSError as error:
            failed.append(error)

    assert failed


def test_stock_keeps_the_one_before(server, secret, names):
    """The control: a session of stock never looks again, as long as its connection lasts."""
    with requests.Session() as session:
        session.trust_env = False
        seen = [by_session(session, secret, server.url + "/whoami")]
        list(Secret.renamed(secret, *names["bob"]))
        seen.append(by_session(session, secret, server.url + "/whoami"))

    assert seen == ["alice", "alice"]


def test_a_request_in_flight_finishes(server, secret, names, session, looking):
    """It was sent as the one before; its connection is closed when it comes back and somebody looks."""
    server.play(Script())
    server.reset_peers()
    session.verify, session.cert = secret.trusted, secret.pair
    with requests.Session() as other:
        other.trust_env = False
        other.mount("https://", ResilientAdapter())
        other.verify, other.cert = secret.trusted, secret.pair
        finished = []
        thread = threading.Thread(
            target=lambda: finished.append(other.get(server.url + "/slow/0.3").status_code)
        )
        thread.start()
        server.wait_for(lambda counts: counts.requests == 1, LONG_TIMEOUT)
        list(Secret.renamed(secret, *names["bob"]))
        during = by_session(session, secret, server.url + "/whoami")
        thread.join(LONG_TIMEOUT)
        registry.look()
        counts = server.wait_for(lambda counts: counts.open_connections == 1, LONG_TIMEOUT)
    seen = [execution.client for execution in server.executions()]

    assert (finished, during) == ([200], "bob")
    assert sorted(seen) == ["alice", "bob"]
    assert counts.accepts == 2


def idle_to(server):
    """Return how many connections to a server are idle."""
    return registry.connections().get(server.url, (0, 0))[1]


def test_what_is_idle_is_closed_though_nobody_calls(server, secret, names, session, monkeypatch):
    """The reaper looks at the files, too."""
    monkeypatch.setattr(reaper, "LOOK_EVERY", 0.01)
    registry.reaper.stop()
    registry.reaper.resume()
    by_session(session, secret, server.url + "/whoami")
    idle = idle_to(server)
    list(Secret.renamed(secret, *names["bob"]))
    counts = server.wait_for(lambda counts: counts.open_connections == 0, LONG_TIMEOUT)

    assert idle == 1
    assert counts.open_connections == 0


def touched(authority, secret):
    """Write the same once more."""
    for path in secret.paths:
        path.write_bytes(path.read_bytes())


def half_and_known(authority, secret):
    """Leave a pair that does not match, which a call has found out."""
    put(authority.other_client[0], secret.pair[0])
    registry.contexts.of(secret_settings(secret))


def gone(authority, secret):
    """Leave nothing."""
    for path in secret.paths:
        path.unlink()


def stood_for_by_others(authority, secret):
    """Replace them, though other paths lead to the same."""
    copies = [put(path, secret.place / f"copy-of-{path.name}") for path in secret.paths]
    registry.contexts.of(dict(zip(("cert_file", "key_file", "ca_certs"), copies, strict=True)))
    list(Secret.renamed(secret, *authority.other_client, authority.ca_file))


def secret_settings(secret):
    """Return what a pool says of these files."""
    return {"cert_file": secret.pair[0], "key_file": secret.pair[1], "ca_certs": secret.trusted}


@pytest.mark.parametrize("act", [touched, half_and_known, gone, stood_for_by_others])
def test_what_is_idle_stays(server, authority, secret, session, act):
    """The control: the one before is still the one that the next call shows."""
    by_session(session, secret, server.url + "/whoami")
    act(authority, secret)
    registry.look()

    assert idle_to(server) == 1


def test_the_reaper_asks_nobody_for_a_password(authority, tmp_path):
    """And builds nothing: it may ask on a terminal, and nobody calls."""
    asked, contexts = [], Contexts(lambda context: None)
    key = put(authority.encrypted_key, tmp_path / "client.key")

    def password():
        asked.append(1)
        return authority.key_password

    settings = {"cert_file": authority.client[0], "key_file": key, "key_password": password}
    context = contexts.of(settings)
    before = contexts.superseded([context])
    with open(key, "a") as file:
        file.write("# renewed")
    after = contexts.superseded([context])

    assert (before, after) == ([], [context])
    assert (len(asked), contexts.built) == (1, 1)


def test_while_files_are_unusable_each_call_looks(server, secret, names, session):
    """So that the next one has the new identity as soon as they are whole, and not a second later."""
    ask = partial(by_session, session, secret, server.url + "/whoami")
    seen = [ask()]
    (entry,) = session.adapters["https://"]._lookup._entries.values()
    entry._looked_at -= 1.1
    writing = Secret.renamed(secret, *names["bob"])
    next(writing)
    seen.append(ask())
    next(writing)
    seen.append(ask())

    assert seen == ["alice", "alice", "bob"]


def test_otherwise_a_second_may_pass(server, secret, names, session):
    """The control: files that were usable are not looked at for each call."""
    ask = partial(by_session, session, secret, server.url + "/whoami")
    seen = [ask()]
    list(Secret.renamed(secret, *names["bob"]))
    seen.append(ask())
    (entry,) = session.adapters["https://"]._lookup._entries.values()
    entry._looked_at -= 1.1
    seen.append(ask())

    assert seen == ["alice", "alice", "bob"]


def test_the_second_begins_before_the_look(server, secret, session, monkeypatch):
    """However slow a machine is: what a call shows was on disk a second before it began, or later."""
    clock, stock = [0.0], Sources.read
    monkeypatch.setattr("resilient_transport.pool.contexts.monotonic", lambda: clock[0])
    monkeypatch.setattr("resilient_transport.pool.key.monotonic", lambda: clock[0])

    def slowly(sources):
        clock[0] += 5.0
        return stock(sources)

    monkeypatch.setattr(Sources, "read", slowly)
    by_session(session, secret, server.url + "/whoami")
    (entry,) = session.adapters["https://"]._lookup._entries.values()

    assert entry._looked_at == 0.0
    assert not entry.is_current(session.adapters["https://"].poolmanager)


@pytest.fixture
def contexts():
    """Return a room of the test's own, with the list of what it has retired as `retired`."""
    retired = []
    contexts = Contexts(retired.append)
    contexts.retired = retired
    return contexts


def test_who_looked_before_does_not_say_that_files_are_unusable(contexts, secret, names, monkeypatch):
    """Another has looked later, and found them whole: nothing is told, and the next call need not look."""
    settings, found, told = secret_settings(secret), [], []
    contexts.of(settings)
    look, read = Sources.look, Sources.read

    def read_between_two_files(sources):
        raise FileNotFoundError(2, "No such file or directory", secret.trusted)

    def look_and_be_overtaken(sources):
        seen = look(sources)
        monkeypatch.setattr(Sources, "look", look)
        list(Secret.renamed(secret, *names["bob"]))
        found.append(contexts.of(settings))
        monkeypatch.setattr(Sources, "read", read_between_two_files)
        return seen

    monkeypatch.setattr(Sources, "look", look_and_be_overtaken)
    room.SEARCH.value = room.Search(told.append)
    found.append(contexts.of(settings))
    room.SEARCH.value = None
    monkeypatch.setattr(Sources, "read", read)
    (named,) = contexts._named.values()

    assert found[0] is found[1]
    assert told == [None]
    assert named.refused is None


def test_what_was_read_too_late_is_retired(contexts, secret, names, monkeypatch):
    """It does for the call at hand, and its connections are closed."""
    settings, found = secret_settings(secret), []
    contexts.of(settings)
    build = Sources.build

    def build_and_be_overtaken(sources, *args):
        monkeypatch.setattr(Sources, "build", build)
        context = build(sources, *args)
        list(Secret.renamed(secret, *names["carol"]))
        found.append(contexts.of(settings))
        return context

    monkeypatch.setattr(Sources, "build", build_and_be_overtaken)
    list(Secret.renamed(secret, *names["bob"]))
    bob = contexts.of(settings)

    assert bob is not found[0]
    assert contexts.retired[1:] == [bob]
    assert contexts.of(settings) is found[0]
    assert contexts.living() >= {found[0]}
    assert bob not in contexts.living()


def test_what_is_remembered_can_be_found(contexts, secret, names, monkeypatch):
    """Another thread, which looked before, retires what this one is just going to remember."""
    settings, remember = secret_settings(secret), contexts._remember
    contexts.of(settings)
    list(Secret.renamed(secret, *names["bob"]))

    def retired_meanwhile(name, now, context):
        contexts._retire(now.identity)
        remember(name, now, context)

    monkeypatch.setattr(contexts, "_remember", retired_meanwhile)
    bob = contexts.of(settings)
    monkeypatch.undo()
    next(Secret.renamed(secret, *names["carol"]))

    assert contexts.of(settings) is bob


@pytest.mark.parametrize("jump", [-1e9, -1.0, 1e9])
def test_the_clock_of_the_system_may_jump(contexts, secret, names, monkeypatch, jump):
    """It says whether a time stamp is old enough to be believed, and nothing else."""
    settings, stock = secret_settings(secret), time.time
    found = [contexts.of(settings)]
    monkeypatch.setattr(identity.time, "time", lambda: stock() + jump)
    for name in ("bob", "carol"):
        list(Secret.rewritten(secret, *names[name]))
        found.append(contexts.of(settings))

    assert len(set(found)) == 3
    assert contexts.retired == found[:2]


def unreadable(path):
    """Leave something there that cannot be read, as a lost permission does; for root, too."""
    path.rename(path.with_suffix(".away"))
    path.mkdir()


def readable(path):
    """Put it back."""
    path.rmdir()
    path.with_suffix(".away").rename(path)


@pytest.mark.parametrize("which", range(3))
def test_a_file_that_cannot_be_read_for_a_moment(contexts, secret, looking, which):
    """The certificate, its key or the bundle: nobody is given another identity, then or later."""
    settings = secret_settings(secret)
    found = [contexts.of(settings)]
    unreadable(secret.paths[which])
    found.append(contexts.of(settings))
    readable(secret.paths[which])
    found.append(contexts.of(settings))

    assert len(set(found)) == 1
    assert contexts.retired == []


def test_a_key_whose_password_comes_later(authority, contexts, tmp_path, looking):
    """A function reads it from a file that is replaced after the key; meanwhile nothing fits."""
    told, unlocked = tmp_path / "password", authority.issue("bob")
    pair = [put(path, tmp_path / name) for path, name in zip(unlocked, ("tls.crt", "tls.key"), strict=True)]
    told.write_text("none yet")
    settings = {"cert_file": pair[0], "key_file": pair[1], "key_password": told.read_text}
    found = [contexts.of(settings)]
    put(authority.client[0], pair[0])
    put(authority.encrypted_key, pair[1])
    found.append(contexts.of(settings))
    told.write_text(authority.key_password)
    found.append(contexts.of(settings))

    assert found[0] is found[1]
    assert found[2] is not found[0]
    assert contexts.retired == found[:1]


def test_a_directory_of_authorities_that_is_switched(authority, contexts, tmp_path):
    """By a link, as Kubernetes does it."""
    for name, file in (("one", authority.ca_file), ("two", authority.other_ca_file)):
        (tmp_path / name).mkdir()
        put(file, tmp_path / name / "0a1b2c3d.0")
    current = tmp_path / "current"
    current.symlink_to("one")
    found = [contexts.of({"ca_cert_dir": str(current)})]
    (tmp_path / "new").symlink_to("two")
    (tmp_path / "new").replace(current)
    is_over = contexts.superseded(found)
    found.append(contexts.of({"ca_cert_dir": str(current)}))

    assert is_over == contexts.retired == found[:1]
    assert found[1] is not found[0]


def test_of_many_files_with_the_same_in_them_one_is_enough(contexts, secret, names, tmp_path):
    """As long as any path stands for an identity it is in use; then it is nobody's."""
    copies = [
        [put(path, tmp_path / f"{number}-{path.name}") for path in secret.paths] for number in range(50)
    ]
    settings = [dict(zip(("cert_file", "key_file", "ca_certs"), files, strict=True)) for files in copies]
    context, *others = [contexts.of(each) for each in settings]
    over = []
    for files in copies:
        put(names["bob"][0], files[0])
        put(names["bob"][1], files[1])
        over.append(bool(contexts.superseded([context])))

    assert set(others) == {context}
    assert contexts.built == 1
    assert over == [False] * 49 + [True]


PAGE = Path(__file__).parents[2].joinpath("docs", "rotation.md").read_text("utf-8")


def test_the_example_of_the_page_runs(fault_server):
    """As it stands, but for the names of the server and its files."""
    (example,) = examples_of("docs/rotation.md")

    assert run_example(example, fault_server)["told"](None) is None


def test_the_numbers_of_the_page_are_the_codes():
    """The second, the two of them, and how many sets of files are remembered."""
    told = re.sub(r"\s+", " ", PAGE)

    assert (key._LOOK_EVERY, "looks at its files once a second" in told) == (1.0, True)
    assert f"looks every {reaper.LOOK_EVERY:g} s" in told
    assert f"remembers {room._NAMES} sets" in told
