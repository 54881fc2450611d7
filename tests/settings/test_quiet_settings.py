"""Settings of the environment that take nothing away: a log on standard error, and no disabled prefix."""

import logging

import pytest
import requests

from resilient_transport import EndpointDisabled, ResilientAdapter, RetryPolicy
from resilient_transport.telemetry import log as logs
from tests.end_to_end.verbatim_server import RST, Answer, VerbatimServer, told

OK = Answer(told("200 OK", b"", Content_Length="0"))


class Kept(logging.Handler):
    """The handler of a program."""

    def __init__(self):
        super().__init__()
        self.levels = []

    def emit(self, record):
        """Note the level of what is ours."""
        if record.name == logs.log.name:
            self.levels.append(record.levelname)


@pytest.fixture
def log():
    """The logger of this package, as it is when nobody has set it up; and again afterwards."""
    level, handlers = logs.log.level, logs.log.handlers[:]
    logs.log.setLevel(logging.NOTSET)
    yield logs.log
    logs.log.setLevel(level)
    logs.log.handlers[:] = handlers


@pytest.fixture
def root():
    """The root logger, and again as it was."""
    found = logging.getLogger()
    level, handlers = found.level, found.handlers[:]
    yield found
    found.setLevel(level)
    found.handlers[:] = handlers


def give_up(adapter):
    """Make a call that fails, and is repeated once."""
    with VerbatimServer(lambda _: Answer(b"", RST)) as verbatim, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", adapter)
        with pytest.raises(requests.ConnectionError):
            session.get(verbatim.url)


def adapter():
    """Return an adapter that repeats once."""
    return ResilientAdapter(policy=RetryPolicy(retries=1, backoff=0.0))


@pytest.mark.parametrize("asked", ["off", "error", "warning", "debug"])
def test_a_program_that_listens_to_us_hears_the_same(log, environment, capsys, asked):
    """Whatever goes to standard error besides, its handler on our logger gets every line from DEBUG on."""
    kept = Kept()
    log.addHandler(kept)
    log.setLevel(logging.DEBUG)
    environment(log=asked)
    give_up(adapter())
    lines = capsys.readouterr().err.splitlines()

    assert set(kept.levels) == {"DEBUG", "WARNING"}
    assert len(lines) == {"off": 0, "error": 0, "warning": 1, "debug": len(kept.levels)}[asked]


@pytest.mark.parametrize(
    ("level", "asked"),
    [
        ("DEBUG", "off"),
        ("DEBUG", "error"),
        ("DEBUG", "warning"),
        ("DEBUG", "debug"),
        ("WARNING", "off"),
        ("WARNING", "error"),
        ("WARNING", "warning"),
        ("WARNING", "debug"),
    ],
)
def test_a_program_that_listens_to_all_hears_the_same(log, root, environment, capsys, asked, level):
    """The same where it has set up the root logger, as `basicConfig` does, and has said nothing of ours."""
    kept = Kept()
    root.addHandler(kept)
    root.setLevel(level)
    environment(log=asked)
    give_up(adapter())

    assert set(kept.levels) >= {level, "WARNING"}


@pytest.mark.parametrize("text", ["none", "None", "NONE"])
def test_none_disables_nothing(environment, text):
    """RESILIENT_TRANSPORT_DISABLE=none is allowed, and every call is made."""
    environment(disable=text)
    with VerbatimServer([OK]) as verbatim, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", ResilientAdapter())
        status = session.get(verbatim.url).status_code

    assert status == 200


def test_none_is_weaker_than_the_constructor(environment):
    """The control: what the program has switched off stays off."""
    environment(disable="none")
    with VerbatimServer([]) as verbatim, requests.Session() as session:
        session.trust_env = False
        session.mount("http://", ResilientAdapter(disable=[verbatim.url]))
        with pytest.raises(EndpointDisabled):
            session.get(verbatim.url)

        assert verbatim.accepts == 0


@pytest.mark.parametrize("text", ["none none", "nothing", "none http://localhost/"])
def test_none_stands_alone(environment, text):
    """It is no URL: among others it is refused."""
    environment(disable=text)
    with pytest.raises(ValueError, match="RESILIENT_TRANSPORT_DISABLE"):
        ResilientAdapter()
