"""A program: calls to link-local addresses, which need a zone, in a network namespace of its own.

It prints, for stock and for ours, what came of each. Its interfaces are there before it is begun, since
urllib3 looks for IPv6 when it is imported.
"""

import json
import socket
import tempfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from unittest.mock import patch

import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, RetryPolicy, registry
from resilient_transport.connection import tls_connection
from resilient_transport.connection.preconnect import Route
from tests.timeouts import LONG_TIMEOUT
from tests.witness import BODY, Certificates, Witness, others_wait

ADDRESS, INTERFACE = "fe80::1", "zoned"
HERE = f"{ADDRESS}%{INTERFACE}"
NAME = "zoned.test"
#: Make an interface with a link-local address. Its other end is in the same namespace.
PREPARATION = f"""
ip link set lo up
ip link add {INTERFACE} type veth peer name other
ip link set {INTERFACE} up
ip link set other up
ip addr add {ADDRESS}/64 dev {INTERFACE} nodad
"""
#: Ours goes other ways to a connection with these, and after the reset of one.
ADAPTERS = {
    "stock": HTTPAdapter,
    "ours": ResilientAdapter,
    "ordered": lambda: ResilientAdapter(dns_order="ipv6first"),
    "deadline": lambda: ResilientAdapter(policy=RetryPolicy(deadline=LONG_TIMEOUT * 3)),
}


def resolve_names() -> None:
    """Let one name be the address, with its zone beside it, as resolvers tell it."""
    getaddrinfo, scope = socket.getaddrinfo, socket.if_nametoindex(INTERFACE)

    def resolved(host, port, *args, **values):
        if host != NAME:
            return getaddrinfo(host, port, *args, **values)
        return [(socket.AF_INET6, socket.SOCK_STREAM, 6, "", (ADDRESS, int(port), 0, scope))]

    socket.getaddrinfo = resolved


def outcome(adapter, certificates, url, proxy, calls=1):
    """What comes of calls at once."""
    with requests.Session() as session, ThreadPoolExecutor(calls) as pool:
        session.trust_env = False
        session.verify = certificates.both
        session.mount("https://", adapter)
        proxies = {"https": proxy} if proxy else {}

        def call(_):
            try:
                return session.get(url, proxies=proxies, timeout=LONG_TIMEOUT).content == BODY
            except (requests.RequestException, OSError) as error:
                return f"{type(error).__name__}: {error}"

        return list(pool.map(call, range(calls)))


def main() -> None:
    """Make the calls, and tell what came of them."""
    resolve_names()
    with ExitStack() as stack:
        certificates = Certificates(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        server = stack.enter_context(Witness(certificates.server(NAME, "127.0.0.1"), HERE))
        proxies = {
            "http": stack.enter_context(Witness(host=HERE)),
            "https": stack.enter_context(Witness(certificates.proxy(ADDRESS), HERE)),
        }
        inner = stack.enter_context(Witness(certificates.server("127.0.0.1")))
        stack.callback(registry.clear)
        ways = {
            "direct": (f"https://{NAME}:{server.port}/body", None),
            **{
                kind: (
                    f"https://127.0.0.1:{inner.port}/body",
                    f"{kind}://[{ADDRESS}%25{INTERFACE}]:{one.port}",
                )
                for kind, one in proxies.items()
            },
        }
        found = {}
        for way, (url, proxy) in ways.items():
            for name, made in ADAPTERS.items():
                registry.clear()
                resets = int(name != "stock")
                for one in (server, inner, *proxies.values()):
                    one.forget(resets=resets)
                found[f"{way}, {name}"] = outcome(made(), certificates, url, proxy)
        for one in (server, inner, *proxies.values()):
            one.forget()
        registry.clear()
        begun, begin = [], Route.begin
        with (
            patch.object(tls_connection, "is_long", lambda *_: True),
            patch.object(Route, "begin", lambda route: begun.append(begin(route)) or begun[-1]),
        ):
            adapter = ResilientAdapter(pool_maxsize=8)
            server.before = others_wait
            found["at once"] = outcome(adapter, certificates, ways["direct"][0], None, calls=6)
        found["begun ahead"] = [sock is not None for sock in begun]
        print(json.dumps(found))


if __name__ == "__main__":
    main()
