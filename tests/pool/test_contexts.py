"""One context per identity, and the identity that files stand for: read, replaced and broken."""

import gc
import os
import shutil
import ssl
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
from urllib3.exceptions import SSLError

from resilient_transport import ResilientAdapter, events, install
from resilient_transport import registry as the_registry
from resilient_transport.pool import contexts as room
from resilient_transport.pool import identity
from resilient_transport.pool.contexts import Contexts
from resilient_transport.pool.identity import Sources
from resilient_transport.pool.registry import Registry
from resilient_transport.testing import FaultServer, Script
from tests.pool.rotation import Mounted, at_step, put, settings_of, whoami, without_files_in_memory
from tests.timeouts import LONG_TIMEOUT


@pytest.fixture
def retired():
    """Return the list of contexts whose identity was rotated away."""
    return []


@pytest.fixture
def contexts(retired):
    """Return a room of the test's own."""
    return Contexts(retired.append)


@pytest.fixture
def open_server(authority):
    """A server that takes a client certificate and does without."""
    with FaultServer(authority=authority, client_auth="optional") as server:
        server.play(Script())
        yield server


@pytest.fixture
def pair(authority, tmp_path):
    """Return the paths of a copy of alice's certificate and key."""
    names = ("client.pem", "client.key")
    return tuple(put(path, tmp_path / name) for path, name in zip(authority.client, names, strict=True))


@pytest.fixture
def settings(authority, pair):
    """Return the TLS settings of that pair."""
    return settings_of(authority, pair)


@pytest.fixture
def looking(monkeypatch):
    """Have sessions look at their files for each call, and unusable files read as often."""
    monkeypatch.setattr("resilient_transport.pool.key._LOOK_EVERY", -1.0)
    monkeypatch.setattr(room, "_RETRY_EVERY", -1.0)


@pytest.fixture
def rested(monkeypatch):
    """Have every file count as one that nobody has written lately."""
    monkeypatch.setattr(identity, "_SETTLED", float("-inf"))


def make():
    """Build a context, whatever it is for."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def test_an_identity_has_one_context(contexts):
    """It is built when it is first asked for, and never again while somebody holds it."""
    first = contexts.get("alice", make)
    again = contexts.get("alice", lambda: pytest.fail("it was built twice"))
    other = contexts.get("bob", make)

    assert again is first
    assert other is not first
    assert (contexts.built, len(contexts)) == (2, 2)


def test_a_context_that_nobody_holds_is_forgotten(contexts):
    """What was made without files is not kept."""
    contexts.get("alice", make)
    gc.collect()
    contexts.get("alice", make)

    assert contexts.built == 2


def test_threads_that_ask_at_once_share_one_context(contexts):
    """Eight threads, one build, one object: "creating agent" stands in the log once."""
    together = threading.Barrier(8)

    def ask(_):
        together.wait(LONG_TIMEOUT)
        return contexts.get("alice", make)

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(ask, range(8)))

    assert contexts.built == 1
    assert len({id(context) for context in found}) == 1


def test_threads_that_ask_for_different_ones_do_not_wait(contexts):
    """The control: one build does not hold up another."""
    together = threading.Barrier(4)

    def build():
        together.wait(LONG_TIMEOUT)
        return make()

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda name: contexts.get(name, build), range(4)))

    assert len({id(context) for context in found}) == 4


def waiting(contexts, build, threads=3):
    """Have threads ask for what this one is building, end its building, and return what each has met."""

    def ask(_):
        try:
            return contexts.get("alice", build)
        except BaseException as error:
            return error

    with ThreadPoolExecutor(threads) as pool:
        with contexts._lock_of("alice"):
            asking = pool.map(ask, range(threads))
        return list(asking)


def test_who_waits_for_a_building_builds_if_it_came_to_nothing(contexts):
    """The state that losing threads find after an interrupt: one takes over, and one context comes of it."""
    found = waiting(contexts, make)

    assert len({id(one) for one in found}) == contexts.built == 1


def test_who_waits_for_a_failing_building_has_an_error_of_its_own(contexts):
    """An exception is raised in one thread only: no traceback grows under another's hands."""

    def fail():
        raise FileNotFoundError(2, "No such file or directory", "ca.pem")

    errors = waiting(contexts, fail)

    assert [type(one) for one in errors] == [FileNotFoundError] * 3
    assert len({id(one) for one in errors}) == 3


@pytest.mark.parametrize(
    "error", [FileNotFoundError("ca.pem"), ssl.SSLError("mismatch"), KeyboardInterrupt()]
)
def test_a_failing_build_leaves_nothing_behind(contexts, error):
    """Who asks next builds again."""

    def fail():
        raise error

    with pytest.raises(type(error)) as failure:
        contexts.get("alice", fail)

    assert failure.value is error
    assert isinstance(contexts.get("alice", make), ssl.SSLContext)
    assert contexts.built == 1
    assert not contexts._building


@pytest.fixture
def mounted(authority, tmp_path):
    """Return a mounted secret with two versions, of an alice and a bob whom no other test has met."""
    return Mounted(tmp_path / "secret", alice=authority.issue("alice"), bob=authority.issue("bob"))


#: Everything that happens while a context is built, in its order.
STEPS = ("before read", "after read", "before load_trusted", "after load_trusted", "before load_pair",
         "after load_pair", "after _load")  # fmt: skip
in_memory = pytest.mark.parametrize("in_memory", [True, False], ids=["in memory", "by name"])


def switched(monkeypatch, server, mounted, step, act):
    """Ask for the current version; at a step of the building act, and ask for alice's paths. Who was seen."""
    the_registry.clear()
    gc.collect()
    seen, threads = {}, []

    def meet():
        act()
        thread = threading.Thread(target=lambda: seen.update(fixed=whoami(server, mounted.fixed("alice"))))
        thread.start()
        threads.append(thread)

    ahead = at_step(monkeypatch, step, meet, mounted.place)
    seen["current"] = whoami(server, mounted.current)
    for thread in threads:
        thread.join(LONG_TIMEOUT)
    seen["later"] = whoami(server, mounted.fixed("alice"))
    assert not ahead, "nothing was built"
    return seen


@in_memory
@pytest.mark.parametrize("step", STEPS)
def test_a_switch_while_a_context_is_built_gives_nobody_anothers_identity(
    monkeypatch, open_server, mounted, step, in_memory
):
    """Two paths to one certificate, one of them switched at any step: who asks by the other is who it was."""
    if not in_memory:
        without_files_in_memory(monkeypatch)
    seen = switched(monkeypatch, open_server, mounted, step, lambda: mounted.turn("bob"))

    assert (seen["fixed"], seen["later"]) == ("alice", "alice")
    # Who had read alice before the switch may be given the context that the other has built meanwhile.
    assert seen["current"] in (("alice", "bob") if step == "after read" else ("bob",))


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="needs files in memory")
@pytest.mark.parametrize("step", STEPS)
def test_a_switch_there_and_back_gives_nobody_anothers_identity(monkeypatch, open_server, mounted, step):
    """Bob's files are there only while OpenSSL reads; both readings before and after say alice."""
    mounted.turn("alice")
    back = []
    stock = Sources.load_pair

    def load_pair(*args):
        try:
            stock(*args)
        finally:
            if back:
                mounted.turn(back.pop())

    monkeypatch.setattr(Sources, "load_pair", load_pair)

    def there():
        mounted.turn("bob")
        back.append("alice")

    seen = switched(monkeypatch, open_server, mounted, step, there)

    assert seen["fixed"] == seen["later"] == "alice"
    assert seen["current"] in ("alice", "bob")


def test_without_a_second_reading_it_would(monkeypatch, open_server, mounted):
    """The control: a context that OpenSSL reads by names, and nobody identifies again, is another's."""
    without_files_in_memory(monkeypatch)
    monkeypatch.setattr(Sources, "build", Sources._load)
    seen = switched(monkeypatch, open_server, mounted, "before load_trusted", lambda: mounted.turn("bob"))

    assert seen == {"current": "bob", "fixed": "bob", "later": "bob"}


def pause(number):
    """Let a little time pass, more in each round, so that a switch meets every moment of the building."""
    for _ in range(number * 4):
        os.stat("/")


@pytest.mark.slow
@in_memory
def test_switches_under_load_give_nobody_anothers_identity(monkeypatch, open_server, mounted, in_memory):
    """The same by chance, many times."""
    if not in_memory:
        without_files_in_memory(monkeypatch)
    seen = []
    for number in range(25):
        mounted.turn("alice")
        the_registry.clear()
        gc.collect()
        with ThreadPoolExecutor(2) as threads:
            current = threads.submit(whoami, open_server, mounted.current)
            pause(number)
            fixed = threads.submit(whoami, open_server, mounted.fixed("alice"))
            pause(number)
            mounted.turn("bob")
        seen.append((fixed.result(), current.result() in ("alice", "bob")))

    assert set(seen) == {("alice", True)}


def test_a_rotated_pair_is_another_identity(authority, contexts, settings, pair, retired):
    """The same names with other content: a new context, and the old one stays what it was."""
    before = contexts.of(settings)
    for source, target in zip(authority.other_client, pair, strict=True):
        put(source, target)
    after = contexts.of(settings)

    assert after is not before
    assert after is contexts.of(settings_of(authority, authority.other_client))
    assert retired == [before]


def test_what_other_files_stand_for_is_not_retired(authority, contexts, mounted, retired):
    """The identity that one path was rotated away from is that of another path still."""
    before, fixed = (
        contexts.of(settings_of(authority, paths)) for paths in (mounted.current, mounted.fixed("alice"))
    )
    mounted.turn("bob")
    after = contexts.of(settings_of(authority, mounted.current))
    still = contexts.of(settings_of(authority, mounted.fixed("alice")))

    assert fixed is still is before
    assert after is not before
    assert retired == []


def test_what_was_retired_is_not_handed_out_again(authority, contexts, mounted, retired):
    """Who turns back gets a new context, since the old one's connections are being closed."""
    settings = settings_of(authority, mounted.current)
    first = contexts.of(settings)
    mounted.turn("bob")
    second = contexts.of(settings)
    mounted.turn("alice")
    third = contexts.of(settings)

    assert third is not first
    assert retired == [first, second]


def test_files_that_are_the_same_again_are_no_rotation(authority, contexts, settings, pair, retired):
    """The control: another inode and another date of the same content."""
    before = contexts.of(settings)
    put(authority.client[0], pair[0])

    assert contexts.of(settings) is before
    assert retired == []


def test_a_registry_owns_what_is_called():
    """The registry closes what is idle with it."""
    assert Registry().contexts._on_retired.__func__ is Registry.retire


def test_a_half_rotated_pair_is_refused_while_it_rests(authority, contexts, settings, pair):
    """It does not match, nobody is writing it, and it was never usable: that is an error."""
    put(authority.other_client[1], pair[1])
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        contexts.of(settings)


@pytest.fixture
def rewritten(monkeypatch):
    """Return a function that has files change after each time that they were read, as told."""

    def arrange(*changes):
        ahead, stock = list(changes), Sources.read

        def read(sources):
            found = stock(sources)
            if ahead:
                ahead.pop(0)()
            return found

        monkeypatch.setattr(Sources, "read", read)

    return arrange


def test_a_pair_that_is_being_replaced_is_read_again(authority, contexts, settings, pair, rewritten):
    """The key comes after the certificate: between the two they do not match, and then they do."""
    put(authority.other_client[0], pair[0])
    rewritten(lambda: None, lambda: None)
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        contexts.of(settings)
    rewritten(lambda: put(authority.other_client[1], pair[1]))
    context = contexts.of(settings)

    assert context is contexts.of(settings_of(authority, authority.other_client))


@in_memory
def test_a_context_is_never_kept_under_what_was_read_before(
    monkeypatch, authority, contexts, tmp_path, rewritten, in_memory
):
    """Files that change while a context is built from them: it is not handed out as the one asked for."""
    if not in_memory:
        without_files_in_memory(monkeypatch)
    trusted = put(authority.ca_file, tmp_path / "ca.pem")
    rewritten(lambda: put(authority.other_ca_file, trusted))
    (found,) = contexts.of({"ca_certs": trusted}).get_ca_certs(binary_form=True)

    assert found == ssl.PEM_cert_to_DER_cert(Path(authority.other_ca_file).read_text())


def test_a_directory_that_changes_is_read_again(authority, contexts, tmp_path, rewritten):
    """The same for a directory of authorities that gets one more."""
    place = tmp_path / "certs"
    place.mkdir()
    put(authority.ca_file, place / "0a1b2c3d.0")
    rewritten(lambda: put(authority.other_ca_file, place / "0a1b2c3d.1"))
    context = contexts.of({"ca_cert_dir": str(place)})

    assert len(context.get_ca_certs()) == 2
    assert contexts.built == 1


def test_files_that_never_rest_are_refused(authority, contexts, tmp_path, rewritten):
    """After three readings that differ it is the files' fault."""
    trusted = put(authority.ca_file, tmp_path / "ca.pem")
    others = [authority.other_ca_file, authority.ca_file] * 3
    rewritten(*[lambda path=path: put(path, trusted) for path in others])
    with pytest.raises(SSLError, match="the certificate files keep changing while they are read"):
        contexts.of({"ca_certs": trusted})


def test_files_that_never_rest_and_never_match_are_refused_as_such(
    authority, contexts, settings, pair, rewritten
):
    """OpenSSL's own error says more than that they keep changing."""
    put(authority.other_client[1], pair[1])
    others = [authority.stranger_client[1], authority.other_client[1]] * 3
    rewritten(*[lambda path=path: put(path, pair[1]) for path in others])
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        contexts.of(settings)


def half(authority, pair):
    """Replace the certificate only."""
    put(authority.other_client[0], pair[0])


def torn(authority, pair):
    """Leave the key as a writer does who is not done."""
    Path(pair[1]).write_bytes(Path(authority.other_client[1]).read_bytes()[:200])


def emptied(authority, pair):
    """Leave the certificate as a writer does who has just begun."""
    Path(pair[0]).write_bytes(b"")


def absent(authority, pair):
    """Leave no key, as a writer does who removes it first."""
    Path(pair[1]).unlink()


def nothing(authority, pair):
    """Leave neither."""
    for path in pair:
        Path(path).unlink()


UNUSABLE = [half, torn, emptied, absent, nothing]


@pytest.mark.parametrize("spoil", UNUSABLE)
def test_unusable_files_leave_the_identity_in_use(authority, contexts, settings, pair, spoil, looking):
    """It stays until the files are whole. Told once that they are unusable, and once that they are new."""
    heard = []
    room.SEARCH.value = room.Search(heard.append)
    first = contexts.of(settings)
    spoil(authority, pair)
    gc.collect()
    during = [contexts.of(settings) for _ in range(3)]
    for source, target in zip(authority.other_client, pair, strict=True):
        put(source, target)
    after = [contexts.of(settings) for _ in range(3)]
    room.SEARCH.value = None

    assert set(during) == {first}
    assert len(set(after)) == 1
    assert after[0] is not first
    assert [why is None for why in heard] == [False, True]


def test_unusable_files_keep_an_identity_that_nobody_uses_now(authority, contexts, settings, pair):
    """Between two `requests.get()` nothing holds it but this."""
    contexts.of(settings)
    half(authority, pair)
    gc.collect()
    contexts.of(settings)
    contexts.clear()
    gc.collect()
    with pytest.raises(ssl.SSLError, match="KEY_VALUES_MISMATCH"):
        contexts.of(settings)

    assert contexts.built == 1


def test_other_settings_do_not_get_it(authority, contexts, settings, pair):
    """Another password, another authority: these were never usable together."""
    contexts.of(settings)
    half(authority, pair)
    for change in ({"key_password": "x"}, {"ca_certs": authority.other_ca_file}, {"cert_reqs": "CERT_NONE"}):
        with pytest.raises(ssl.SSLError):
            contexts.of({**settings, **change})


def test_each_change_of_unusable_files_is_told(authority, contexts, settings, pair, looking):
    """Once each, and not for each call."""
    heard = []
    room.SEARCH.value = room.Search(heard.append)
    contexts.of(settings)
    for spoil in (half, torn, absent):
        spoil(authority, pair)
        for _ in range(3):
            contexts.of(settings)
    room.SEARCH.value = None

    assert [why is None for why in heard] == [False] * 3


def test_unusable_files_are_read_once_a_second(authority, contexts, settings, pair, monkeypatch):
    """Not for each call; and every second, since it may have been the descriptors that ran out."""
    contexts.of(settings)
    half(authority, pair)
    contexts.of(settings)
    reads, stock = [], Sources.read
    monkeypatch.setattr(Sources, "read", lambda self: (reads.append(1), stock(self))[1])
    contexts.of(settings)
    within = len(reads)
    monkeypatch.setattr(room, "_RETRY_EVERY", -1.0)
    contexts.of(settings)

    assert within == 0
    assert reads


def test_a_warning_says_what_is_wrong(authority, contexts, settings, pair, caplog, looking):
    """In the words of an error, once, and with nothing of what is in the files."""
    contexts.of(settings)
    half(authority, pair)
    for _ in range(3):
        contexts.of(settings)
    (record,) = (record for record in caplog.records if "stay" in record.message)

    assert record.levelname == "WARNING"
    assert f"The key in {pair[1]} does not belong to the certificate in {pair[0]}." in record.message


def test_a_slow_reader_does_not_turn_time_back(authority, contexts, settings, pair, retired, monkeypatch):
    """Who has looked before a rotation, and is done after it, reports no rotation."""
    slow, done = threading.Event(), threading.Event()
    contexts.of(settings)
    stock = Sources.read

    def read(sources):
        contents = stock(sources)
        if threading.current_thread() is thread:
            slow.set()
            done.wait(LONG_TIMEOUT)
        return contents

    thread = threading.Thread(target=lambda: contexts.of(settings))
    monkeypatch.setattr(Sources, "read", read)
    thread.start()
    slow.wait(LONG_TIMEOUT)
    for source, target in zip(authority.other_client, pair, strict=True):
        put(source, target)
    new = contexts.of(settings)
    done.set()
    thread.join(LONG_TIMEOUT)

    assert contexts.of(settings) is new
    assert len(retired) == 1


def get(server, pair):
    """Call `requests.get` with a pair; return the name that the server saw."""
    return requests.get(server.url + "/whoami", verify=server.authority.ca_file, cert=pair).json()["client"]


@pytest.mark.parametrize("spoil", UNUSABLE)
def test_requests_get_keeps_its_identity_under_install(open_server, authority, pair, looking, spoil):
    """Each call has an adapter of its own, and the process remembers; the server sees alice, then bob."""
    heard = []
    with install(on_event=heard.append):
        seen = [get(open_server, pair)]
        spoil(authority, pair)
        gc.collect()
        seen += [get(open_server, pair) for _ in range(3)]
        for source, target in zip(authority.other_client, pair, strict=True):
            put(source, target)
        seen += [get(open_server, pair) for _ in range(2)]

    assert seen == ["alice"] * 4 + ["bob"] * 2
    assert [event.usable for event in heard if isinstance(event, events.IdentityRotated)] == [False, True]
    assert {event.origin for event in heard if isinstance(event, events.IdentityRotated)} == {open_server.url}


@pytest.mark.parametrize("spoil", UNUSABLE)
def test_stock_fails_meanwhile(open_server, authority, pair, spoil):
    """The control: without the package each of these ends the call."""
    seen = get(open_server, pair)
    spoil(authority, pair)
    with pytest.raises((OSError, requests.ConnectionError)):
        get(open_server, pair)

    assert seen == "alice"


@contextmanager
def suppress_and_keep():
    """Return a list of what was raised in a block."""
    errors = []
    try:
        yield errors
    except OSError as error:
        errors.append(error)


@pytest.mark.parametrize("spoil", UNUSABLE)
def test_a_session_without_that_memory_fails_as_stock_does(open_server, authority, pair, spoil):
    """The control: with nothing remembered the error is stock's, by type and message."""
    spoil(authority, pair)
    with suppress_and_keep() as stocks:
        get(open_server, pair)
    with install(), suppress_and_keep() as ours:
        get(open_server, pair)
    (ours, stocks) = (*ours, *stocks)

    assert type(ours) is type(stocks)
    if spoil in (absent, nothing):
        assert (str(ours), ours.__cause__) == (str(stocks), None)


def test_two_adapters_tell_of_one_rotation_once(open_server, authority, pair, looking):
    """The second finds it done."""
    heard = []
    with requests.Session() as first, requests.Session() as second:
        for session in (first, second):
            session.trust_env, session.verify, session.cert = False, authority.ca_file, pair
            session.mount("https://", ResilientAdapter(on_event=heard.append))
        sessions = (first, second, first, second)
        seen = [session.get(open_server.url + "/whoami").json()["client"] for session in sessions]
        for source, target in zip(authority.other_client, pair, strict=True):
            put(source, target)
        seen += [session.get(open_server.url + "/whoami").json()["client"] for session in sessions]

    assert seen == ["alice"] * 4 + ["bob"] * 4
    assert [event.usable for event in heard if isinstance(event, events.IdentityRotated)] == [True]


@pytest.fixture
def reads(monkeypatch):
    """Return the list of readings from now on."""
    done, stock = [], Sources.read
    monkeypatch.setattr(Sources, "read", lambda self: (done.append(self), stock(self))[1])
    return done


def test_files_at_rest_are_read_once(contexts, settings, reads, rested):
    """As long as `stat` says that they are the same: at first, and once more when the context is built."""
    for _ in range(3):
        contexts.of(settings)

    assert len(reads) == 2


def test_files_that_were_just_written_are_read_again(authority, contexts, settings, pair, reads, monkeypatch):
    """Two contents may share a time stamp: until it is old, the stamp proves nothing."""
    found = identity.fingerprint(pair)
    monkeypatch.setattr(identity, "fingerprint", lambda paths: found)
    alice = contexts.of(settings)
    for source, target in zip(authority.other_client, pair, strict=True):
        put(source, target)
    bob = contexts.of(settings)

    assert bob is not alice
    assert len(reads) == 4


def test_an_old_time_stamp_is_proof(authority, contexts, settings, pair, rested, monkeypatch):
    """The control: with the same stamp of files at rest, nobody looks into them."""
    found = identity.fingerprint(pair)
    monkeypatch.setattr(identity, "fingerprint", lambda paths: found)
    alice = contexts.of(settings)
    for source, target in zip(authority.other_client, pair, strict=True):
        put(source, target)

    assert contexts.of(settings) is alice


def test_a_password_is_asked_for_once(authority, contexts):
    """Not for each adapter, nor for files that were written a moment ago and read again."""
    asked = []

    def password():
        asked.append(1)
        return authority.key_password

    settings = {
        "cert_file": authority.client[0], "key_file": authority.encrypted_key, "key_password": password,
    }  # fmt: skip
    found = {contexts.of(dict(settings)) for _ in range(3)}
    contexts.of({**settings, "key_password": lambda: password()})

    assert len(found) == 1
    assert len(asked) == 2


def test_what_is_remembered_is_bounded(authority, contexts, tmp_path, monkeypatch):
    """Names and contexts; those in use are found as long as they are."""
    monkeypatch.setattr(room, "_NAMES", 3)
    monkeypatch.setattr(room, "_KEPT", 2)
    copies = [shutil.copy(authority.ca_file, tmp_path / str(number)) for number in range(5)]
    for number, path in enumerate(copies):
        with open(path, "a") as file:
            file.write(f"# {number}\n")
        contexts.of({"ca_certs": path})
    gc.collect()

    assert len(contexts._named) == 3
    assert len(contexts) == 2


def test_a_relative_path_is_another_in_another_directory(authority, contexts, tmp_path, monkeypatch):
    """Who changes the directory is not served as who was there before."""
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    both = b"".join(Path(path).read_bytes() for path in authority.client)
    (tmp_path / "one" / "client.pem").write_bytes(both)
    monkeypatch.chdir(tmp_path / "one")
    contexts.of({"cert_file": "client.pem"})
    monkeypatch.chdir(tmp_path / "two")
    with pytest.raises(FileNotFoundError):
        contexts.of({"cert_file": "client.pem"})
    monkeypatch.chdir(tmp_path / "one")

    assert contexts.of({"cert_file": "client.pem"}) is contexts.of(
        {"cert_file": str(tmp_path / "one" / "client.pem")}
    )


def test_a_directory_of_authorities_that_vanishes_is_remembered(open_server, authority, tmp_path, looking):
    """As `verify=` that is a directory, which looks like a file when it is gone."""
    place = tmp_path / "certs"
    place.mkdir()
    put(authority.ca_file, place / "0a1b2c3d.0")
    with install():
        before = requests.get(open_server.url, verify=str(place), cert=authority.client)
        place.rename(tmp_path / "away")
        during = requests.get(open_server.url, verify=str(place), cert=authority.client)

    assert before.ok
    assert during.ok
