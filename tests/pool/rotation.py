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


class Secret:
    """A certificate, its key and a CA bundle at paths that stay, and ways to replace them, step by step.

    Each way is a generator, which stops after each step; with the last one they are whole.
    """

    NAMES = ("tls.crt", "tls.key", "ca.crt")

    def __init__(self, place, *files):
        """Put the first certificate, key and bundle there."""
        self.place = Path(place)
        self.place.mkdir()
        self.paths = tuple(self.place / name for name in self.NAMES)
        self.versions = 0
        for path, content in zip(self.paths, self.contents(files), strict=True):
            path.write_bytes(content)

    @property
    def pair(self):
        """The paths of certificate and key."""
        return tuple(map(str, self.paths[:2]))

    @property
    def trusted(self):
        """The path of the bundle."""
        return str(self.paths[2])

    @staticmethod
    def contents(files):
        """Return what is in these files."""
        return [Path(file).read_bytes() for file in files]

    def renamed(self, *files):
        """As careful programs do it: each file by another one that is whole. Meanwhile they do not match."""
        for file, path in zip(files, self.paths, strict=True):
            put(file, path)
            yield

    def rewritten(self, *files):
        """As an editor does it: in place, so that each is empty, then cut, then whole."""
        for content, path in zip(self.contents(files), self.paths, strict=True):
            with open(path, "wb", buffering=0) as file:
                yield
                file.write(content[:200])
                yield
                file.write(content[200:])
            yield

    def removed(self, *files):
        """As a writer does it who cleans up first."""
        for path in self.paths:
            path.unlink()
            yield
        for content, path in zip(self.contents(files), self.paths, strict=True):
            path.write_bytes(content)
            yield

    def linked(self, *files):
        """The files become links into `..data`, one after the other."""
        self._next_version(files)
        for path in self.paths:
            self._link(Path("..data", path.name), path)
            yield

    def switched(self, *files):
        """As Kubernetes does it: the links stay, and `..data` leads elsewhere, all at once."""
        before = (self.place / "..data").resolve()
        self._next_version(files)
        shutil.rmtree(before)
        yield

    def _next_version(self, files):
        self.versions += 1
        version = self.place / f"..{self.versions}"
        version.mkdir()
        for content, name in zip(self.contents(files), self.NAMES, strict=True):
            (version / name).write_bytes(content)
        self._link(Path(version.name), self.place / "..data")

    def _link(self, target, path):
        new = self.place / "..new"
        new.symlink_to(target)
        os.replace(new, path)


#: Every way, in an order in which each finds what it needs.
WAYS = (Secret.renamed, Secret.rewritten, Secret.linked, Secret.switched, Secret.removed)
