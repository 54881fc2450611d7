"""Certificate files that are replaced, and who is seen on the wire afterwards."""

import os
import shutil
from pathlib import Path

import requests

from resilient_transport import ResilientAdapter
from resilient_transport.pool.identity import Sources


class Mounted:
    """A certificate and its key as Kubernetes mounts them: links into `..data`, which is a link itself."""

    def __init__(self, place, **versions):
        """Put each version, a pair of files, into a directory of its own."""
        self.place = Path(place)
        for name, pair in versions.items():
            (self.place / name).mkdir(parents=True)
            for path, target in zip(pair, ("tls.crt", "tls.key"), strict=True):
                shutil.copy(path, self.place / name / target)
        self.turn(next(iter(versions)))
        for target in ("tls.crt", "tls.key"):
            (self.place / target).symlink_to(Path("..data", target))

    def turn(self, name):
        """Switch to another version, all at once."""
        (self.place / "..new").symlink_to(name)
        os.replace(self.place / "..new", self.place / "..data")

    @property
    def current(self):
        """The paths that follow the switch."""
        return str(self.place / "tls.crt"), str(self.place / "tls.key")

    def fixed(self, name):
        """The paths of one version, which no switch changes."""
        return str(self.place / name / "tls.crt"), str(self.place / name / "tls.key")


def put(source, target):
    """Replace a file as careful programs do: at once, by another one."""
    shutil.copy(source, f"{target}.new")
    os.replace(f"{target}.new", target)
    return str(target)


def settings_of(authority, pair):
    """Return what a pool says of its TLS: a trusted authority and a client certificate."""
    return {"ca_certs": authority.ca_file, "cert_file": pair[0], "key_file": pair[1]}


def whoami(server, pair, **settings):
    """Return the name in the certificate that the server saw, of a session and an adapter of its own."""
    with requests.Session() as session:
        session.trust_env = False
        session.verify, session.cert = server.authority.ca_file, pair
        session.mount("https://", ResilientAdapter(**settings))
        return session.get(server.url + "/whoami").json()["client"]


def at_step(monkeypatch, step, act, place):
    """Have something happen once, before or after a step of the building: "before read", "after _load".

    Only building with files of this place counts: threads that other tests have left may build, too.
    """
    when, name = step.split()
    stock, ahead = getattr(Sources, name), [act]

    def stepping(self, *args):
        mine = str(place) in repr(self)
        if when == "before" and mine and ahead:
            ahead.pop()()
        result = stock(self, *args)
        if when == "after" and mine and ahead:
            ahead.pop()()
        return result

    monkeypatch.setattr(Sources, name, stepping)
    return ahead


def without_files_in_memory(monkeypatch):
    """Have OpenSSL read files by their names, as on systems other than Linux."""

    def memfd_create(*args):
        raise OSError("no files in memory")

    monkeypatch.setattr(os, "memfd_create", memfd_create, raising=False)
