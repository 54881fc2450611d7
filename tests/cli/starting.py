"""A program that knows nothing of this package. It starts, and fetches a page in four ways at once.

Run as `python starting.py URL CA CERT KEY WORKERS`: so many processes do that at once, or for 0 this one. Its
exit status is 1 if anything failed.
"""

import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor


def main(url, ca, cert, key, workers):
    """Fetch the page in each way, or let others do that; return the exit status."""
    command = [sys.executable, __file__, url, ca, cert, key, "0"]
    if int(workers):
        started = [subprocess.Popen(command) for _ in range(int(workers))]
        return max([one.wait() for one in started])
    settings = {"verify": ca, "cert": (cert, key), "timeout": 10}
    ways = [by_a_session, by_the_function, by_a_library, by_an_adapter_of_its_own]
    line = threading.Barrier(len(ways))
    with ThreadPoolExecutor(len(ways)) as pool:
        lost = list(filter(None, pool.map(lambda way: told(line, way, url, settings), ways)))
    print(*lost, sep="\n", file=sys.stderr)
    return int(bool(lost))


def told(line, way, url, settings):
    """Return what went wrong on one of the ways; None if nothing did."""
    line.wait()
    try:
        response = way(url + "/words/30", settings)
    except Exception as error:
        return f"{way.__name__}: {error!r}"
    return None if response.ok and len(response.content) == 179 else f"{way.__name__}: {response}"


def by_a_session(url, settings):
    """As most programs do it."""
    import requests

    with requests.Session() as session:
        return session.get(url, **settings)


def by_the_function(url, settings):
    """As scripts do it."""
    import requests

    return requests.get(url, **settings)


def by_a_library(url, settings):
    """As clients of an API do it: a session of theirs, kept in an object."""
    from requests import Session

    class Transport(Session):
        """What such a client brings."""

    class Client:
        def __init__(self):
            self.transport = Transport()
            self.transport.headers["User-Agent"] = "a library"

        def fetch(self):
            return self.transport.get(url, **settings)

    return Client().fetch()


def by_an_adapter_of_its_own(url, settings):
    """As programs do it that have met resets before."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3.util import Retry

    with requests.Session() as session:
        session.mount("https://", HTTPAdapter(max_retries=Retry(3)))
        return session.get(url, **settings)


if __name__ == "__main__":
    raise SystemExit(main(*sys.argv[1:]))
