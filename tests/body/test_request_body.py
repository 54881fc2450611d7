"""Request bodies: sent whole, sent again whole or not at all, and in their own time."""

import array
import errno
import gc
import hashlib
import io
import itertools
import mmap
import os
import socket
import ssl
import threading
import time
import weakref
from collections import deque
from contextlib import ExitStack

import pytest
import requests
from requests.adapters import HTTPAdapter
from requests_toolbelt import MultipartEncoder, MultipartEncoderMonitor

from resilient_transport import DeadlineExceeded, ResilientAdapter, RetryPolicy, attempts_of, override
from resilient_transport.body.request_body import RequestBody, Spool, body_of, spooled
from resilient_transport.call.plan import plan_call
from resilient_transport.call.record import Record
from resilient_transport.retry.stages import Stage
from resilient_transport.testing import Fault, How, Moment, Rule, Script
from tests.end_to_end.verbatim_server import FIN, Answer, VerbatimServer, told
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

SPOOLING = RetryPolicy(retry_non_idempotent=True, spool_bytes=1000, backoff=0.0)
BODY = bytes(range(256)) * 400


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


def executed(server):
    """Length and digest of each body that the server executed."""
    return [(each.body_bytes, each.body_sha256) for each in server.executions()]


def digest(data=BODY):
    """Length and digest of a body."""
    return len(data), hashlib.sha256(data).hexdigest()


def generator():
    """Return a body that can be read once."""
    return (BODY[at : at + 1000] for at in range(0, len(BODY), 1000))


def pipe():
    """Return a file that cannot seek."""
    reader, writer = os.pipe()

    def fill():
        with os.fdopen(writer, "wb") as file:
            file.write(BODY)

    threading.Thread(target=fill).start()
    return os.fdopen(reader, "rb")


class Unseekable:
    """A file with a length that cannot seek."""

    def __init__(self):
        self._file = io.BytesIO(BODY)
        self.len = len(BODY)

    def read(self, size=-1):
        """Read."""
        return self._file.read(size)


class Lines:
    """A body that begins anew with each `iter`, which cannot be told from one that does not."""

    def __iter__(self):
        yield b"a"
        yield b"bc"


ONCE = {"generator": generator, "pipe": pipe, "unseekable": Unseekable, "iter": lambda: iter([BODY])}
FAULTS = [
    Fault(Moment.UPLOAD, after_bytes=50_000),
    Fault(Moment.REQUEST),
    Fault(Moment.EXECUTED),
    Fault(Moment.UPLOAD, How.FIN, after_bytes=50_000),
]


@pytest.mark.parametrize("make", ONCE)
@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: f"{fault.at.value}-{fault.how.value}")
def test_a_spooled_body_is_sent_again_whole(server, dial, make, fault):
    """What can be read once only is kept as it is sent: whole at each attempt, wherever one broke."""
    server.play(Script((Rule(fault, first=2),)))
    body = ONCE[make]()

    response = dial(server, policy=SPOOLING).post(server.url + "/echo", data=body)

    assert response.content == BODY
    assert set(executed(server)) == {digest()}
    assert len(attempts_of(response)) == 3
    close(body)


def close(body):
    """Close a file; whatever else it is does not need it."""
    if hasattr(body, "close"):
        body.close()


@pytest.mark.parametrize("make", ONCE)
def test_without_a_spool_it_is_not_sent_again(server, dial, make):
    """The control: touched means never again, and the reason is told."""
    server.play(Script((Rule(Fault(Moment.REQUEST), first=1),)))
    body = ONCE[make]()

    with pytest.raises(requests.ConnectionError) as caught:
        dial(server, policy=RetryPolicy(retry_non_idempotent=True)).post(server.url + "/echo", data=body)

    assert executed(server) == []
    assert "give bytes, a file or spool_bytes" in attempts_of(caught.value)[-1].decision
    close(body)


@pytest.mark.parametrize("make", ONCE)
@pytest.mark.parametrize("policy", [RetryPolicy(), SPOOLING], ids=["plain", "spooling"])
def test_a_redirect_does_not_send_it_cut_or_empty(server, dial, make, policy):
    """A 307 asks for the same body once more, and there is none: refused before anything is sent."""
    body = ONCE[make]()

    with pytest.raises(requests.exceptions.UnrewindableBodyError):
        dial(server, policy=policy).post(server.url + "/redirect?to=/echo&status=307", data=body)

    assert [size for size, _ in executed(server)] == [len(BODY)]
    close(body)


def test_stock_redirects_a_generator_empty(server, dial):
    """The control."""
    response = dial(server, HTTPAdapter()).post(
        server.url + "/redirect?to=/echo&status=307", data=generator()
    )

    assert response.ok
    assert response.content == b""


def test_a_prepared_request_is_not_sent_twice_with_half_a_body(server, dial):
    """The second call would send what is left: nothing."""
    session = dial(server)
    prepared = session.prepare_request(requests.Request("PUT", server.url + "/echo", data=generator()))
    session.send(prepared, verify=session.verify, cert=session.cert)

    with pytest.raises(requests.exceptions.UnrewindableBodyError, match="spool_bytes"):
        session.send(prepared, verify=session.verify, cert=session.cert)


def test_a_prepared_file_is_sent_twice(server, dial):
    """A file that can seek begins where it was when the request was prepared."""
    session = dial(server)
    file = io.BytesIO(b"head" + BODY)
    file.seek(4)
    prepared = session.prepare_request(requests.Request("PUT", server.url + "/echo", data=file))
    for _ in range(2):
        session.send(prepared, verify=session.verify, cert=session.cert)

    assert executed(server) == [digest()] * 2


@pytest.mark.parametrize("change", [-1, 1])
def test_a_file_that_changed_its_size_is_refused(server, dial, tmp_path, change):
    """It shrank or grew between two attempts: what would be sent is not what was meant."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), first=1),)))
    path = tmp_path / "body"
    path.write_bytes(BODY)

    class Changing(io.FileIO):
        def read(self, size=-1):
            data = super().read(size)
            if not data:
                os.truncate(path, len(BODY) + change)
            return data

    with Changing(path) as file, pytest.raises(requests.ConnectionError) as caught:
        dial(server).put(server.url + "/echo", data=file)

    assert executed(server) == [digest()]
    assert "a file whose size has changed" in attempts_of(caught.value)[-1].decision


def form():
    """Return the fields of a form with a file in it."""
    return {"name": "value", "file": ("body.bin", io.BytesIO(BODY), "application/octet-stream")}


def test_a_form_of_requests_is_sent_again(server, dial):
    """`files=` makes bytes of it."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), first=1),)))

    dial(server, policy=SPOOLING).post(server.url + "/echo", files=form())

    first, second = executed(server)
    assert first == second
    assert first[0] > len(BODY)


@pytest.mark.parametrize(
    "wrap", [lambda encoder: encoder, MultipartEncoderMonitor], ids=["plain", "monitored"]
)
@pytest.mark.parametrize("spool", [0, 1000])
def test_a_form_of_the_toolbelt(server, dial, wrap, spool):
    """It can be read once: sent again if it is spooled, and never otherwise."""
    server.play(Script((Rule(Fault(Moment.UPLOAD, after_bytes=50_000), first=1),)))
    encoder = wrap(MultipartEncoder(form()))
    expected = MultipartEncoder(
        form(),
        boundary=encoder.boundary_value
        if not hasattr(encoder, "encoder")
        else encoder.encoder.boundary_value,
    ).to_string()
    session = dial(server, policy=RetryPolicy(retry_non_idempotent=True, spool_bytes=spool, backoff=0.0))
    headers = {"Content-Type": encoder.content_type}
    if not spool:
        with pytest.raises(requests.ConnectionError):
            session.post(server.url + "/echo", data=encoder, headers=headers)
        assert executed(server) == []
        return

    response = session.post(server.url + "/echo", data=encoder, headers=headers)

    assert response.content == expected
    assert executed(server) == [digest(expected)]


def test_a_spool_keeps_what_it_gave(tmp_path):
    """A part of it may be sent, all of it again, and the source is asked once."""
    request = requests.Request("POST", "https://localhost/").prepare()
    request.body = iter([b"ab", "c\xe4", b"", None, memoryview(b"d")])
    spool = Spool(request, 2)
    pieces = iter(spool)
    begun = next(pieces) + next(pieces)

    assert begun == b"abc\xc3\xa4"
    assert spool.rewind() is None
    assert b"".join(spool) == b"abc\xc3\xa4d"
    assert spool.rewind() is None
    assert b"".join(spool) == b"abc\xc3\xa4d"
    assert spool._kept._rolled
    spool.close()
    assert spool.rewind() == "what was kept of its body is gone"


@pytest.mark.parametrize("body", [None, b"x", "x", [b"x"], io.BytesIO(b"x")])
def test_what_can_be_sent_again_is_not_spooled(body):
    """The request stays the caller's own."""
    request = requests.Request("POST", "https://localhost/", data=b"").prepare()
    request.body = body

    assert spooled(request, 1000) is request


def test_what_is_in_memory_needs_nothing_remembered():
    """All bodies in memory, and requests without one, share an object that says so; others have their own."""
    made = [body_of(requests.Request("PUT", "https://a/", data=data).prepare()) for data in (None, b"a", "b")]
    own = [body_of(requests.Request("PUT", "https://a/", data=io.BytesIO(BODY)).prepare()) for _ in range(2)]
    shared = made[0]

    assert made == [shared] * 3
    assert (shared.rewindable, shared.rewind(), shared.is_spent(Stage.BODY)) == (True, None, False)
    assert len({*own, shared}) == 3


def test_a_file_that_cannot_seek_any_more():
    """Then it is not sent again."""
    file = io.BytesIO(b"body")
    request = requests.Request("POST", "https://localhost/", data=file).prepare()
    body = RequestBody(request)
    file.close()

    assert body.rewind() == "its body cannot be rewound any more"
    assert not body.rewindable


@pytest.fixture
def hasty(authority):
    """Return a function that makes a server which answers as soon as it has the head, and closes."""
    with ExitStack() as stack:

        def make(tls, then, status=413):
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER) if tls else None
            if context is not None:
                context.load_cert_chain(*authority.server("good"))
            answer = Answer(told(f"{status} No", b"no", Content_Length="2", Connection="close"), then)
            return stack.enter_context(VerbatimServer(lambda head: answer, context))

        yield make


MAKERS = {"bytes": lambda: BODY * 100, "generator": generator, "file": lambda: io.BytesIO(BODY * 100)}


@pytest.mark.parametrize("status", [401, 413])
@pytest.mark.parametrize("make", MAKERS)
@pytest.mark.parametrize("tls", [True, False])
def test_an_early_response_is_returned(hasty, dial, server, status, make, tls):
    """The server answers and closes while the body is being sent: the answer counts, and not the EPIPE."""
    early = hasty(tls, FIN, status)
    session = dial(server)

    for _ in range(10):
        response = session.post(early.url, data=MAKERS[make]())
        assert (response.status_code, response.content) == (status, b"no")
        assert len(attempts_of(response)) == 1
    assert early.accepts == 10


class Sipper:
    """A server that takes a request in sips, with a pause before each.

    Args:
        pause: seconds before each sip.
        most: bytes after which it takes no more, and waits.
        answer: what it says then.
    """

    def __init__(self, pause, most, answer=b""):
        self._pause, self._most, self._answer = pause, most, answer
        self._listener = socket.socket()
        self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self._listener.bind(("127.0.0.1", 0))
        self._listener.listen()
        self.over = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.over.set()
        self._thread.join(LONG_TIMEOUT)
        self._listener.close()

    def _serve(self):
        client, _ = self._listener.accept()
        taken = 0
        with client:
            while taken < self._most and not self.over.wait(self._pause):
                taken += len(client.recv(min(self._most, 200_000), socket.MSG_WAITALL))
            client.sendall(self._answer)
            if taken >= self._most and self._most < LARGE:
                self.over.wait(LONG_TIMEOUT)
            else:
                client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")


LARGE = 8_000_000


@pytest.mark.slow
@pytest.mark.parametrize(
    "make", [lambda: bytes(LARGE), lambda: bytearray(LARGE), lambda: io.BytesIO(bytes(LARGE))]
)
@pytest.mark.parametrize("timeout", [(SHORT_TIMEOUT, 5), (SHORT_TIMEOUT, None), 5])
def test_a_slow_upload_is_not_bounded_by_the_connect_time_out(dial, server, make, timeout):
    """Each piece has the time that may pass between two bytes, however long all of them take."""
    with Sipper(0.02, LARGE) as sipper:
        began = time.monotonic()
        response = dial(server).put(sipper.url, data=make(), timeout=timeout)
        spent = time.monotonic() - began

    assert response.status_code == 200
    assert spent > SHORT_TIMEOUT


def test_stock_bounds_a_slow_upload_by_the_connect_time_out(dial, server):
    """The control."""
    with Sipper(0.02, LARGE) as sipper, pytest.raises(requests.ConnectionError, match="timed out"):
        dial(server, HTTPAdapter()).put(sipper.url, data=bytes(LARGE), timeout=(SHORT_TIMEOUT, 5))


@pytest.mark.parametrize("make", [lambda: bytes(LARGE), lambda: io.BytesIO(bytes(LARGE))])
def test_an_upload_that_nobody_takes_ends(dial, server, make):
    """After the time that may pass between two bytes, and not that for connecting."""
    with Sipper(0.0, 100_000) as sipper, pytest.raises(requests.ConnectionError, match="timed out"):
        dial(server, max_retries=0).put(sipper.url, data=make(), timeout=(LONG_TIMEOUT, SHORT_TIMEOUT))


@pytest.fixture
def ending_in_eof(monkeypatch):
    """Let TLS say that it met an end of file where a broken pipe is met, as some versions of OpenSSL do."""
    send = ssl.SSLSocket.send

    def as_eof(self, *args, **kwargs):
        try:
            return send(self, *args, **kwargs)
        except (BrokenPipeError, ConnectionResetError, ssl.SSLEOFError):
            error = ssl.SSLEOFError(ssl.SSL_ERROR_EOF, "EOF occurred in violation of protocol")
            error.reason = "UNEXPECTED_EOF_WHILE_READING"
            met.append(error)
            raise error from None

    met = []
    monkeypatch.setattr(ssl.SSLSocket, "send", as_eof)
    return met


def test_an_early_response_is_returned_whatever_tls_says(hasty, dial, server, ending_in_eof):
    """An end of file while sending is as good as a broken pipe."""
    early = hasty(True, FIN)
    for _ in range(5):
        assert dial(server).post(early.url, data=BODY * 100).status_code == 413
    assert ending_in_eof


def test_stock_loses_it(hasty, dial, server, ending_in_eof):
    """The control."""
    with pytest.raises(requests.exceptions.SSLError):
        dial(server, HTTPAdapter()).post(hasty(True, FIN).url, data=BODY * 100)


@pytest.mark.parametrize(
    "make", [HTTPAdapter, lambda: ResilientAdapter(max_retries=0)], ids=["stock", "ours"]
)
def test_without_an_answer_it_is_the_error_of_sending(server, dial, ending_in_eof, make):
    """The type of stock's, whose cause is what happened first."""
    server.play(Script((Rule(Fault(Moment.UPLOAD, after_bytes=1000)),)))

    with pytest.raises(requests.exceptions.SSLError) as caught:
        dial(server, make()).post(f"{server.url}/echo", data=BODY * 200)

    assert "EOF occurred in violation" in str(caught.value)
    assert server.executions() == ()


@pytest.mark.parametrize("policy", [RetryPolicy(), SPOOLING], ids=["plain", "spooling"])
@pytest.mark.parametrize(
    "error", [BrokenPipeError(errno.EPIPE, "mine"), ConnectionResetError(errno.ECONNRESET, "mine")]
)
def test_a_source_that_fails_is_not_taken_for_its_end(server, dial, policy, error):
    """What a generator raises is not what the server did: nothing cut is sent as whole, and nothing again."""

    def failing():
        yield b"first half"
        raise error

    with pytest.raises(requests.ConnectionError, match="source of the body has failed"):
        dial(server, policy=policy).put(server.url + "/echo", data=failing())

    assert executed(server) == []


def test_a_source_that_has_failed_is_not_begun_again():
    """What it gave is not all of it."""

    def failing():
        yield b"first half"
        raise LookupError

    request = requests.Request("PUT", "https://localhost/", data=failing()).prepare()
    spool = spooled(request, 10).body
    with pytest.raises(LookupError):
        list(spool)

    assert spool.rewind() == "the source of its body has failed"


@pytest.mark.parametrize("policy", [RetryPolicy(), SPOOLING], ids=["plain", "spooling"])
@pytest.mark.parametrize("make", [lambda: array.array("b", b"abc"), lambda: deque([b"a", b"b", b"c"]), Lines])
def test_a_body_that_begins_anew_is_sent_twice(server, dial, policy, make):
    """In two calls, as with stock; and as the bytes that it has."""
    session, body = dial(server, policy=policy), make()
    for _ in range(2):
        session.put(server.url + "/echo", data=body)

    assert executed(server) == [digest(b"abc")] * 2


@pytest.mark.parametrize("policy", [RetryPolicy(), SPOOLING], ids=["plain", "spooling"])
def test_what_is_no_bytes_is_refused(server, dial, policy):
    """As with stock."""
    with pytest.raises(TypeError):
        dial(server, policy=policy).put(server.url + "/echo", data=(piece for piece in [b"a", 5]))


@pytest.mark.parametrize("policy", [RetryPolicy(), SPOOLING], ids=["plain", "spooling"])
def test_a_file_that_was_moved_is_sent_from_there(server, dial, policy):
    """Whoever moves it after the request was prepared means it."""
    session = dial(server, policy=policy)
    file = io.BytesIO(b"0123456789")
    prepared = session.prepare_request(requests.Request("PUT", server.url + "/echo", data=file))
    file.seek(5)
    prepared.headers["Content-Length"] = "5"

    assert session.send(prepared, verify=session.verify, cert=session.cert).content == b"56789"


@pytest.mark.parametrize("gives", [3, 30])
def test_a_body_of_another_length_is_an_error(server, dial, gives):
    """Less would be filled up with the next request, more would be taken for one."""
    session = dial(server)
    headers = {"Content-Length": "10"}

    with pytest.raises(requests.ConnectionError, match="Content-Length"):
        session.put(server.url + "/echo", data=iter([b"x" * gives]), headers=headers)
    assert session.get(server.url + "/words/1").ok
    assert executed(server) == [(0, digest(b"")[1])]
    assert server.counts().accepts == 2


def test_an_endless_source_ends_with_the_deadline(server, dial):
    """However willing the server is."""
    with override(deadline=SHORT_TIMEOUT), pytest.raises(DeadlineExceeded):
        dial(server).put(server.url + "/echo", data=itertools.repeat(b"x" * 1000))


def test_a_body_that_was_not_touched_can_be_sent_elsewhere(server, dial, fault_server_factory):
    """A spool takes nothing before it is asked for something."""
    gone = fault_server_factory()
    gone.close()
    session, body = dial(server, policy=SPOOLING), generator()
    with override(retries=0), pytest.raises(requests.ConnectionError):
        session.put(gone.url, data=body)

    assert session.put(server.url + "/echo", data=body).content == BODY


def test_an_interrupted_body_is_touched(server, dial):
    """What is left of it is not sent as all of it."""
    session = dial(server)

    class Interrupted:
        def __init__(self):
            self.pieces = iter([b"p1", KeyboardInterrupt(), b"p3"])

        def __iter__(self):
            return self

        def __next__(self):
            piece = next(self.pieces)
            if isinstance(piece, BaseException):
                raise piece
            return piece

    body = Interrupted()
    with pytest.raises(KeyboardInterrupt):
        session.put(server.url + "/echo", data=body)
    with pytest.raises(requests.exceptions.UnrewindableBodyError):
        session.put(server.url + "/echo", data=body)


def test_an_iterator_that_takes_no_weak_reference(server, dial):
    """It is remembered as long as its request is, however many others follow; then these take its place."""
    session = dial(server)

    class Held:
        """What the iterator holds."""

        def __call__(self, piece):
            return piece

    held = Held()
    prepared = session.prepare_request(requests.Request("PUT", server.url + "/echo", data=map(held, [b"a"])))
    session.send(prepared, verify=session.verify, cert=session.cert)
    for _ in range(70):
        session.put(server.url + "/echo", data=iter([b"b"]))
    with pytest.raises(requests.exceptions.UnrewindableBodyError):
        session.send(prepared, verify=session.verify, cert=session.cert)
    reference = weakref.ref(held)
    del held, prepared
    gc.collect()

    assert reference() is None


@pytest.mark.parametrize(
    "made", [lambda: iter([b"a"]), lambda: map(bytes, [b"a"]), generator], ids=["list", "map", "generator"]
)
def test_an_iterator_is_refused_when_its_request_is_gone(server, dial, made):
    """It is at its end: the control, stock, sends a second request with nothing in it."""
    body, control = made(), made()
    session, stock = dial(server), dial(server, HTTPAdapter())
    session.put(server.url + "/echo", data=body)
    stock.put(server.url + "/echo", data=control)
    gc.collect()

    assert stock.put(server.url + "/echo", data=control).content == b""
    with pytest.raises(requests.exceptions.UnrewindableBodyError):
        session.put(server.url + "/echo", data=body)


def test_a_map_of_memory_is_sent_twice(server, dial, tmp_path):
    """It has no position of requests' own: where it was when it was sent first counts."""
    (tmp_path / "body").write_bytes(b"abcdef")
    session = dial(server)
    with (tmp_path / "body").open("r+b") as file, mmap.mmap(file.fileno(), 0) as memory:
        prepared = session.prepare_request(requests.Request("PUT", server.url + "/echo", data=memory))
        for _ in range(2):
            session.send(prepared, verify=session.verify, cert=session.cert)

    assert executed(server) == [digest(b"abcdef")] * 2


def test_what_was_spooled_is_thrown_away(server, dial):
    """With the call, and not with the response."""
    response = dial(server, policy=SPOOLING).put(server.url + "/echo", data=generator())

    assert response.content == BODY
    assert response.request.body._kept.closed


def test_an_early_answer_of_a_server_that_takes_no_more(dial, server):
    """It keeps the connection open and does not read: the answer is there when sending has taken too long."""
    with Sipper(0.0, 1000, answer=b"HTTP/1.1 413 No\r\nContent-Length: 0\r\n\r\n") as sipper:
        response = dial(server).put(sipper.url, data=bytes(LARGE), timeout=(LONG_TIMEOUT, SHORT_TIMEOUT))

    assert response.status_code == 413
    assert len(attempts_of(response)) == 1


def test_what_cannot_be_sent_again_gets_a_connection_that_was_used_just_now(server, dial):
    """As a POST does, since it can be repeated no more than that."""
    request = requests.Request("PUT", "https://localhost/", data=generator()).prepare()
    adapter = ResilientAdapter()
    plan = plan_call(request, False, None, True, None, None, adapter._options, adapter.policy)

    assert not Record(plan).trace().replayable


@pytest.mark.parametrize("error", [NotImplementedError, AttributeError])
def test_a_file_that_says_it_can_seek_and_cannot(server, dial, error):
    """It is sent, as with stock."""

    class Liar(Unseekable):
        def tell(self):
            return 0

        def seek(self, *args):
            raise error("no seek")

    assert dial(server).put(server.url + "/echo", data=Liar()).content == BODY


def test_a_file_whose_seek_says_nothing(server, dial):
    """Its size is asked for all the same."""
    server.play(Script((Rule(Fault(Moment.EXECUTED), first=1),)))

    class Quiet(io.BytesIO):
        def seek(self, *args):
            super().seek(*args)

        def read(self, size=-1):
            data = super().read(size)
            if not data and self.tell() == len(BODY):
                at = self.tell()
                self.write(b"more")
                super().seek(at)
            return data

    with pytest.raises(requests.ConnectionError) as caught:
        dial(server).put(server.url + "/echo", data=Quiet(BODY), headers={"Content-Length": str(len(BODY))})

    assert "size has changed" in attempts_of(caught.value)[-1].decision
