"""A program that makes calls, with something in the process that came first, and says what became of them.

Run as `python -m tests.neighbours.calls FIRST WITH URL CA CERT KEY`: FIRST is Python that is run before all
else, WITH is "ours" or "stock". What it writes is JSON.
"""

import json
import sys
from contextlib import nullcontext

FIRST, WITH, URL, CA, CERT, KEY = sys.argv[1:]
exec(FIRST, {})

import requests  # noqa: E402


def session_of(verify=CA):
    """Return a session for the server."""
    session = requests.Session()
    session.trust_env = False
    session.verify, session.cert = verify, (CERT, KEY)
    if WITH == "ours":
        from resilient_transport import mount

        mount(session)
    return session


def installed():
    """Install the transport, for the calls of a block; stock has nothing to install."""
    if WITH == "ours":
        from resilient_transport import install

        return install()
    return nullcontext()


def told(call):
    """Return what came of a call: the client that the server has seen, or the type of the exception."""
    try:
        return call().json()["client"]
    except Exception as error:
        return type(error).__name__


session = session_of()
said = [told(lambda: session.get(URL + "/whoami")) for _ in range(3)]
said.append(session.post(URL + "/echo", data=b"x" * 200_000).text.count("x"))
said.append(len(session.get(URL + "/bytes/300000").content))
with installed():
    said.append(told(lambda: requests.get(URL + "/whoami", verify=CA, cert=(CERT, KEY))))
said.append(told(lambda: session_of(verify=True).get(URL + "/whoami")))
print(json.dumps(said))
