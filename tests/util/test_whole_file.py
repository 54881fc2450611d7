"""A file is written whole or not at all."""

import os
import stat

import pytest

from resilient_transport.util import whole_file
from resilient_transport.util.whole_file import probe, write_whole


def test_a_file_is_replaced(tmp_path):
    """Who has opened the old one reads on in it; nothing else is left in the folder."""
    path = tmp_path / "a.txt"
    write_whole(path, "one")
    with open(path, encoding="utf-8") as old:
        write_whole(str(path), "two \u00e9")
        was = old.read()

    assert (was, path.read_text(encoding="utf-8")) == ("one", "two \u00e9")
    assert os.listdir(tmp_path) == ["a.txt"]


def test_who_may_read_it_stays(tmp_path):
    """Nobody else may, and nobody but its owner could while it was written; the control is a new file."""
    path, new = tmp_path / "a.txt", tmp_path / "b.txt"
    path.write_text("one")
    path.chmod(0o600)
    mask = os.umask(0o022)
    try:
        for each in (path, new):
            write_whole(each, "two")
    finally:
        os.umask(mask)
    modes = [stat.S_IMODE(each.stat().st_mode) for each in (path, new)]

    assert modes == [0o600, 0o644]
    assert path.read_text() == "two"


@pytest.mark.parametrize("name", ["a" * 255, "\u20ac" * 85])
def test_a_name_may_be_as_long_as_names_are(tmp_path, name):
    """That of the temporary file is no longer."""
    probe(tmp_path / name)
    write_whole(tmp_path / name, "one")

    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("path", ["", ".", "/proc/self/fd/a.txt", "none/a.txt"])
def test_where_nothing_can_be_written(tmp_path, monkeypatch, path):
    """It is found before, as it is when something is written."""
    monkeypatch.chdir(tmp_path)
    for look in (probe, lambda path: write_whole(path, "one")):
        with pytest.raises(OSError, match="folder|such file"):
            look(path)

    assert os.listdir(tmp_path) == []


def test_a_link_stays_one(tmp_path):
    """The file that it leads to is replaced."""
    path, link = tmp_path / "a.txt", tmp_path / "b.txt"
    path.write_text("one")
    link.symlink_to(path)
    write_whole(link, "two")

    assert link.is_symlink()
    assert path.read_text() == "two"


def test_what_is_no_file_is_written_to():
    """A pipe is not renamed over."""
    reader, writer = os.pipe()
    write_whole(f"/dev/fd/{writer}", "told")
    os.close(writer)
    with open(reader, encoding="utf-8") as file:
        said = file.read()

    assert said == "told"


def test_what_cannot_be_written_changes_nothing(tmp_path, monkeypatch):
    """The old file stays, and no temporary one does."""
    path = tmp_path / "a.txt"
    path.write_text("one")

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(whole_file.os, "replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_whole(path, "two")
    with pytest.raises(FileNotFoundError):
        write_whole(tmp_path / "none" / "a.txt", "two")
    with pytest.raises(IsADirectoryError):
        write_whole(tmp_path, "two")

    assert path.read_text() == "one"
    assert os.listdir(tmp_path) == ["a.txt"]
