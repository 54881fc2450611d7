"""The server's life: it starts, counts, is told what to play, and leaves nothing behind."""

import contextlib
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests

from resilient_transport.testing import Counts, Fault, FaultServer, How, Moment, Rule, Script, ServerOptions
from resilient_transport.testing.engine import peer, site, tunnel
from tests.testing.conftest import PLACES
from tests.testing.wires import (
    client_context,
    closing_all,
    dial,
    get,
    is_silent,
    post,
    read_response,
    tcp,
    tls,
    to_the_end,
)
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

ROOT = str(Path(__file__).parents[2])


@pytest.fixture(scope="module", params=PLACES)
def place(request):
    """Return where the servers of a run through this module are."""
    return request.param


def is_listening(server):
    """Tell whether someone accepts on the server's port."""
    try:
        tcp(server).close()
    except ConnectionRefusedError:
        return False
    return True


def is_alive(pid):
    """Tell whether a process exists and is no zombie."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


def test_a_server_runs_until_it_is_closed(start):
    """Its port is there and then not; to close again is harmless, to ask is refused."""
    server = start()
    assert is_listening(server)
    assert repr(server) == f"<FaultServer https://localhost:{server.port} pid {server.pid}>"
    server.close()
    server.close()

    assert not is_listening(server)
    assert repr(server) == f"<FaultServer https://localhost:{server.port} closed>"
    with pytest.raises(RuntimeError, match="the fault server is closed"):
        server.counts()


def test_closing_leaves_nothing(authority):
    """No process, no thread, no descriptor, though clients were being served, stalled and half-way in."""
    threads, descriptors = set(threading.enumerate()), set(os.listdir("/proc/self/fd"))
    script = Script((Rule(Fault(Moment.REQUEST, How.STALL), first=1),))
    with FaultServer(script, authority=authority) as server, closing_all(tls(server), tcp(server)) as socks:
        pid = server.pid
        socks[0].sendall(get("/"))
        server.wait_for(lambda counts: counts.requests == 1)
    assert set(threading.enumerate()) <= threads
    assert set(os.listdir("/proc/self/fd")) <= descriptors

    assert not is_alive(pid)


def test_closing_ends_every_connection(start):
    """Idle, stalled, slow, sending, or in its handshake: the client sees an end."""
    script = Script((Rule(Fault(Moment.REQUEST, How.STALL), skip=1, first=1),))
    with start(script, tls=False) as server:
        idle, stalled, slow, sending = socks = [tcp(server) for _ in range(4)]
        stalled.sendall(get("/"))
        slow.sendall(get("/slow/100"))
        sending.sendall(get("/bytes/50000000"))
        server.wait_for(lambda counts: counts.requests == 3)
        begun = time.monotonic()
        server.close()
        took = time.monotonic() - begun

    with closing_all(*socks):
        assert [to_the_end(sock)[1] in ("closed", "reset") for sock in socks] == [True] * 4
    assert took < LONG_TIMEOUT / 2


def test_the_server_does_not_outlive_its_parent():
    """However that ends: here by a kill."""
    code = (
        "from resilient_transport.testing import FaultServer\n"
        "import os\n"
        "server = FaultServer(tls=False)\n"
        "print(server.pid, flush=True)\n"
        "os.kill(os.getpid(), 9)\n"
    )
    parent = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout)
    deadline = time.monotonic() + LONG_TIMEOUT
    while is_alive(child) and time.monotonic() < deadline:
        pass

    assert parent.returncode == -signal.SIGKILL
    assert not is_alive(child)


def test_an_interrupt_is_the_parents_business(authority):
    """The server goes on until it is closed."""
    with FaultServer(authority=authority) as server:
        os.kill(server.pid, signal.SIGINT)

        assert server.counts() == Counts()


def test_no_key_of_the_terminal_reaches_it(authority):
    """It is in a group of its own from its first moment, when it cannot ignore an interrupt yet."""
    with FaultServer(authority=authority) as server:
        group = os.getpgid(server.pid)

    assert group == server.pid
    assert group != os.getpgid(0)


def test_a_server_that_died_is_told(authority):
    """With its status."""
    server = FaultServer(authority=authority)
    os.kill(server.pid, signal.SIGKILL)
    with contextlib.closing(server):
        for _ in range(2):
            with pytest.raises(RuntimeError, match="the fault server ended with status -9"):
                server.wait_for(lambda counts: False)

    assert not is_alive(server.pid)


def test_a_server_that_hangs_is_killed(authority, monkeypatch):
    """A parent does not wait for ever."""
    monkeypatch.setattr("resilient_transport.testing.server._END_SECONDS", SHORT_TIMEOUT)
    server = FaultServer(authority=authority)
    os.kill(server.pid, signal.SIGSTOP)
    server.close()

    assert not is_alive(server.pid)


def test_a_server_that_cannot_start_says_why(start, tmp_path, authority):
    """The reason comes from the other process; nothing is left behind."""
    (tmp_path / "bad.pem").write_text("no certificate")

    class Broken:
        ca_file = authority.ca_file

        def server(self, _kind):
            return str(tmp_path / "bad.pem"), str(tmp_path / "bad.pem")

    with pytest.raises(RuntimeError, match="the fault server cannot start: SSLError"):
        start(authority=Broken())


def test_the_server_reads_no_environment(authority, monkeypatch):
    """Neither Python's nor anyone else's settings reach it."""
    monkeypatch.setenv("PYTHONPATH", "/nonexistent")
    monkeypatch.setenv("PYTHONWARNINGS", "error")
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", "/nonexistent")
    with FaultServer(authority=authority) as server, tls(server) as sock:
        sock.sendall(get("/"))

        assert read_response(sock)[0].startswith(b"HTTP/1.1 200 OK")


def test_peers_that_misbehave_leave_no_trace_on_stderr(authority, capfd):
    """Resets, truncations and nonsense are a server's daily bread."""
    with FaultServer(authority=authority) as server:
        for said in (b"", b"nonsense", b"\x16\x03\x01"):
            with tcp(server) as sock:
                sock.sendall(said)
        with tls(server) as sock:
            sock.sendall(get("/bytes/5000000"))
        with tls(server) as sock:
            sock.sendall(b"nonsense\r\n\r\n")
            to_the_end(sock)
        server.wait_for(lambda counts: counts.accepts == 5 and counts.open_connections == 0)

    assert capfd.readouterr() == ("", "")


def test_options_are_named_one_by_one_or_together(start):
    """Fields replace those of the options given."""
    with start(Script(), ServerOptions(client_auth="none"), max_tls="1.2") as server:
        assert server.options == ServerOptions(client_auth="none", max_tls="1.2")
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        start(colour="red")


@pytest.mark.parametrize(
    "rule",
    [
        Rule(Fault(Moment.HANDSHAKE)),
        Rule(Fault(Moment.BODY, How.CORRUPT)),
        Rule(Fault(Moment.REQUEST), in_flight_over=1),
    ],
)
def test_a_plain_server_refuses_faults_of_tls(plain, rule):
    """At the start and later."""
    with pytest.raises(ValueError, match="a server without TLS cannot play"):
        plain.play(Script((rule,)))
    with pytest.raises(ValueError, match="a server without TLS cannot play"):
        FaultServer(Script((rule,)), tls=False)


@pytest.mark.parametrize(("tls_on", "scheme"), [(True, "https"), (False, "http")])
def test_the_other_loopback_address_is_served(start, session, tls_on, scheme):
    """With a certificate that names it."""
    with start(host="::1", tls=tls_on) as server:
        assert server.url == f"{scheme}://[::1]:{server.port}"
        assert session.get(server.url).status_code == 200


def test_without_an_authority_the_shared_one_is_used(authority):
    """Made on first use, also by a server that needs none."""
    with FaultServer(tls=False) as server:
        assert server.url.startswith("http://localhost:")
        assert server.authority is authority


def test_a_new_script_begins_at_one(server):
    """Counters and numbering start over; what happened before is forgotten."""
    with tls(server) as sock:
        sock.sendall(get("/status/500?times=1"))
        read_response(sock)
    server.wait_for(lambda counts: counts.open_connections == 0)
    server.play(Script((Rule(Fault(Moment.ACCEPT), first=1, skip=1),)))

    assert server.counts() == Counts()
    with tls(server) as sock:
        sock.sendall(get("/status/500?times=1"))
        assert read_response(sock)[0].startswith(b"HTTP/1.1 500")
    assert server.executions()[0].connection == 1
    with pytest.raises(ConnectionResetError):
        tls(server)


def test_open_connections_are_no_accept_of_a_new_script(server):
    """They are served on without faults, and counted."""
    with tls(server) as sock:
        server.wait_for(lambda counts: counts.handshakes == 1)
        server.play(Script((Rule(Fault(Moment.REQUEST), on_request=None),)))
        sock.sendall(get("/"))
        read_response(sock)

        assert server.counts() == Counts(requests=1, executions={"anonymous-1": 1}, open_connections=1)


def test_waiting_ends_with_the_counts_or_in_time(server):
    """The error shows the last counts."""
    with tls(server):
        assert server.wait_for(lambda counts: counts.handshakes == 1).accepts == 1
        with pytest.raises(TimeoutError, match="not within 0.0 s: accepts=1, handshakes=1, .* executions=0"):
            server.wait_for(lambda counts: counts.requests == 1, timeout=0.0)


def test_reset_peers_resets_everyone(server):
    """Idle or in the middle; and who comes later is served."""
    with closing_all(idle := tls(server), busy := tls(server), silent := tcp(server)):
        busy.sendall(post("/echo", b"x" * 100)[:-50])
        server.wait_for(lambda counts: counts.requests == 1 and counts.accepts == 3)

        assert server.reset_peers() == 3
        assert [to_the_end(sock)[1] for sock in (idle, busy, silent)] == ["reset"] * 3
    assert server.counts().open_connections == 0
    assert server.reset_peers() == 0
    with tls(server) as sock:
        sock.sendall(get("/"))
        read_response(sock)


def test_reset_peers_reaches_a_sender(plain):
    """One that waits for room because its client does not read."""
    with dial(plain) as sock:
        sock.sendall(get("/bytes/50000000"))
        plain.wait_for(lambda counts: counts.executed == 1)

        assert plain.reset_peers() == 1
        assert to_the_end(sock)[1] == "reset"


def test_close_idle_spares_the_busy(server):
    """Who waits for its next request gets a FIN; who is in the middle of one does not."""
    with closing_all(idle := tls(server), busy := tls(server)):
        idle.sendall(get("/"))
        read_response(idle)
        busy.sendall(post("/echo", b"x" * 100)[:-50])
        server.wait_for(lambda counts: counts.requests == 2)
        # The thread may still be between its answer and its wait.
        ended = 0
        while ended == 0:
            ended += server.close_idle()
        assert to_the_end(idle) == (b"", "truncated")
        busy.sendall(b"x" * 50)

        assert read_response(busy)[1] == b"x" * 100
    assert ended == 1


@pytest.mark.slow
@pytest.mark.parametrize("tls_on", [True, False])
def test_idle_connections_end_by_themselves(start, tls_on):
    """After `idle_timeout`, with a FIN; the control has none and stays."""
    with start(idle_timeout=0.05, tls=tls_on) as server, dial(server) as sock:
        sock.sendall(get("/"))
        read_response(sock)

        assert to_the_end(sock) == (b"", "truncated" if tls_on else "closed")
    with start(tls=tls_on) as server, dial(server) as sock:
        assert is_silent(sock)


def test_a_request_after_an_idle_close_meets_a_reset(start):
    """The server is gone for good, as real ones are."""
    with start(idle_timeout=0.05, tls=False) as server, dial(server) as sock:
        server.wait_for(lambda counts: counts.accepts == 1 and counts.open_connections == 0)
        sock.sendall(get("/"))
        # As soon as the reset has come, nothing can be sent.
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            sock.sendall(get("/bytes/0" + "0" * 10_000_000))


def test_without_keep_alive_every_request_has_its_connection(start, session):
    """And says so."""
    with start(keep_alive=False) as server:
        responses = [session.get(server.url) for _ in range(3)]

        assert {response.headers["Connection"] for response in responses} == {"close"}
        assert server.counts().accepts == 3


@pytest.mark.slow
def test_many_connections_at_once(fault_server):
    """Three hundred, all open together, all served."""
    context = client_context(fault_server)
    with contextlib.ExitStack() as stack:
        socks = [stack.enter_context(tls(fault_server, context)) for _ in range(300)]
        for sock in socks:
            sock.sendall(get("/words/1"))

        assert {read_response(sock)[1] for sock in socks} == {b"reset"}
        assert fault_server.counts().open_connections == 300
    assert fault_server.wait_for(lambda counts: counts.open_connections == 0).accepts == 300


@pytest.mark.slow
def test_many_clients_at_once(server, authority):
    """Threads of stock requests; every execution is in the books."""

    def work(number):
        for nth in range(10):
            requests.get(
                server.url,
                headers={"X-Request-Id": f"{number}-{nth}"},
                verify=authority.ca_file,
                cert=authority.client,
                timeout=LONG_TIMEOUT,
            )

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LONG_TIMEOUT)

    assert server.counts().executions == {f"{number}-{nth}": 1 for number in range(8) for nth in range(10)}


def test_a_client_that_does_nothing_is_given_up(start_here, monkeypatch):
    """No wait of a connection's thread is without a bound: for bytes, for room, for a tunnel."""
    monkeypatch.setattr(peer, "LIMIT", SHORT_TIMEOUT)
    monkeypatch.setattr(tunnel, "LIMIT", SHORT_TIMEOUT)
    with start_here(tls=False) as server:
        for said in (
            b"GET / HT",
            get("/bytes/50000000"),
            b"CONNECT localhost:%d HTTP/1.1\r\n\r\n" % server.port,
        ):
            with tcp(server) as sock:
                sock.sendall(said)
                counts = server.wait_for(lambda counts: counts.accepts > 0 and counts.open_connections == 0)
            server.play(Script())

    assert counts.tunnels == 1


def test_a_client_that_leaves_while_it_is_served_is_forgotten(plain):
    """By a reset, while the server sends."""
    with tcp(plain) as sock:
        sock.sendall(get("/bytes/50000000"))
        plain.wait_for(lambda counts: counts.executed == 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    plain.wait_for(lambda counts: counts.open_connections == 0)


def test_a_client_that_spoils_a_record_is_forgotten(server):
    """What cannot be decrypted ends the connection."""
    with tls(server) as sock:
        os.write(sock.fileno(), b"\x17\x03\x03\x00\x20" + b"x" * 32)
        server.wait_for(lambda counts: counts.handshakes == 1 and counts.open_connections == 0)

    assert server.counts().requests == 0


def test_accepting_survives_an_error(start_here, monkeypatch):
    """Too many open files is a bad moment, not the end."""
    real, broken = socket.socket.accept, []

    def accept(listener):
        if not broken:
            broken.append(listener)
            raise OSError("too many open files")
        return real(listener)

    with start_here(tls=False) as server:
        with tcp(server):
            server.wait_for(lambda counts: counts.accepts == 1)
            monkeypatch.setattr(socket.socket, "accept", accept)
        with tcp(server), tcp(server):
            server.wait_for(lambda counts: counts.accepts == 3)

    assert len(broken) == 1


def test_an_accept_after_the_end_is_dropped():
    """The losing side of a race, in the state it would find."""
    place = site.Site(ServerOptions(tls=False), None)
    place.start()
    place.stop()
    ours, theirs = socket.socketpair()
    with ours:
        place._accept(theirs)

        assert ours.recv(1) == b""
    assert place.ledger.counts() == Counts()


def test_a_first_question_that_never_comes(start):
    """A parent that dies at once leaves a server that never was."""
    ended = subprocess.run(
        [sys.executable, "-I", "-S", os.path.join(ROOT, "resilient_transport/testing/engine/launch.py")],
        input="",
        capture_output=True,
        text=True,
    )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
