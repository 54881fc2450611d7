"""The doctor's section on settings."""

import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import certifi
import pytest
from urllib3.connection import HTTPConnection

from resilient_transport.cli.doctor import trust_choice
from resilient_transport.cli.doctor.finding import Finding, Level
from resilient_transport.cli.doctor.keepalive_probe import KeepAlive, SocketWord, probe
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.sections.settings_in_force import SETTINGS, Measured, judge
from resilient_transport.installation import install
from resilient_transport.settings.environment import SETTINGS as EACH
from tests.cli.doctor.visiting import bad, by_check, visit_to

URL = "https://api.example.test/page?token=secret"
MOUNT = 'session.mount("https://api.example.test/", ResilientAdapter())'


@pytest.fixture
def measured() -> Measured:
    """Return what is measured where nobody has set anything."""
    return SETTINGS.measure(visit_to(URL))


def made_by(factory: str) -> str:
    """Return what `--session` takes for one of the sessions of the tests."""
    return f"tests.cli.doctor.sessions:{factory}"


def judged(measured: Measured | None = None, url: str = URL, **options: Any) -> dict[str, Finding]:
    """Judge what was measured, or what is."""
    return by_check(judge(measured or SETTINGS.measure(visit_to(url, **options))))


def test_where_nobody_has_set_anything_all_is_ok(measured: Measured) -> None:
    """Nothing warns, and no part of the query is in what was measured."""
    told = judged(measured)

    assert bad(told.values()) == []
    assert told["settings.values"].text == f"all {len(EACH)} settings have their defaults"
    assert told["settings.reach"].text == "skipped (no --session is given)"
    assert "secret" not in repr(measured)


def test_what_is_set_is_told_with_who_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """The adapter of the session beats the environment."""
    monkeypatch.setenv("RESILIENT_TRANSPORT_IDLE_TIMEOUT", "30")
    monkeypatch.setenv("RESILIENT_TRANSPORT_MAX_IDLE", "10")
    by_environment = judged()["settings.values"]
    by_both = judged(session=made_by("ours"))["settings.values"]

    assert by_environment.value == (
        "RESILIENT_TRANSPORT_IDLE_TIMEOUT=30 (environment), RESILIENT_TRANSPORT_MAX_IDLE=10 (environment)"
    )
    assert by_both.value == (
        "RESILIENT_TRANSPORT_RETRIES=2 (session), RESILIENT_TRANSPORT_IDLE_TIMEOUT=7 (session), "
        "RESILIENT_TRANSPORT_TCP_KEEPALIVE=30 (session), RESILIENT_TRANSPORT_MAX_IDLE=10 (environment)"
    )


def test_a_variable_that_cannot_be_used_fails_with_its_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing can be made with it. One that may hold a secret is not shown."""
    monkeypatch.setenv("RESILIENT_TRANSPORT_TCP_KEEPALIVE", "often")
    told = judged()
    monkeypatch.setenv("RESILIENT_TRANSPORT_TCP_KEEPALIVE", "user:s3cr3t@host")
    hidden = judged()["settings.usable"]

    found = told["settings.usable"]
    assert (found.level, found.root, found.blocks) == (Level.FAIL, Root.SETTING, True)
    assert found.hint == "unset RESILIENT_TRANSPORT_TCP_KEEPALIVE"
    assert "'often': allowed is" in found.text
    assert "settings.keep-alive" not in told
    assert "s3cr3t" not in repr(hidden)


def test_a_name_that_is_misspelt_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """The nearest is named, and the hint moves the value there. It is told as often as it is asked."""
    monkeypatch.setenv("RESILIENT_TRANSPORT_RETRY", "3")
    first, again = judged()["settings.unknown"], judged()["settings.unknown"]

    assert first == again
    assert first.level is Level.WARN
    assert first.hint == (
        'export RESILIENT_TRANSPORT_RETRIES="$RESILIENT_TRANSPORT_RETRY"; unset RESILIENT_TRANSPORT_RETRY'
    )


def test_an_adapter_that_is_turned_off_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """All that is measured of it later is stock's."""
    monkeypatch.setenv("RESILIENT_TRANSPORT_BYPASS", "yes")
    found = judged()["settings.switches"]

    assert (found.level, found.root) == (Level.WARN, Root.SETTING)
    assert found.hint == "unset RESILIENT_TRANSPORT_BYPASS"


def test_a_page_that_is_disabled_fails_and_is_examined_all_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """Another page is not concerned."""
    by_session = judged(session=made_by("disabling"))["settings.switches"]
    monkeypatch.setenv("RESILIENT_TRANSPORT_DISABLE", "https://api.example.test/page")
    by_environment = judged()["settings.switches"]
    other = judged(url="https://api.example.test/other")

    assert (by_session.level, by_session.root, by_session.blocks) == (Level.FAIL, Root.SETTING, False)
    assert "disable=" in by_session.hint
    assert by_environment.hint == "unset RESILIENT_TRANSPORT_DISABLE"
    assert "settings.switches" not in other
    monkeypatch.setenv("RESILIENT_TRANSPORT_DISABLE", "api.example.test")
    assert "settings.switches" not in judged()


def test_the_socket_is_asked_what_it_was_told() -> None:
    """The options are those of the adapter's own sockets, and the socket has them."""
    on, off = probe(60, False), probe(0, True)

    assert SocketWord("SO_KEEPALIVE", 1, 1) in on.words
    assert all(word.is_honoured for word in on.words)
    assert off.words == ()
    if hasattr(socket, "TCP_KEEPIDLE"):
        assert SocketWord("TCP_KEEPIDLE", 60, 60) in on.words


def test_a_programs_own_options_decide_unless_somebody_has_said_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """So it is with the adapter's connections."""
    own = [*HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 0)]
    monkeypatch.setattr(HTTPConnection, "default_socket_options", own)

    assert probe(60, False) == KeepAlive(60, True, (SocketWord("SO_KEEPALIVE", 0, 0),))
    assert not probe(60, True).is_own


def test_where_there_is_no_loopback_no_socket_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some containers have none."""

    def refuse(*_: Any, **__: Any) -> None:
        raise OSError(99, "Cannot assign requested address")

    monkeypatch.setattr(socket, "create_server", refuse)

    assert probe(60, False).error == "Cannot assign requested address"


@pytest.mark.parametrize(
    ("keepalive", "level", "word"),
    [
        (KeepAlive(60, False, (SocketWord("TCP_KEEPIDLE", 60, 60),)), Level.OK, "after 60 s"),
        (KeepAlive(60, False, (SocketWord("TCP_KEEPIDLE", 60, 7200),)), Level.WARN, "TCP_KEEPIDLE=7200"),
        (KeepAlive(60, False, (SocketWord("SO_KEEPALIVE", 1, 0),)), Level.WARN, "was set to 1"),
        (KeepAlive(60, False, (SocketWord("SO_KEEPALIVE", 1, 8),)), Level.OK, "after 60 s"),
        (KeepAlive(0, False, ()), Level.OK, "is off"),
        (KeepAlive(60, True, ()), Level.OK, "default_socket_options"),
        (KeepAlive(60, False, (), "Cannot assign"), Level.SKIPPED, "Cannot assign"),
    ],
)
def test_keep_alive_is_judged_by_the_socket(
    measured: Measured, keepalive: KeepAlive, level: Level, word: str
) -> None:
    """What it says counts, not what was wanted."""
    found = judged(replace(measured, keepalive=keepalive))["settings.keep-alive"]

    assert found.level is level
    assert word in found.text


def test_a_bundle_that_is_not_there_fails(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The variable is named. A page without TLS is not concerned, nor is one with `--ca`."""
    missing, empty = tmp_path / "missing.pem", tmp_path / "empty.pem"
    empty.write_text("nothing")
    monkeypatch.setenv("CURL_CA_BUNDLE", str(missing))
    absent = judged()["settings.trust"]
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(empty))
    unusable = judged()["settings.trust"]

    assert (absent.level, absent.root, absent.blocks) == (Level.FAIL, Root.SETTING, True)
    assert absent.text == f"CURL_CA_BUNDLE names {missing}, which does not exist"
    assert absent.hint == "unset CURL_CA_BUNDLE"
    assert unusable.text == f"REQUESTS_CA_BUNDLE names {empty}, which has no certificate in PEM"
    assert "settings.trust" not in judged(url="http://api.example.test/")
    assert judged(ca=certifi.where())["settings.trust"].level is Level.OK
    assert judged(ca=str(missing))["settings.trust"].hint.startswith("--ca FILE")


def test_a_bundle_that_beats_the_session_is_warned_of(monkeypatch: pytest.MonkeyPatch) -> None:
    """`session.verify=False` has no effect then, which few expect; without it there is nothing to say."""
    alone = judged(session=made_by("careless"))["settings.trust"]
    missing = judged(session=made_by("forgetful"))["settings.trust"]
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", certifi.where())
    beaten = judged(session=made_by("careless"))["settings.trust"]

    assert missing.hint.startswith("session.verify = FILE")
    assert alone.text == "the session does not check certificates (verify=False)"
    assert beaten.level is Level.WARN
    assert beaten.text == "REQUESTS_CA_BUNDLE beats session.verify=False, which has no effect"
    assert judged()["settings.trust"].level is Level.OK


def test_what_requests_does_not_read_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has set SSL_CERT_FILE for a company's authority expects it to count."""
    monkeypatch.setenv("SSL_CERT_FILE", "/etc/company.pem")

    assert "SSL_CERT_FILE is set, and requests does not read it" in judged()["settings.trust"].text


def _refuse(*_: Any) -> None:
    raise PermissionError(13, "Permission denied")


def test_a_folder_without_hashes_is_warned_of(tmp_path: Path) -> None:
    """OpenSSL looks for an authority by the hash of its name."""
    unhashed = judged(ca=str(tmp_path))["settings.trust"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(trust_choice.os, "access", lambda *_: False)
        patch.setattr(trust_choice.os, "listdir", _refuse)
        closed = judged(ca=str(tmp_path))["settings.trust"]
    (tmp_path / "0a775a30.0").write_text("")

    assert unhashed.hint == f"openssl rehash {tmp_path}"
    assert closed.text == f"--ca names {tmp_path}, which may not be read"
    assert judged(ca=str(tmp_path))["settings.trust"].level is Level.OK


@pytest.mark.parametrize(
    ("environment", "options", "level", "word"),
    [
        ({"HTTPS_PROXY": "http://me:secret@p.test:1"}, {}, Level.OK, "HTTPS_PROXY sets the proxy"),
        ({}, {"proxy": ""}, Level.OK, "--proxy says"),
        ({"HTTPS_PROXY": "http://p.test:1", "NO_PROXY": "example.test"}, {}, Level.OK, "NO_PROXY exempts"),
        ({"HTTPS_PROXY": "http://p.test:1", "NO_PROXY": "*.example.test"}, {}, Level.WARN, "does not match"),
        ({"NO_PROXY": "*.example.test"}, {}, Level.OK, "no proxy is set"),
        ({"HTTPS_PROXY": "http://p.test:1"}, {"session": "with_proxy"}, Level.WARN, "beats session.proxies"),
        ({"NO_PROXY": "example.test"}, {"session": "with_proxy"}, Level.WARN, "all the same"),
        ({}, {"session": "with_proxy"}, Level.OK, "session.proxies sets the proxy"),
        ({"HTTPS_PROXY": "http://p.test:1"}, {"session": "aloof"}, Level.OK, "does not read the environment"),
    ],
)
def test_proxies_and_their_exceptions(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    options: dict[str, str],
    level: Level,
    word: str,
) -> None:
    """Only what has another effect than it looks like is warned of."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    if "session" in options:
        options = {"session": made_by(options["session"])}
    found = judged(**options)["settings.proxy"]

    assert found.level is level
    assert word in found.text
    assert "secret" not in repr(found)


def test_an_entry_that_takes_out_too_much_is_warned_of(measured: Measured) -> None:
    """As requests had it before 2.34: "example.test" took "notexample.test" out."""
    wide = replace(
        measured.proxy, in_environment="http://p.test:1", excluded_by=("e.test",), too_wide=("e.test",)
    )
    found = judged(replace(measured, proxy=wide))["settings.proxy"]

    assert found.hint == "pip install 'requests>=2.34'"


@pytest.mark.parametrize(
    ("factory", "level", "word", "hint"),
    [
        ("plain", Level.OK, "reach the session", ""),
        ("ours", Level.OK, "has this adapter at https://", ""),
        ("Sender", Level.OK, "has a send() of its own", ""),
        (
            "own_class",
            Level.WARN,
            "install() does not replace tests.cli.doctor.sessions.OwnAdapter at https://",
            'session.mount("https://", ResilientAdapter())',
        ),
        (
            "longer_prefix",
            Level.WARN,
            "requests.adapters.HTTPAdapter at https://api.example.test/ serves this page",
            MOUNT,
        ),
        (
            "own_retry",
            Level.WARN,
            "install() does not replace the HTTPAdapter at https://: ",
            'session.mount("https://", ResilientAdapter())',
        ),
        ("Choosy", Level.WARN, "get_adapter returns", "change tests.cli.doctor.sessions.Choosy.get_adapter"),
    ],
)
def test_sessions_that_the_adapter_does_not_reach(factory: str, level: Level, word: str, hint: str) -> None:
    """The session is the program's, and what is found is what mounting and installing do."""
    found = judged(session=made_by(factory))["settings.reach"]

    assert found.level is level
    assert word in found.text
    assert hint in found.hint


def test_what_an_installation_has_left_alone_is_named() -> None:
    """Other prefixes with other classes are, too."""
    with install():
        found = judged(session=made_by("own_class"))["settings.reach"]
        plain = judged(session=made_by("plain"))["settings.reach"]

    assert "x tests.cli.doctor.sessions.OwnAdapter" in found.value
    assert "has this adapter at https://" in plain.text
    assert "ftp:// (tests.cli.doctor.sessions.OwnAdapter)" in (
        judged(session=made_by("longer_prefix"))["settings.reach"].value
    )
