"""The log: silent until somebody listens, a readable line for each event, a warning for each give-up."""

import json
import logging
import re
import threading

import pytest
import requests

from resilient_transport import DeadlineExceeded, ResilientAdapter, RetryPolicy, events, override
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

FAST = {"backoff": 0.001, "backoff_max": 0.001}
NAME = "resilient_transport"
LINE = re.compile(r"(GET|POST) https://localhost:\d+/bytes/100 \(call \d+, MainThread\):? \S.{10,300}")
BROKEN = Script((Rule(Fault(Moment.EXECUTED)),))
#: A call that gives up, in a process of its own: its arguments are the URL and the paths of its certificates.
PROGRAM = """
import sys
import requests
import resilient_transport

session = requests.Session()
session.trust_env = False
session.verify, session.cert = sys.argv[2], tuple(sys.argv[3:])
resilient_transport.mount(session)
try:
    session.post(sys.argv[1])
except requests.ConnectionError:
    print("failed")
"""


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


@pytest.fixture
def program(server, forks, our_forks):
    """Return what runs a program against a server that breaks every request; it returns output and errors.

    The program imports this package, or finds it imported.
    """
    server.play(BROKEN)
    paths = server.authority.ca_file, *server.authority.client

    def run(text=PROGRAM, imports=False, **environment):
        done = (forks if imports else our_forks).run(text, server.url, *paths, **environment)
        return done.stdout.strip(), done.stderr

    return run


def test_silent_by_default(program):
    """A program without any logging sees nothing, not even of a call that gives up."""
    assert program(imports=True) == ("failed", "")


def test_a_program_that_logs_sees_the_warning(program, server):
    """The control: with logging set up there is the one line."""
    said, errors = program("import logging\nlogging.basicConfig()" + PROGRAM, imports=True)

    assert said == "failed"
    line = rf"WARNING:{NAME}:POST {server.url}/ \(call 1, MainThread\) gave up: attempt 1: .*\n"
    assert re.fullmatch(line, errors)


@pytest.mark.slow
@pytest.mark.parametrize("level", ["debug", "info", "warning", "error", "off"])
def test_the_environment_can_ask_for_it(program, level):
    """RESILIENT_TRANSPORT_LOG writes to standard error from a level on, without a change to the program."""
    said, errors = program(RESILIENT_TRANSPORT_LOG=level)
    levels = re.findall(rf"^\d{{4}}-\S+ \S+ (\w+) {NAME}: ", errors, re.MULTILINE)
    heard = ["DEBUG", "DEBUG", "WARNING"] if level == "debug" else ["WARNING"]

    assert said == "failed"
    assert levels == ([] if level in ("error", "off") else heard)
    assert len(errors.splitlines()) == len(levels)


def test_each_event_is_a_readable_line(server, dial, caplog):
    """At DEBUG, the log says in words what hooks are told; a call on a warm connection is worth no line."""
    caplog.set_level("DEBUG", logger=NAME)
    told = []
    server.play(Script((Rule(Fault(Moment.BODY, after_bytes=40), first=1),)))
    session = dial(server, on_event=told.append, policy=RetryPolicy(**FAST))
    session.get(server.url + "/bytes/100")
    lines = caplog.messages[:]
    caplog.clear()
    session.get(server.url + "/words/1")

    assert lines == [str(event) for event in told if event.level is not None][: len(lines)]
    assert [LINE.fullmatch(line) is not None for line in lines] == [True] * 5
    assert "at stage body after" in lines[1]
    assert "resumed from byte 40" in lines[1]
    assert caplog.messages == []


@pytest.mark.parametrize("child", ["", ".anything"])
def test_there_is_one_tree(server, dial, caplog, child):
    """All lines come from `resilient_transport` and what is below it; its level silences them all."""
    caplog.set_level("DEBUG")
    logging.getLogger(NAME + child)
    server.play(BROKEN)
    with pytest.raises(requests.ConnectionError):
        dial(server, policy=RetryPolicy(retries=1, **FAST)).get(server.url)
    ours = {record.name for record in caplog.records if "urllib3" not in record.name}
    caplog.clear()
    caplog.set_level("ERROR", logger=NAME)
    with pytest.raises(requests.ConnectionError):
        dial(server, policy=RetryPolicy(retries=1, **FAST)).get(server.url)

    assert ours == {NAME}
    assert {record.name for record in caplog.records} <= {"urllib3.connectionpool"}


def raised(call, error):
    """Make a call that raises."""
    with pytest.raises(error):
        call()


def deadline_over(session, url):
    """Make a call that the server never answers, within a deadline."""
    with override(deadline=SHORT_TIMEOUT), pytest.raises(DeadlineExceeded):
        session.get(url)


GIVE_UPS = {
    "GET": (BROKEN, lambda s, url: raised(lambda: s.get(url), requests.ConnectionError)),
    "POST": (BROKEN, lambda s, url: raised(lambda: s.post(url), requests.ConnectionError)),
    "handshake": (
        Script((Rule(Fault(Moment.CLIENT_HELLO)),)),
        lambda s, url: raised(lambda: s.get(url), requests.ConnectionError),
    ),
    "certificate": (
        Script((Rule(Fault(Moment.HANDSHAKE, How.ALERT, seconds=0)),)),
        lambda s, url: raised(lambda: s.get(url), requests.exceptions.SSLError),
    ),
    "deadline": (Script((Rule(Fault(Moment.EXECUTED, How.STALL)),)), deadline_over),
    "status": (Script(), lambda s, url: s.get(url + "/status/503")),
    "stream": (
        Script((Rule(Fault(Moment.BODY, after_bytes=10)),)),
        lambda s, url: raised(
            lambda: s.get(url + "/bytes/100?etag=weak", stream=True).content, requests.RequestException
        ),
    ),
}


@pytest.mark.parametrize("listening", [False, True])
@pytest.mark.parametrize("name", GIVE_UPS)
def test_one_warning_for_each_give_up(server, dial, caplog, name, listening):
    """However a call ends in vain, there is one warning; the same, whether a hook listens or not."""
    script, call = GIVE_UPS[name]
    server.play(script)
    told = []
    hook = told.append if listening else None
    call(dial(server, on_event=hook, policy=RetryPolicy(retries=1, **FAST)), server.url)
    warnings = [record for record in caplog.records if record.name == NAME]
    given_up = [event for event in told if isinstance(event, events.GaveUp)]

    assert [record.levelno for record in warnings] == [logging.WARNING]
    assert " gave up: attempt " in warnings[0].getMessage()
    assert [str(event) for event in given_up] == [warnings[0].getMessage()] * listening


@pytest.mark.parametrize("path", ["/words/3", "/status/503?times=1&id=log", "/status/404", "/bytes/100"])
def test_no_warning_for_what_succeeded(server, dial, caplog, path):
    """The control: a good call, one that recovered, an answer like any other, a body that was resumed."""
    server.play(Script((Rule(Fault(Moment.BODY, after_bytes=40), first=1, path="/bytes"),)))
    dial(server, policy=RetryPolicy(**FAST)).get(server.url + path)

    assert [record for record in caplog.records if record.name == NAME] == []


#: Ways in which a program sets up logging of its own, all of them to where its user sees it.
OWN_LOGGING = {
    "basicConfig": "logging.basicConfig()",
    "basicConfig at DEBUG": "logging.basicConfig(level=logging.DEBUG)",
    "standard output": "logging.basicConfig(stream=sys.stdout)",
    "a handler of ours": "logging.getLogger('resilient_transport').addHandler(logging.StreamHandler())",
    "by its path": "logging.basicConfig(handlers=[logging.FileHandler('/dev/stderr')])",
    "dictConfig": (
        "logging.config.dictConfig({'version': 1, 'disable_existing_loggers': False, 'root': {'handlers': "
        "['h']}, 'handlers': {'h': {'class': 'logging.StreamHandler'}}})"
    ),
    "a memory": (
        "target = logging.StreamHandler()\nmemory = logging.handlers.MemoryHandler(1, target=target)\n"
        "logging.basicConfig(handlers=[memory])"
    ),
    "a memory before what takes errors only": (
        # It does not ask for its target's level.
        "target = logging.StreamHandler()\ntarget.setLevel('ERROR')\n"
        "logging.basicConfig(handlers=[logging.handlers.MemoryHandler(1, target=target)])"
    ),
    "filters that pass it": (
        "logging.basicConfig()\nlogging.getLogger().handlers[0].addFilter(lambda record: True)\n"
        "logging.getLogger('resilient_transport').addFilter(lambda record: True)"
    ),
    "rich": "import rich.logging\nlogging.basicConfig(handlers=[rich.logging.RichHandler()])",
}
#: And ways that leave standard error to us.
ELSEWHERE = {
    "nothing": "",
    "a file": "logging.basicConfig(filename=os.devnull, level=logging.DEBUG)",
    "a handler that takes errors only": (
        "handler = logging.StreamHandler()\nhandler.setLevel('ERROR')\n"
        "logging.basicConfig(handlers=[handler])"
    ),
    "a level that takes errors only": "logging.basicConfig(level=logging.ERROR)",
    "no propagation": "logging.basicConfig()\nlogging.getLogger('resilient_transport').propagate = False",
    "a handler's filter": (
        "logging.basicConfig()\nlogging.getLogger().handlers[0].addFilter(logging.Filter('another'))"
    ),
    "the logger's filter": (
        "logging.basicConfig()\nlogging.getLogger('resilient_transport').addFilter(lambda record: False)"
    ),
    "a filter that raises": (
        "logging.basicConfig()\nlogging.getLogger().handlers[0].addFilter(lambda record: 1 / 0)"
    ),
    "a memory's filter": (
        "memory = logging.handlers.MemoryHandler(1, target=logging.StreamHandler())\n"
        "memory.addFilter(lambda record: False)\nlogging.basicConfig(handlers=[memory])"
    ),
    "another logger": "logging.getLogger('another').addHandler(logging.StreamHandler())",
}
IMPORTS = "import io, logging, logging.config, logging.handlers, os, sys\n"


def program_with(own, moment):
    """Return the program with logging of its own, set up before our import or after the mount."""
    setup = f"{IMPORTS}{own}\n"
    mounted = "resilient_transport.mount(session)\n"
    return setup + PROGRAM if moment == "before" else PROGRAM.replace(mounted, mounted + setup)


def gave_up(text):
    """Return how often a text tells that the call has given up; rich breaks its lines."""
    return " ".join(text.split()).count("gave up: attempt")


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("own", OWN_LOGGING)
def test_nothing_is_written_twice(program, own, moment):
    """RESILIENT_TRANSPORT_LOG beside a program's own logging, set up before our import or after the mount."""
    text = program_with(OWN_LOGGING[own], moment)
    for asked in ("debug", "warning"):
        said, errors = program(text, moment == "before", RESILIENT_TRANSPORT_LOG=asked)

        assert gave_up(said + errors) == 1


@pytest.mark.slow
@pytest.mark.parametrize("moment", ["before", "after"])
@pytest.mark.parametrize("own", ELSEWHERE)
def test_what_nobody_else_shows_is_written(program, own, moment):
    """The control: the program's own logging goes elsewhere, or takes less."""
    text = program_with(ELSEWHERE[own], moment)
    _, errors = program(text, moment == "before", RESILIENT_TRANSPORT_LOG="warning")

    assert gave_up(errors) == 1
    assert re.search(rf"^\d{{4}}-\S+ \S+ WARNING {NAME}: POST ", errors, re.MULTILINE)


#: What a program may have that raises whatever it is asked; whether our line can be written all the same.
BROKEN_LOGGING = {
    "standard error closed": ("sys.stderr = io.StringIO()\nsys.stderr.close()", False),
    "standard error itself closed": ("sys.stderr.close()", False),
    "its descriptor closed": ("os.close(2)", False),
    "standard error that cannot write": ("sys.stderr = object()", False),
    "no standard error": ("sys.stderr = None", False),
    "a full device": ("sys.stderr = open('/dev/full', 'w', buffering=1)", False),
    "a stream that raises": (
        "class Own(logging.Handler):\n"
        "    stream = property(lambda self: 1 / 0)\n"
        "    emit = print\n"
        "logging.getLogger().addHandler(Own())",
        True,
    ),
    "a console that raises": (
        "class Own(logging.Handler):\n"
        "    console = property(lambda self: 1 / 0)\n"
        "    emit = lambda self, record: None\n"
        "logging.getLogger().addHandler(Own())",
        True,
    ),
    "a stream that cannot be compared": (
        "class Own:\n"
        "    __eq__ = __bool__ = lambda *given: 1 / 0\n"
        "    write = lambda self, text: None\n"
        "logging.basicConfig(stream=Own())",
        True,
    ),
    "a level that cannot be compared": (
        "logging.basicConfig(filename=os.devnull)\nlogging.getLogger().handlers[0].level = None",
        True,
    ),
    "a factory of records that raises": ("logging.setLogRecordFactory(lambda *a, **k: 1 / 0)", False),
}


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["warning", "off"])
@pytest.mark.parametrize("name", BROKEN_LOGGING)
def test_what_a_program_has_broken_breaks_no_call(program, name, asked):
    """A call ends as it would without a log: nothing of somebody else's raises out of it."""
    setup, is_written = BROKEN_LOGGING[name]
    said, errors = program(IMPORTS + setup + PROGRAM, RESILIENT_TRANSPORT_LOG=asked)

    assert said.endswith("failed")
    assert "Traceback" not in errors or "--- Logging error" in errors
    assert gave_up(errors) == (is_written and asked == "warning")


@pytest.mark.parametrize("asked", ["debug", "warning", "error"])
def test_the_logger_stays_the_programs(environment, asked):
    """What the environment asks for changes neither level nor handlers."""
    log = logging.getLogger(NAME)
    before = log.level, log.handlers[:]
    environment(log=asked)
    ResilientAdapter().close()

    assert (log.level, log.handlers[:]) == before


def test_a_record_has_the_values_of_its_event(server, dial, caplog):
    """Structured: who takes records as JSON finds request, call, thread and attempt by name."""
    caplog.set_level("DEBUG", logger=NAME)
    server.play(BROKEN)
    session = dial(server, policy=RetryPolicy(retries=0))
    with pytest.raises(requests.ConnectionError):
        session.get(server.url.replace("//", "//user:s3cret@") + "/a/b?token=s3cret#s3cret")
    last = caplog.records[-1]
    told = {name: value for name, value in vars(last).items() if name.startswith("rt_")}
    plain = set(vars(logging.makeLogRecord({})))

    assert told["rt_event"] == "GaveUp"
    assert (told["rt_method"], told["rt_origin"], told["rt_path"]) == ("GET", server.url, "/a/b")
    assert (told["rt_thread"], told["rt_error"]) == ("MainThread", "ConnectionError")
    assert (told["rt_attempt"], told["rt_attempt_stage"], told["rt_attempt_status"]) == (1, "request", None)
    assert len({record.rt_call for record in caplog.records}) == 1
    assert f"(call {told['rt_call']}, MainThread)" in last.getMessage()
    assert json.loads(json.dumps(told)) == told
    assert not plain & set(told)
    assert "s3cret" not in str([vars(record) for record in caplog.records])


def test_each_thread_has_its_name(server, dial, caplog):
    """Of calls in several threads each line names its own, and its path."""
    server.play(BROKEN)
    session = dial(server, policy=RetryPolicy(retries=0))

    def call(number):
        with pytest.raises(requests.ConnectionError):
            session.get(f"{server.url}/{number}")

    threads = [threading.Thread(target=call, args=(n,), name=f"worker-{n}") for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_TIMEOUT)
    lines = caplog.messages

    assert len(lines) == 3
    for number in range(3):
        assert sum(f"/{number} (call " in line and f", worker-{number})" in line for line in lines) == 1


def secretive(event):
    """Raise an error that must not be told in full."""
    raise KeyError("s3cret")


class Secretive:
    """A hook that is an object."""

    def __call__(self, event):
        """Raise."""
        secretive(event)


@pytest.mark.parametrize("hook", [secretive, Secretive()], ids=["function", "object"])
def test_a_hook_that_raises_is_told_with_its_last_line(server, dial, caplog, hook):
    """Its file, its line, its function and the type; not the message, which may hold anything."""
    dial(server, on_event=hook).get(server.url)
    lines = [record.getMessage() for record in caplog.records]
    where = f"KeyError at {__file__}:{secretive.__code__.co_firstlineno + 2} in secretive"

    assert len(lines) >= 3
    assert all(line.endswith(where) for line in lines)
    assert all(line.startswith(f"GET {server.url}/ (call ") for line in lines)
    assert {record.rt_hook_error for record in caplog.records} == {"KeyError"}
    assert "s3cret" not in str(lines)
