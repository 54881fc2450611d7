"""nginx, HAProxy and Redis as subprocesses: in the foreground, on loopback, in a directory of their own.

A server inherits its listening sockets. The kernel chose their ports, so no two tests can want the same one,
and connections made before the server is ready wait in the backlog instead of being refused. A server that
does not come up takes the sockets with it, since nobody else holds them.
"""

import contextlib
import csv
import dataclasses
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar, Literal

from tests.timeouts import LONG_TIMEOUT

LOOPBACK = "127.0.0.1"
#: Distributions keep the servers where users who are not root do not look.
SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
BOTH_VERSIONS = ("TLSv1.2", "TLSv1.3")


def find_binary(name: str) -> str | None:
    """Return the path of a server program, None if it is not installed."""
    return shutil.which(name, path=SEARCH_PATH)


class ServerFailed(Exception):
    """A server did not come up or did not do what it was told; its own words are in the message."""


class Server:
    """A server process. Enter it to start, leave it to end; `start` after `stop` takes the same ports."""

    binary: ClassVar[str]
    #: The address that it listens at.
    host: ClassVar[str] = LOOPBACK

    def __init__(self, directory: Path, ports: int) -> None:
        self.directory = directory
        self.process: subprocess.Popen[bytes] | None = None
        self._ports = [0] * ports

    def __enter__(self) -> "Server":
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def start(self) -> None:
        """Write the configuration, start the process and wait until it serves."""
        with contextlib.ExitStack() as ours:
            sockets = [
                ours.enter_context(socket.create_server((self.host, port), backlog=511))
                for port in self._ports
            ]
            self._ports = [sock.getsockname()[1] for sock in sockets]
            descriptors = [sock.fileno() for sock in sockets]
            command, environment = self.command(descriptors)
            output = ours.enter_context((self.directory / "output.log").open("ab"))
            self.process = subprocess.Popen(
                [*_dies_with_us(), *command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=descriptors,
                env=os.environ | environment,
            )
        try:
            self.wait_for(self.is_ready, "to be ready")
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End the process and wait for it. Open connections are cut."""
        process, self.process = self.process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(LONG_TIMEOUT)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    @property
    def pid(self) -> int:
        """The process that was started: nginx's master, HAProxy itself."""
        if self.process is None:
            raise ServerFailed(f"{self.binary} is not running: start() it first")
        return self.process.pid

    def wait_for(self, condition: Callable[[], object], what: str) -> None:
        """Poll until the condition holds; raise ServerFailed when the process dies or the time is over."""
        deadline = time.monotonic() + LONG_TIMEOUT
        while not condition():
            if self.process is None or self.process.poll() is not None:
                raise ServerFailed(f"{self.binary} ended while a test waited for it {what}:\n{self.output()}")
            if time.monotonic() > deadline:
                raise ServerFailed(f"{self.binary} took too long {what}:\n{self.output()}")
            time.sleep(0.005)

    def output(self) -> str:
        """All that the process has said so far."""
        logs = (self.directory / name for name in ("output.log", "error.log"))
        return "".join(log.read_text(errors="replace") for log in logs if log.exists())

    def program(self) -> str:
        """Return the path of the program."""
        found = find_binary(self.binary)
        if found is None:
            raise ServerFailed(f"{self.binary} is not installed")
        return found

    def command(self, descriptors: Sequence[int]) -> tuple[list[str], dict[str, str]]:
        """Write the configuration; return the command line and what to add to the environment."""
        raise NotImplementedError

    def is_ready(self) -> bool:
        """Tell whether the started process serves."""
        raise NotImplementedError


def _dies_with_us() -> list[str]:
    """Return a command prefix: should pytest be killed, the kernel ends the server too."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


@dataclasses.dataclass(frozen=True, slots=True)
class Access:
    """One request as nginx logged it."""

    status: int
    method: str
    uri: str
    #: nginx's own number of the connection: equal numbers, same connection.
    connection: int
    protocol: str
    #: The TLS session was resumed.
    resumed: bool
    #: SUCCESS, NONE or FAILED:reason.
    client: str
    #: The subject of the client's certificate, "" without one.
    subject: str
    #: The name that the TLS client asked for (SNI), "" if it named none.
    server_name: str
    #: The header X-Request-Id, "" without one.
    request_id: str


class Nginx(Server):
    """nginx with two TLS ports (`url`, `other_url`) and a plain one, serving `files`, and "ok" at /.

    `certificate` and `client_ca` are paths of PEM files: (chain, key), and the CA whose clients are let in.
    `protocols` are nginx's names. `locations` is nginx configuration for within the server; `{directory}` in
    it is the server's own. With more than one worker, `kill_worker` ends all of them.

    Without `tickets` none is sent and no session resumed, unless there is a `cache`: "shared:all:1m" resumes
    sessions that the server remembers; "none" sends tickets in TLS 1.3 that nothing accepts later.
    """

    binary = "nginx"

    def __init__(
        self,
        directory: Path,
        *,
        certificate: tuple[str | os.PathLike[str], str | os.PathLike[str]],
        client_ca: str | os.PathLike[str] | None = None,
        verify_client: Literal["on", "off", "optional"] = "off",
        protocols: Sequence[str] = BOTH_VERSIONS,
        tickets: bool = True,
        cache: str | None = None,
        keepalive_timeout: float = 60.0,
        files: Mapping[str, bytes] | None = None,
        locations: str = "",
        workers: int = 1,
    ) -> None:
        super().__init__(directory, ports=3)
        if verify_client != "off" and client_ca is None:
            raise ValueError("verify_client needs client_ca, the CA that the clients' certificates come from")
        self.certificate = certificate
        self.client_ca = client_ca
        self.verify_client = verify_client
        self.protocols = protocols
        self.tickets = tickets
        self.cache = cache
        self.keepalive_timeout = keepalive_timeout
        self.locations = locations
        self.worker_count = workers
        for name in ("root", "temp"):
            (directory / name).mkdir(exist_ok=True)
        for path, content in (files or {}).items():
            self.write(path, content)

    @property
    def port(self) -> int:
        """The TLS port."""
        return self._ports[0]

    @property
    def url(self) -> str:
        """The https URL, without a path."""
        return f"https://{self.host}:{self._ports[0]}"

    @property
    def other_url(self) -> str:
        """The https URL of the second TLS port: another origin, and the same tickets are accepted."""
        return f"https://{self.host}:{self._ports[2]}"

    @property
    def plain_url(self) -> str:
        """The http URL, without a path."""
        return f"http://{self.host}:{self._ports[1]}"

    @property
    def plain_port(self) -> int:
        """The port without TLS."""
        return self._ports[1]

    def write(self, path: str, content: bytes) -> None:
        """Put a file where the server finds it; a new content has a new ETag."""
        target = self.directory / "root" / path.lstrip("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)

    def command(self, descriptors: Sequence[int]) -> tuple[list[str], dict[str, str]]:
        """Write nginx.conf; nginx takes inherited sockets from the variable its own upgrades use."""
        self._questions = 0
        configuration = self.directory / "nginx.conf"
        configuration.write_text(self.configuration())
        inherited = "".join(f"{descriptor};" for descriptor in descriptors)
        prefix = ["-p", str(self.directory), "-e", "error.log", "-c", str(configuration)]
        return [self.program(), *prefix], {"NGINX": inherited}

    def is_ready(self) -> bool:
        """Tell whether a worker runs: the master starts one when it has all it needs."""
        return len(self.workers()) >= self.worker_count

    def workers(self) -> set[int]:
        """Return the process ids of the workers that take new connections."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        return {int(pid) for pid in children.read_text().split() if _title(pid) == "nginx: worker process"}

    def reload(self) -> None:
        """Read configuration and certificates again; return when only new workers take connections."""
        before = self.workers()
        (self.directory / "nginx.conf").write_text(self.configuration())
        os.kill(self.pid, signal.SIGHUP)
        self.wait_for(lambda: self.workers() and not self.workers() & before, "to reload")

    def kill_worker(self) -> None:
        """Kill the worker, with all its connections; return when the master has started another."""
        before = self.workers()
        for pid in before:
            os.kill(pid, signal.SIGKILL)
        self.wait_for(lambda: self.workers() and not self.workers() & before, "to replace its worker")

    def access_log(self, at_least: int = 0) -> list[Access]:
        """Return the requests so far. nginx logs after it has answered: `at_least` waits for that many."""
        if at_least:
            self.wait_for(lambda: len(self._read_log()) >= at_least, f"to log {at_least} requests")
        return self._read_log()

    def connections(self) -> int:
        """Return how many connections the ports have accepted so far, those for this question not counted."""
        self._questions += 1
        asking = http.client.HTTPConnection(self.host, self.plain_port, timeout=LONG_TIMEOUT)
        with contextlib.closing(asking):
            asking.request("GET", "/status")
            # "Active connections: 1 / server accepts handled requests / 1 1 1 / ..."
            return int(asking.getresponse().read().splitlines()[2].split()[0]) - self._questions

    def _read_log(self) -> list[Access]:
        text = (self.directory / "access.log").read_text()
        lines = (json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n"))
        return [
            Access(
                status=int(line["status"]),
                method=line["method"],
                uri=line["uri"],
                connection=int(line["connection"]),
                protocol=line["protocol"],
                resumed=line["resumed"] == "r",
                client=line["client"],
                subject=line["subject"],
                server_name=line["server_name"],
                request_id=line["request_id"],
            )
            for line in lines
        ]

    def configuration(self) -> str:
        """Return nginx.conf."""
        certificate, key = self.certificate
        client_ca = f"ssl_client_certificate {self.client_ca};" if self.client_ca else ""
        # "ssl_session_tickets off" alone still sends TLS 1.3 tickets, which nothing accepts later.
        tickets = "" if self.tickets else "ssl_session_tickets off;"
        if self.cache is not None:
            tickets += f"ssl_session_cache {self.cache};"
        elif not self.tickets:
            tickets += "ssl_conf_command NumTickets 0;"
        return f"""
            {"user root;" if os.geteuid() == 0 else ""}
            daemon off;
            worker_processes {self.worker_count};
            pid nginx.pid;
            error_log error.log notice;
            events {{ worker_connections 512; }}
            http {{
                log_format seen escape=json '{{"status": "$status", "method": "$request_method",'
                    ' "uri": "$request_uri", "connection": "$connection", "protocol": "$ssl_protocol",'
                    ' "resumed": "$ssl_session_reused", "client": "$ssl_client_verify",'
                    ' "subject": "$ssl_client_s_dn", "server_name": "$ssl_server_name",'
                    ' "request_id": "$http_x_request_id"}}';
                access_log access.log seen;
                client_body_temp_path temp/body; proxy_temp_path temp/proxy; fastcgi_temp_path temp/fastcgi;
                uwsgi_temp_path temp/uwsgi; scgi_temp_path temp/scgi;
                default_type application/octet-stream;
                keepalive_timeout {round(self.keepalive_timeout * 1000)}ms;
                server {{
                    listen {self.host}:{self._ports[0]} ssl;
                    listen {self.host}:{self._ports[1]};
                    listen {self.host}:{self._ports[2]} ssl;
                    ssl_certificate {certificate};
                    ssl_certificate_key {key};
                    {client_ca}
                    ssl_verify_client {self.verify_client};
                    ssl_protocols {" ".join(self.protocols)};
                    {tickets}
                    root root;
                    location = / {{ default_type text/plain; return 200 ok; }}
                    location = /status {{ stub_status; access_log off; }}
                    {self.locations.replace("{directory}", str(self.directory))}
                }}
            }}
        """


def _title(pid: str) -> str:
    """Return what a process calls itself: an nginx worker that is being retired says so there."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().rstrip(b"\0 ").decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


class HAProxy(Server):
    """HAProxy with one TLS port (`url`) that answers `ok` itself, or passes on to a plain `backend` port.

    With `verify_client="required"` a client without a certificate of `client_ca` gets an alert, no response.
    `reject` are conditions of `tcp-request connection reject`, such as "if TRUE"; `frontend` are more lines
    of that section, before those, and `bind` are more options of its port.
    """

    binary = "haproxy"

    def __init__(
        self,
        directory: Path,
        *,
        certificate: tuple[str | os.PathLike[str], str | os.PathLike[str]],
        client_ca: str | os.PathLike[str] | None = None,
        verify_client: Literal["none", "optional", "required"] = "none",
        protocols: Sequence[str] = BOTH_VERSIONS,
        tickets: bool = True,
        maxconn: int = 256,
        reject: Sequence[str] = (),
        frontend: Sequence[str] = (),
        bind: Sequence[str] = (),
        backend: int | None = None,
    ) -> None:
        super().__init__(directory, ports=2)
        if verify_client != "none" and client_ca is None:
            raise ValueError("verify_client needs client_ca, the CA that the clients' certificates come from")
        self.certificate = certificate
        self.client_ca = client_ca
        self.verify_client = verify_client
        self.protocols = protocols
        self.tickets = tickets
        self.maxconn = maxconn
        self.reject = reject
        self.frontend = frontend
        self.bind = bind
        self.backend = backend

    @property
    def port(self) -> int:
        """The TLS port."""
        return self._ports[0]

    @property
    def url(self) -> str:
        """The https URL, without a path."""
        return f"https://{LOOPBACK}:{self._ports[0]}"

    def command(self, descriptors: Sequence[int]) -> tuple[list[str], dict[str, str]]:
        """Write haproxy.cfg and, as HAProxy wants it, certificate and key in one file."""
        pair = self.directory / "server.pem"
        pair.write_bytes(b"\n".join(Path(part).read_bytes() for part in self.certificate))
        configuration = self.directory / "haproxy.cfg"
        configuration.write_text(self.configuration(descriptors))
        return [self.program(), "-db", "-f", str(configuration)], {} if self.tickets else self._no_tickets()

    def _no_tickets(self) -> dict[str, str]:
        # In TLS 1.3 "no-tls-tickets" makes tickets stateful, it does not end them. OpenSSL's own settings do.
        settings = self.directory / "openssl.cnf"
        settings.write_text(
            "openssl_conf = all\n[all]\nssl_conf = ssl\n[ssl]\nsystem_default = tls\n[tls]\nNumTickets = 0\n"
        )
        return {"OPENSSL_CONF": str(settings)}

    def is_ready(self) -> bool:
        """Tell whether HAProxy answers on its control port."""
        try:
            return "Name: HAProxy" in self.control("show info")
        except OSError:
            return False

    def control(self, command: str) -> str:
        """Send a command of HAProxy's runtime API, such as "disable frontend tls"; return the answer."""
        with socket.create_connection((LOOPBACK, self._ports[1]), timeout=LONG_TIMEOUT) as sock:
            sock.sendall(command.encode() + b"\n")
            with sock.makefile("rb") as answer:
                return answer.read().decode()

    def connections(self) -> int:
        """Return how many connections the TLS port has accepted so far, rejected ones included."""
        return self._counter("conn_tot")

    def rejected(self) -> int:
        """Return how many of the connections were rejected."""
        return self._counter("dcon")

    def _counter(self, name: str) -> int:
        table = csv.DictReader(self.control("show stat").removeprefix("# ").splitlines())
        return next(int(row[name]) for row in table if row["pxname"] == "tls")

    def configuration(self, descriptors: Sequence[int]) -> str:
        """Return haproxy.cfg."""
        return "\n".join(self._lines(*descriptors)) + "\n"

    def _lines(self, tls: int, control: int) -> Iterator[str]:
        yield "global"
        yield f"  stats socket fd@{control} level admin"
        yield f"  maxconn {self.maxconn}"
        yield "defaults"
        yield "  mode http"
        yield from (f"  timeout {name} 30s" for name in ("connect", "client", "server"))
        yield "frontend tls"
        yield f"  bind fd@{tls} {' '.join(self._bind_options())}"
        yield from (f"  {line}" for line in self.frontend)
        yield from (f"  tcp-request connection reject {condition}" for condition in self.reject)
        if self.backend is None:
            yield "  http-request return status 200 content-type text/plain string ok"
        else:
            yield "  default_backend origin"
            yield "backend origin"
            yield f"  server origin {LOOPBACK}:{self.backend}"

    def _bind_options(self) -> Iterator[str]:
        yield f"ssl crt {self.directory}/server.pem"
        yield f"ssl-min-ver {min(self.protocols)} ssl-max-ver {max(self.protocols)}"
        if self.client_ca:
            yield f"ca-file {self.client_ca} verify {self.verify_client}"
        if not self.tickets:
            yield "no-tls-tickets"
        yield from self.bind


class Redis(Server):
    """Redis without a disk. It cannot inherit a socket, so its port is one that was free just now."""

    binary = "redis-server"

    def __init__(self, directory: Path, *options: str) -> None:
        super().__init__(directory, ports=0)
        self.options = options
        self.port = 0

    @property
    def url(self) -> str:
        """The URL of its first database."""
        return f"redis://{LOOPBACK}:{self.port}/0"

    def start(self) -> None:
        """Start it, at the port that it had, or at a free one; another may have taken that meanwhile."""
        if not self.port:
            with contextlib.suppress(ServerFailed):
                super().start()
                return
            self.port = 0
        super().start()

    def command(self, _: Sequence[int]) -> tuple[list[str], dict[str, str]]:
        """Return the command line."""
        if not self.port:
            with socket.create_server((LOOPBACK, 0)) as free:
                self.port = free.getsockname()[1]
        at = ["--port", str(self.port), "--bind", LOOPBACK, "--dir", str(self.directory)]
        return [self.program(), *at, "--save", "", "--appendonly", "no", *self.options], {}

    def is_ready(self) -> bool:
        """Tell whether it answers."""
        try:
            return bool(self.say("PING"))
        except OSError:
            return False

    def say(self, *command: str) -> str:
        """Send a command; return the answer as it comes over the wire."""
        lines = "".join(f"${len(word.encode())}\r\n{word}\r\n" for word in command)
        with socket.create_connection((LOOPBACK, self.port), timeout=LONG_TIMEOUT) as sock:
            sock.sendall(f"*{len(command)}\r\n{lines}*1\r\n$4\r\nQUIT\r\n".encode())
            with sock.makefile("rb") as answer:
                return answer.read().decode().removesuffix("+OK\r\n")

    def kill(self) -> None:
        """End it at once: from now on its port refuses."""
        os.kill(self.pid, signal.SIGKILL)
        assert self.process is not None
        self.process.wait(LONG_TIMEOUT)
        self.process = None

    def commands(self) -> int:
        """Return how many scripts it has run so far."""
        told = self.say("INFO", "commandstats")
        return sum(
            int(line.partition("calls=")[2].partition(",")[0])
            for line in told.splitlines()
            if line.startswith(("cmdstat_evalsha:", "cmdstat_eval:"))
        )

    def accepted(self) -> int:
        """Return how many connections it has accepted so far, this one not counted."""
        told = self.say("INFO", "stats")
        return int(told.partition("total_connections_received:")[2].splitlines()[0]) - 1
