"""A program in a network namespace of its own, in which some addresses lead nowhere.

    unshare --net sh -c "MAKE_HOLES; exec python -m tests.end_to_end.black_hole_program WAY FAMILY"

They are routed to a TUN device that nobody reads. WAY is "direct" or "proxied", FAMILY "4" or "6" for that of
the black hole. It prints as JSON what calls took, in seconds, and which addresses they tried.
"""

import json
import socket
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter
from resilient_transport.connection.happy_eyeballs import Race
from resilient_transport.testing import FaultServer

#: For calls one after another, and for some at once.
NAME, OTHER = "half.test", "other-half.test"
HOLES = {"4": "192.0.2.2", "6": "2001:db8::2"}
#: Seconds to connect.
CONNECT = 2.0


#: Before Python starts: urllib3 looks for IPv6 when it is imported.
MAKE_HOLES = """set -e
ip link set lo up
ip tuntap add dev hole mode tun
ip link set hole up
ip address add 192.0.2.1/24 dev hole
ip -6 address add 2001:db8::1/64 dev hole nodad
"""


def main(way: str, family: str) -> None:
    """Make calls, and tell of them."""
    real, asked = socket.getaddrinfo, []

    def resolve(host: Any, *args: Any, **kwargs: Any) -> Any:
        found = (HOLES[family], "127.0.0.1") if host in (NAME, OTHER) else (host,)
        return [one for at in found for one in real(at, *args, **kwargs)]

    enter = Race._enter
    socket.getaddrinfo = resolve
    Race._enter = lambda self, *args: asked.append(args[1][0]) or enter(self, *args)  # type: ignore
    with FaultServer() as server, FaultServer(authority=server.authority, tls=False) as proxy:

        def session(adapter: HTTPAdapter) -> requests.Session:
            return _session(server, adapter, way)

        def timed(session: requests.Session, name: str) -> float:
            url = f"https://{'localhost' if way == 'proxied' else name}:{server.port}/"
            proxies = {"https": f"http://{name}:{proxy.port}"} if way == "proxied" else None
            began = time.monotonic()
            answer = session.get(url, headers={"Connection": "close"}, timeout=(CONNECT, 10), proxies=proxies)
            assert answer.ok
            return time.monotonic() - began

        stock = timed(session(HTTPAdapter()), NAME)
        with ThreadPoolExecutor(4) as threads:
            at_once = list(threads.map(lambda _: timed(session(ResilientAdapter()), OTHER), range(4)))
        tried_at_once, asked[:] = asked.copy(), []
        ours = session(ResilientAdapter())
        first, later = timed(ours, NAME), [timed(ours, NAME) for _ in range(3)]
    told = {"connect": CONNECT, "stock": stock, "first": first, "later": later, "tried": asked}
    print(json.dumps({**told, "at_once": at_once, "tried_at_once": tried_at_once}))


def _session(server: FaultServer, adapter: HTTPAdapter, way: str) -> requests.Session:
    session = requests.Session()
    session.trust_env, session.verify = False, server.authority.ca_file
    session.cert = server.authority.client
    session.mount("https://", adapter)
    if way == "direct":
        adapter.poolmanager.connection_pool_kw["assert_hostname"] = "localhost"
    return session


if __name__ == "__main__":
    main(*sys.argv[1:])
