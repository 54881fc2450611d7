"""Secrets wherever a call can have one, and a search through all that is told of it."""

import base64
import pickle
from pathlib import Path

from resilient_transport import attempts_of, registry, stats
from resilient_transport.testing import Authority
from tests.end_to_end.hearing import Heard

PLACES = (
    "authorization", "cookie", "header", "query", "userinfo", "proxy", "body", "location", "idempotency",
    "digest", "setting",
)  # fmt: skip
#: No part of one is in another, or in anything else.
SECRETS = {name: f"s3cret-{name}-8f14e45f" for name in PLACES}
HEADERS = {
    "Authorization": f"Bearer {SECRETS['authorization']}",
    "X-Token": SECRETS["header"],
    "Idempotency-Key": SECRETS["idempotency"],
}


def key_password():
    """What opens the encrypted key; importable, so that an adapter with it pickles."""
    return Authority.shared().key_password


class Planted:
    """A session with secrets in it, and what is told of its calls.

    Args:
        session: whose adapter has the hook.
        server: where it calls.
        heard: the hook.
        proxy: a proxy, if any.
        userinfo: put credentials into the URL, which takes the place of the Authorization header.
    """

    def __init__(self, session, server, heard, proxy=None, userinfo=False):
        self.session, self.server, self.heard = session, server, heard
        session.cert = (server.authority.client[0], server.authority.encrypted_key)
        session.headers.update(HEADERS)
        session.cookies.set("session", SECRETS["cookie"])
        if proxy is not None:
            session.proxies["https"] = with_userinfo(proxy.url, "proxy")
        self.base = with_userinfo(server.url, "userinfo") if userinfo else server.url
        #: Texts and pickles that are to be searched.
        self.told = []

    def url(self, path="/"):
        """Return a URL with a secret query."""
        return f"{self.base}{path}{'&' if '?' in path else '?'}token={SECRETS['query']}"

    def call(self, method="GET", path="/", **values):
        """Make a call, however it ends, and remember what is told of it; return what came."""
        if method == "POST":
            values.setdefault("data", SECRETS["body"])
        try:
            outcome = self.session.request(method, self.url(path), **values)
            outcome.content  # noqa: B018 - reading it is a part of it
        except Exception as error:
            outcome = error
        self.remember(outcome)
        return outcome

    def remember(self, outcome):
        """Remember what an outcome tells, and what tells of the process."""
        self.told += [text for event in self.heard for text in (str(event), repr(event))]
        self.told += [pickle.dumps(event) for event in self.heard]
        self.told += of_attempts(outcome)
        if isinstance(outcome, BaseException):
            self.told += of_errors(outcome)
        adapter = self.session.get_adapter(self.server.url)
        self.told += [repr(adapter), repr(adapter.policy), repr(registry), repr(stats())]
        self.told += [pickle.dumps(adapter), stats().prometheus()]

    def leaks(self, *more):
        """Return which secrets are in what was told, and where."""
        texts = [text.encode() if isinstance(text, str) else text for text in (*self.told, *more)]
        return {(name, text) for text in texts for name, secret in needles(self.server) if secret in text}


def with_userinfo(url, name):
    """Return a URL with credentials."""
    return url.replace("//", f"//user:{SECRETS[name]}@")


def needles(server):
    """Return all that must not be found: secrets, what Basic authentication makes of them, and the key."""
    found = [(name, secret.encode()) for name, secret in SECRETS.items()]
    found += [
        (name, base64.b64encode(f"user:{SECRETS[name]}".encode()).rstrip(b"="))
        for name in ("userinfo", "proxy")
    ]
    found.append(("key password", server.authority.key_password.encode()))
    for path in (server.authority.client[1], server.authority.encrypted_key):
        found += [("key", line) for line in Path(path).read_bytes().splitlines()[1:-1]]
    return found


def of_attempts(outcome):
    """Return what the attempts of an outcome tell."""
    attempts = attempts_of(outcome)
    return [str(attempts), repr(attempts), pickle.dumps(attempts)]


def of_errors(error):
    """Return message, name and notes of an exception, and of each one in its chain."""
    told, ahead, seen = [], [error], set()
    while ahead:
        found = ahead.pop()
        if id(found) in seen:
            continue
        seen.add(id(found))
        told += [str(found), repr(found), *getattr(found, "__notes__", ())]
        inner = (*found.args, found.__cause__, found.__context__, getattr(found, "reason", None))
        ahead += [each for each in inner if isinstance(each, BaseException)]
    return told


def planted(dial, server, proxy=None, userinfo=False, **settings):
    """Return a session with secrets in it."""
    heard = Heard()
    settings = {"key_password": key_password, **settings}
    session = dial(server, on_event=Silent(heard), **settings)
    return Planted(session, server, heard, proxy, userinfo)


class Silent:
    """A hook that pickles, and leaves what it has heard behind."""

    def __init__(self, heard=None):
        self._heard = heard

    def __call__(self, event):
        """Hand on an event."""
        self._heard(event)

    def __reduce__(self):
        return Silent, ()
