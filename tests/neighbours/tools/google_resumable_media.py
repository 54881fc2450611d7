"""google-resumable-media: uploads and downloads in chunks, which have repetitions of their own.

These are turned off here, so that it is the transport's that are seen.
"""

import base64
import gzip
import hashlib
import io
import random
import re

import pytest
import requests
from google.resumable_media.common import RetryStrategy
from google.resumable_media.requests import ChunkedDownload, Download, RawDownload, ResumableUpload
from urllib3.exceptions import HTTPError

from tests.neighbours.stand_in import BODY, EXECUTED, HANDSHAKE, Answered, told_as_json

#: The tool wants multiples of 256 kB.
CHUNK = 262144
DATA = random.Random(0).randbytes(2 * CHUNK + 1000)


class Bucket:
    """Google's storage: uploads by sessions, and downloads by ranges."""

    def __init__(self):
        self.sessions = 0
        self.stored = b""
        self.is_zipped = False

    def page(self, asked):
        """Answer as the storage does."""
        if asked.method == "POST":
            self.sessions += 1
            return Answered(fields={"Location": f"{self.url}/session/{self.sessions}"})
        return self.take(asked) if asked.method == "PUT" else self.give(asked)

    def take(self, asked):
        """Take a chunk. What is stored already is passed over, as the storage says that it does."""
        first, size = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", asked.fields["content-range"]).groups()
        assert int(first) <= len(self.stored)
        self.stored += asked.body[len(self.stored) - int(first) :]
        if size != "*" and len(self.stored) == int(size):
            return told_as_json({"size": size})
        return Answered(status=308, fields={"Range": f"bytes=0-{len(self.stored) - 1}"})

    def give(self, asked):
        """Give a range, with the checksum of all."""
        data = gzip.compress(DATA, mtime=0) if self.is_zipped else DATA
        fields = {
            "ETag": '"1"',
            "Accept-Ranges": "bytes",
            "X-Goog-Hash": "md5=" + base64.b64encode(hashlib.md5(data).digest()).decode(),
        }
        if self.is_zipped:
            fields["Content-Encoding"] = "gzip"
        if "range" not in asked.fields:
            return Answered(data, fields=fields)
        first, last = re.fullmatch(r"bytes=(\d+)-(\d*)", asked.fields["range"]).groups()
        part = data[int(first) : int(last or len(data)) + 1]
        told = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
        return Answered(part, 206, {**fields, "Content-Range": told})


@pytest.fixture
def bucket(stand_in):
    """An empty one."""
    bucket = Bucket()
    bucket.server = stand_in(bucket.page)
    bucket.url = bucket.server.url
    return bucket


@pytest.fixture
def session(way, trusting):
    """A session for it."""
    return way.prepare(trusting(requests.Session()))


def once(tool):
    """Turn off the tool's own repetitions."""
    tool._retry_strategy = RetryStrategy(max_retries=0)
    return tool


@pytest.mark.parametrize("fault", [HANDSHAKE, EXECUTED])
def test_an_upload_in_chunks_is_healed(fault, way, bucket, session):
    """Each chunk is a PUT, which says where it belongs: one that was stored before is stored once."""
    upload = once(ResumableUpload(bucket.url + "/upload", CHUNK))
    upload.initiate(session, io.BytesIO(DATA), {"name": "mine"}, "application/octet-stream")
    if fault == HANDSHAKE:
        session.close()
    bucket.server.faults = [fault]
    with way.survives():
        while not upload.finished:
            upload.transmit_next_chunk(session)
        assert bucket.stored == DATA

    assert bucket.sessions == 1


def test_an_upload_is_not_begun_twice(way, bucket, session):
    """That is a POST, which the tool may repeat by itself."""
    bucket.server.faults = [EXECUTED]
    upload = once(ResumableUpload(bucket.url + "/upload", CHUNK))
    with pytest.raises(requests.ConnectionError):
        upload.initiate(session, io.BytesIO(DATA), {"name": "mine"}, "application/octet-stream")

    assert bucket.sessions == 1


@pytest.mark.parametrize("is_zipped", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("kind", [Download, RawDownload])
def test_a_download_is_resumed(kind, is_zipped, way, bucket, session):
    """The tool has put a decoder of its own under its stream; what is cut comes whole, with its checksum."""
    bucket.is_zipped = is_zipped
    bucket.server.faults = [BODY]
    file = io.BytesIO()
    with way.survives(requests.RequestException, HTTPError):
        once(kind(bucket.url + "/download", stream=file, checksum="md5")).consume(session)
        data = file.getvalue()
        assert (gzip.decompress(data) if is_zipped and kind is RawDownload else data) == DATA
        assert bucket.server.asked[-1].fields["if-range"] == '"1"'


def test_a_download_in_chunks_is_healed(way, bucket, session):
    """Each chunk is a GET with a range of the tool's own, inside which it is resumed."""
    file = io.BytesIO()
    download = once(ChunkedDownload(bucket.url + "/download", CHUNK, file))
    bucket.server.faults = [EXECUTED]
    with way.survives(requests.RequestException, HTTPError):
        download.consume_next_chunk(session)
        bucket.server.faults = [BODY]
        while not download.finished:
            download.consume_next_chunk(session)
        assert file.getvalue() == DATA
