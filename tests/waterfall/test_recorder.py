"""`recording`: what it collects, what it forgets, and what it never has."""

import json
import threading
from urllib.parse import urlsplit

import pytest
import requests

import resilient_transport
from resilient_transport import ResilientAdapter, RetryPolicy, events, recording, registry
from resilient_transport.testing import Fault, Moment, Rule, Script
from resilient_transport.waterfall import Recording, recorder
from resilient_transport.waterfall.chart import Phase
from tests.examples import examples_of, run_example
from tests.programs import run_python
from tests.timeouts import LONG_TIMEOUT

FAST = {"backoff": 0.001, "backoff_max": 0.001}
REFUSED = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong, and end it with no subscriber."""
    server.play(Script())
    registry.clear()
    yield
    assert events.subscribers() == ()


def phases(row):
    """The phases of a row."""
    return [bar.phase for bar in row.bars]


def test_a_call_is_a_chart(server, dial):
    """With a row for each attempt, and bars for what each was busy with."""
    server.play(Script((Rule(Fault(Moment.CLIENT_HELLO), first=1),)))
    with recording() as record:
        dial(server, policy=RetryPolicy(**FAST)).get(server.url + "/bytes/100?key=s3cret")
    (chart,) = record.charts()
    failed, good = chart.rows

    assert chart.title == f"GET {server.url}/bytes/100"
    assert phases(failed)[-1] is Phase.HANDSHAKE or phases(failed)[-2:] == [Phase.HANDSHAKE, Phase.PAUSE]
    assert [bar.failed for bar in failed.bars].count(True) == 1
    assert phases(good)[-2:] == [Phase.FIRST_BYTE, Phase.BODY]
    assert (good.status, good.tls_version, good.bytes_in) == (200, "TLSv1.3", 100)
    assert repr(record) == "<Recording: 1 call, 1 with failed attempts, 0 failed>"


def test_what_comes_after_the_block_is_not_recorded(server, dial):
    """Nor what came before. What has begun in it is recorded to its end."""
    session = dial(server)
    before = session.get(server.url + "/bytes/1", stream=True)
    with recording() as record:
        stream = session.get(server.url + "/bytes/5000", stream=True)
        unread = record.charts()
    after = session.get(server.url + "/bytes/2")
    assert len(before.content + stream.content + after.content) == 5003
    (chart,) = record.charts()

    assert unread[0].rows[0].bytes_in == 0
    assert chart.rows[0].bytes_in == 5000
    assert chart.seconds > unread[0].seconds


def test_blocks_overlap(server, dial):
    """Each records what is called while it runs; whichever ends first."""
    session = dial(server)
    with recording() as outer:
        session.get(server.url)
        with recording() as inner:
            session.get(server.url)
    with recording() as other:
        session.get(server.url)

    assert (outer.total, inner.total, other.total) == (2, 1, 1)


def test_all_threads_are_recorded(server, dial):
    """Each call has the name of its thread."""
    session = dial(server)
    with recording() as record:
        threads = [
            threading.Thread(target=session.get, args=(server.url,), name=f"worker-{number}")
            for number in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert record.total == 4
    assert {chart.rows[0].label for chart in record.charts()} == {thread.name for thread in threads}


def test_an_exception_ends_a_block_as_well(server):
    """And passes."""
    with pytest.raises(ZeroDivisionError), recording():
        raise ZeroDivisionError

    assert events.subscribers() == ()


def test_other_events_are_no_calls():
    """What no call has is passed over, and so is the middle of a call whose beginning nobody has heard."""
    record = Recording()
    record._take(events.CircuitOpened("https://a.example", 1.0))
    record._take(events.AttemptStarted("https://a.example", 1, "GET", 2))
    record._take(events.RetryScheduled("https://a.example", 1, "GET", 1, 0.5, "why"))

    assert (record.total, record.charts()) == (0, ())


def test_memory_is_bounded(monkeypatch):
    """The newest calls are kept, and the newest of those in which something failed."""
    monkeypatch.setattr(recorder, "MOST_CALLS", 3)
    record = Recording()
    for number in range(1, 11):
        record._take(events.AttemptStarted("https://a.example", number, "GET", 1, path=f"/{number}"))
        error = "ConnectionError" if number in (1, 4, 5, 6) else None
        record._take(events.CallEnded("https://a.example", number, "GET", None, error))
    kept = sorted(int(chart.title.rpartition("/")[2]) for chart in record.charts())

    assert kept == [4, 5, 6, 8, 9, 10]
    assert repr(record) == "<Recording: 10 calls, 6 kept: 3 with failed attempts, 3 failed>"


@pytest.mark.parametrize(("status", "error"), [(200, None), (None, "ConnectionError")])
def test_a_call_is_kept_until_it_ends(monkeypatch, status, error):
    """However many others there were since it began: it is one call, and how it ends is noted."""
    monkeypatch.setattr(recorder, "MOST_CALLS", 3)
    record = Recording()
    for number in range(1, 11):
        record._take(events.AttemptStarted("https://a.example", number, "GET", 1, path=f"/{number}"))
        if number > 1:
            record._take(events.CallEnded("https://a.example", number, "GET", 200, None))
    before = [chart.title[-2:] for chart in record.charts()]
    record._take(events.CallEnded("https://a.example", 1, "GET", status, error))
    after = [chart.title[-2:] for chart in record.charts()]

    assert before == ["/1", "/8", "/9", "10"]
    assert after == (before if error else before[1:])
    assert record.total == 10


def test_calls_that_never_end_are_bounded(monkeypatch):
    """The hook of somebody else may keep their ends from being told."""
    monkeypatch.setattr(recorder, "MOST_CALLS", 3)
    monkeypatch.setattr(recorder, "MOST_UNDER_WAY", 5)
    record = Recording()
    for number in range(1, 11):
        record._take(events.AttemptStarted("https://a.example", number, "GET", 1))
    record._take(events.CallEnded("https://a.example", 1, "GET", 200, None))

    assert (len(record.charts()), record.total) == (5, 10)


def test_files_are_written(server, dial, tmp_path):
    """In the block and after it; the later one has more."""
    page, har = tmp_path / "page.html", tmp_path / "calls.har"
    session = dial(server)
    with recording() as record:
        record.html(page)
        empty = page.read_text(encoding="utf-8")
        session.get(server.url + "/bytes/7")
        record.har(str(har))
    session.get(server.url)
    record.html(page)
    full = page.read_text(encoding="utf-8")

    assert "0 calls." in empty
    assert "1 call, and no attempt failed." in full
    assert [entry["request"]["url"] for entry in json.loads(har.read_text())["log"]["entries"]] == [
        f"{server.url}/bytes/7"
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls.har", "page.html"]


@pytest.mark.parametrize(
    "url", ["https://[a.example/x", "https://ex\u2100mple.example/", "no URL", "a:/ //[x"]
)
def test_a_url_that_nobody_can_read(tmp_path, url):
    """It is in both files, since its call has failed; the control is what a parser says of the first."""
    request = requests.Request("GET", REFUSED).prepare()
    request.url = url
    with recording() as record, pytest.raises((ValueError, requests.RequestException)):
        ResilientAdapter(max_retries=0).send(request, timeout=LONG_TIMEOUT)
    record.html(tmp_path / "page.html")
    record.har(tmp_path / "calls.har")

    assert "1 of these ended so" in (tmp_path / "page.html").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match="IPv6"):
        urlsplit("https://[a.example/x")


@pytest.mark.parametrize("level", ["ok", "warn", "fail"])
def test_the_page_says_what_it_comes_to(server, dial, tmp_path, level):
    """All is well; a call was saved; a call has failed."""
    fault = {
        "ok": (),
        "warn": (Rule(Fault(Moment.CLIENT_HELLO), first=1),),
        "fail": (Rule(Fault(Moment.EXECUTED)),),
    }
    server.play(Script(fault[level]))
    with recording() as record:
        session = dial(server, policy=RetryPolicy(retries=1, **FAST))
        try:
            session.post(server.url)
        except requests.ConnectionError:
            assert level == "fail"
    record.html(tmp_path / "page.html")
    text = (tmp_path / "page.html").read_text(encoding="utf-8")
    said = {
        "ok": "1 call, and no attempt failed.",
        "warn": "1 call: in 1 an attempt failed, and 0 of these ended so.",
        "fail": "1 call: in 1 an attempt failed, and 1 of these ended so.",
    }

    assert f'<p class="verdict {level}">' in text
    assert said[level] in text


def test_nothing_secret_is_in_them(server, dial, tmp_path):
    """Not of the query, the userinfo, the cookies, the headers, the body; and not a passphrase."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), first=1),)))
    secret = "s3cret"
    with recording() as record:
        session = dial(server, policy=RetryPolicy(retries=1, **FAST), key_password=secret)
        session.headers["Authorization"] = f"Bearer {secret}"
        session.cookies.set("id", secret)
        url = server.url.replace("//", f"//user:{secret}@") + f"/echo?key={secret}#{secret}"
        session.get(url, headers={"X-Key": secret}, data=secret)
        with pytest.raises(requests.exceptions.InvalidSchema):
            session.get(f"socks9://user:{secret}@127.0.0.1:1/?{secret}")
        with pytest.raises(requests.RequestException):
            session.get(url, proxies={"https": f"http://user:{secret}@127.0.0.1:1"})
    record.html(tmp_path / "page.html")
    record.har(tmp_path / "calls.har")
    texts = [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()]

    assert len(texts) == 2
    assert all("/echo" in text for text in texts)
    assert not any(secret in text for text in (*texts, repr(record), repr(record.charts())))


#: A call before a fork, one in each of two children, and what each process has then.
FORKS = """
import multiprocessing, os, requests, resilient_transport
from resilient_transport import events

session = requests.Session()
resilient_transport.mount(session, max_retries=0)

def call():
    try:
        session.get("http://127.0.0.1:1/")
    except requests.ConnectionError:
        pass

def work():
    call()
    print("worker", record.total, len(events.subscribers()), flush=True)

with resilient_transport.recording() as record:
    call()
    child = os.fork()
    if not child:
        print("child", record.total, len(record.charts()), flush=True)
        call()
        print("child", record.total, len(record.charts()), flush=True)
        os._exit(0)
    os.waitpid(child, 0)
    worker = multiprocessing.get_context("fork").Process(target=work)
    worker.start()
    worker.join()
print("parent", record.total, len(record.charts()), flush=True)
"""


@pytest.mark.slow
def test_a_child_starts_empty():
    """What is forked goes on with a recording of its own; a worker never leaves the block, and has none."""
    ran = run_python("-W", "ignore", "-c", FORKS)

    assert ran.stdout.splitlines() == ["child 0 0", "child 1 1", "worker 0 0", "parent 1 1"]


@pytest.mark.slow
def test_what_only_writing_needs_comes_with_it():
    """Neither the package nor a recording imports pages, HARs or charts; the control writes one."""
    program = (
        "import sys, requests, resilient_transport as ours, os\n"
        "def late(): return sorted(n for n in sys.modules if 'waterfall.' in n)\n"
        "with ours.recording() as record: pass\n"
        "print(*late())\n"
        "record.html(os.devnull)\n"
        "print('resilient_transport.waterfall.page' in late())\n"
    )
    first, second = run_python("-c", program).stdout.splitlines()

    assert first.split() == [f"resilient_transport.waterfall.{name}" for name in ("call_notes", "recorder")]
    assert second == "True"


def test_the_example_of_the_guide(server, tmp_path, monkeypatch, capsys):
    """It runs as it stands, and writes both files."""
    (example,) = examples_of("docs/waterfall.md")
    monkeypatch.chdir(tmp_path)
    names = run_example(example, server)
    names["session"].close()

    assert capsys.readouterr().out == "<Recording: 1 call, 0 with failed attempts, 0 failed>\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["calls.har", "calls.html"]


def test_the_class_has_a_place():
    """For who wants to write its name."""
    with recording() as record:
        assert type(record) is resilient_transport.waterfall.Recording is Recording
