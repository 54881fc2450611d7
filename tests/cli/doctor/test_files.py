"""`--html` and `--har`: found to be unwritable before anything is done, written whole or not at all."""

import os
import stat

import pytest

from resilient_transport.cli.doctor.output.files import Unwritable, Wanted, wanted_files
from resilient_transport.util import whole_file
from tests.cli.doctor.sections import report, section

REPORT = report(section("tls"))


def wanted(path, content=lambda _: "new"):
    """A file to be written."""
    return Wanted("--html", str(path), content)


@pytest.mark.parametrize("before", [None, "old and longer"])
def test_it_is_written(tmp_path, before):
    """Over what was there; nothing else is left in its folder."""
    place = tmp_path / "page.html"
    if before:
        place.write_text(before, encoding="utf-8")
    one = wanted(place)
    one.probe()
    untouched = place.read_text(encoding="utf-8") if place.exists() else None
    one.write(REPORT)

    assert untouched == before
    assert place.read_text(encoding="utf-8") == "new"
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


def test_what_was_there_stays_if_writing_fails(tmp_path, monkeypatch):
    """As on a disk that is full by then."""
    place = tmp_path / "page.html"
    place.write_text("old", encoding="utf-8")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_file.os, "replace", full)
    with pytest.raises(
        Unwritable, match=r"^--html '.*page.html' cannot be written: No space left on device$"
    ):
        wanted(place).write(REPORT)

    assert [(path.name, path.read_text(encoding="utf-8")) for path in tmp_path.iterdir()] == [
        ("page.html", "old")
    ]


def test_a_link_stays_one(tmp_path):
    """What it points to is written."""
    (tmp_path / "link.html").symlink_to(tmp_path / "page.html")
    wanted(tmp_path / "link.html").write(REPORT)

    assert (tmp_path / "link.html").is_symlink()
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == "new"


def test_a_pipe_is_written_to(tmp_path):
    """It cannot be replaced: `--har /dev/stdout`, `--html >(program)`."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    try:
        wanted(pipe).probe()
        wanted(pipe).write(REPORT)

        assert os.read(reader, 100) == b"new"
        assert stat.S_ISFIFO(pipe.stat().st_mode)
    finally:
        os.close(reader)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("missing/page.html", "No such file or directory"),
        ("", "it is a folder"),
        ("a\0b", ".*embedded null .*"),
    ],
)
def test_what_cannot_be_written_is_found_before(tmp_path, path, why):
    """It names the option, and says why."""
    with pytest.raises(Unwritable, match=f"^--html .* cannot be written: {why}$"):
        wanted(f"{tmp_path}/{path}").probe()

    assert list(tmp_path.iterdir()) == []


def test_a_file_that_may_not_be_written_is_found(tmp_path, monkeypatch):
    """Although its folder would let it be replaced."""
    place = tmp_path / "page.html"
    place.touch(0o400)
    monkeypatch.setattr(whole_file.os, "access", lambda *_: False)

    with pytest.raises(Unwritable, match="it may not be written to"):
        wanted(place).probe()


def test_one_file_is_not_both(tmp_path):
    """By whatever names."""
    (tmp_path / "link").symlink_to(tmp_path / "file")

    assert len(wanted_files(f"{tmp_path}/file", f"{tmp_path}/other")) == 2
    with pytest.raises(Unwritable, match="--html and --har name the same file"):
        wanted_files(f"{tmp_path}/file", f"{tmp_path}/link")
