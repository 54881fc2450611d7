"""A program that lets a call fail in each way, and writes down what is imported meanwhile.

Run as `python -m tests.end_to_end.failing_calls`; `lazy` as its argument imports something with each failure,
as the control. What it writes is JSON: how each call ended, and the modules that were looked for, by way.
"""

import importlib
import json
import socket
import sys

import requests
from requests.auth import HTTPDigestAuth

from resilient_transport import ResilientAdapter, RetryPolicy, override, registry
from resilient_transport.testing import Fault, FaultServer, Moment, Rule, Script

#: What is said to be imported late by the control.
LATE = "colorsys"
#: A response that says when to come again.
DATED = "/status/503?retry_after=Wed%2C%2021%20Oct%202015%2007%3A28%3A00%20GMT"
POLICY = RetryPolicy(retries=1, backoff=0.001, backoff_max=0.001)


class Guard:
    """Stands first in `sys.meta_path`: notes what is looked for, and finds nothing."""

    def __init__(self):
        self.sought = []

    def find_spec(self, name, path=None, target=None):
        """Note a module that was not imported before."""
        self.sought.append(name)


def rule(moment, **fault):
    """Return a script in which each request of each connection meets this."""
    on_request = None if moment in (Moment.REQUEST, Moment.BODY) else 1
    return Script((Rule(Fault(moment, **fault), on_request=on_request),))


def free_port():
    """Return a port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def ways(server):
    """Yield each way to fail: its name, what the server plays, the URL, and what the call is given."""
    url = server.url
    yield "reset in the handshake", rule(Moment.HANDSHAKE), url, {}
    yield "reset after the request", rule(Moment.REQUEST), url, {}
    yield "time-out", Script(response_delay=5.0), url, {"timeout": 0.2}
    yield "refused", Script(), f"https://127.0.0.1:{free_port()}/", {}
    yield "certificate", Script(), url, {"verify": server.authority.other_ca_file}
    yield "client certificate", Script(), url, {"cert": server.authority.stranger_client}
    yield "503", Script(), url + "/status/503", {}
    yield "503 with a date", Script(), url + DATED, {}
    yield "cut body", rule(Moment.BODY, after_bytes=10), url + "/gzip/100000", {}
    yield "deadline", Script(response_delay=5.0), url, {"deadline": 0.2}
    yield "refused while warming", Script(), f"https://127.0.0.1:{free_port()}/", {"warm": 2}
    yield "reset while warming", rule(Moment.HANDSHAKE), url, {"warm": 2}
    yield "digest", rule(Moment.REQUEST), url, {"auth": HTTPDigestAuth("user", "password")}
    yield (
        "a stream that breaks off",
        rule(Moment.BODY, after_bytes=10),
        url + "/gzip/100000",
        {"stream": True},
    )
    yield "a POST", rule(Moment.REQUEST), url, {"data": b"x"}
    yield "no certificate in the file", Script(), url, {"cert": __file__}


def ended(server, url, deadline=None, warm=0, data=None, **given):
    """Make a call in a session of its own; return its status, or the name of what it raises."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify, session.cert = server.authority.ca_file, server.authority.client
        session.mount("https://", ResilientAdapter(policy=POLICY))
        try:
            with override(deadline=deadline) if deadline else override():
                if warm:
                    return str(session.get_adapter(url).warm(url, warm, session=session))
                response = session.request("POST" if data else "GET", url, data=data, **given)
                return f"{response.status_code}" if response.content else ""
        except requests.RequestException as error:
            return type(error).__name__


def main():
    """Let one call after the other fail, each as the first of its program."""
    guard, found, ends = Guard(), {}, {}
    with FaultServer() as server:
        ResilientAdapter().close()
        planned = list(ways(server))
        sys.meta_path.insert(0, guard)
        for name, script, url, given in planned:
            server.play(script)
            ends[name] = ended(server, url, **given)
            if "lazy" in sys.argv:
                importlib.import_module(LATE)
                del sys.modules[LATE]
            found[name], guard.sought = guard.sought, []
            registry.clear()
        sys.meta_path.remove(guard)
    json.dump({"ends": ends, "imported": found}, sys.stdout)


if __name__ == "__main__":
    main()
