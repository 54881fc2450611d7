"""What workers of other people's tools do: calls to a server that resets, over a session of the whole module.

The module is imported before the workers are forked, and has made a call then. The environment says how:
TARGET, CA, CERT and KEY, and WITH, which is "ours", or "stock", or "installed" where nobody mounts anything.
"""

import os

import requests

TARGET, WITH = os.environ["TARGET"], os.environ["WITH"]


def session_of():
    """Return a session for the server."""
    session = requests.Session()
    session.trust_env = False
    session.verify, session.cert = os.environ["CA"], (os.environ["CERT"], os.environ["KEY"])
    if WITH == "ours":
        from resilient_transport import mount

        mount(session)
    return session


def fetch(name):
    """Make one call; return what came of it."""
    try:
        response = SESSION.get(f"{TARGET}/words/30", headers={"X-Request-Id": str(name)}, timeout=10)
    except requests.RequestException as error:
        return type(error).__name__
    return "answered" if response.ok and len(response.content) == 179 else str(response.status_code)


SESSION = session_of()
#: The parent's own call, so that a connection is idle when workers are forked.
FIRST = fetch("first")


def application(environ, start_response):
    """Answer a request with what came of a call (WSGI)."""
    name = environ["PATH_INFO"].strip("/")
    said = f"{os.getpid()} {FIRST if name == 'first' else fetch(name)}".encode()
    start_response("200 OK", [("Content-Length", str(len(said)))])
    return [said]
