"""Libraries that wrap, patch or replace parts of requests and urllib3 still get their way."""

import gc
import ssl

import pytest
import requests

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.missing import require


@pytest.fixture(autouse=True)
def faultless(server):
    """Begin each test with a server that does nothing wrong."""
    server.play(Script())


def test_responses_answers_in_the_servers_place(server, dial):
    """`responses` patches `HTTPAdapter.send`: each attempt goes through it, and its errors are final."""
    responses = require("responses")
    session = dial(server, policy=RetryPolicy(backoff=0))

    with responses.RequestsMock() as mock:
        mock.get("https://mocked.example/", body="hello")
        mock.get("https://mocked.example/busy", status=503)
        mock.get("https://mocked.example/busy", body="free")
        mock.get("https://mocked.example/broken", body=requests.ConnectionError("made up"))
        plain = session.get("https://mocked.example/")
        busy = session.get("https://mocked.example/busy")
        with pytest.raises(requests.ConnectionError, match="made up"):
            session.get("https://mocked.example/broken")
        calls = len(mock.calls)

    assert (plain.text, busy.text) == ("hello", "free")
    assert calls == 4


def test_vcrpy_records_and_plays(server, dial, tmp_path):
    """vcrpy swaps urllib3's connection classes: what it recorded is played without a connection."""
    vcr = require("vcr")
    cassette = str(tmp_path / "cassette.yaml")
    session = dial(server)

    with vcr.use_cassette(cassette):
        recorded = session.get(server.url + "/words/3").text
    before = server.counts().requests
    with vcr.use_cassette(cassette, record_mode="none"):
        played = session.get(server.url + "/words/3").text

    assert played == recorded
    assert server.counts().requests == before


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_cachecontrol_keeps_what_came_whole(server):
    """CacheControl wraps the response in `build_response`; below it, bodies are repeated as ever."""
    cachecontrol = require("cachecontrol")

    class Cached(cachecontrol.CacheControlAdapter, ResilientAdapter):
        pass

    server.play(Script((Rule(Fault(Moment.BODY, after_bytes=5), first=1),)))
    with requests.Session() as session:
        session.trust_env = False
        session.verify, session.cert = server.authority.ca_file, server.authority.client
        session.mount("https://", Cached())
        response = session.get(server.url + "/bytes/5000")
    # CacheControl leaves the temporary file of a body that was cut to the garbage collector.
    content, attempts = response.content, attempts_of(response)
    del response
    gc.collect()

    assert len(content) == 5000
    assert len(attempts) == 2


def test_toolbelts_multipart_encoder_is_sent(server, dial):
    """A MultipartEncoder has `read` and a length, and cannot seek."""
    toolbelt = require("requests_toolbelt")
    encoder = toolbelt.MultipartEncoder({"field": "value", "file": ("name", b"x" * 1000, "text/plain")})

    response = dial(server).post(
        server.url + "/echo", data=encoder, headers={"Content-Type": encoder.content_type}
    )

    assert response.ok
    assert len(response.content) == encoder.len


def test_truststore_is_asked(server):
    """`truststore.inject_into_ssl()` replaces `ssl.SSLContext`; contexts made after it are its own."""
    truststore = require("truststore")
    truststore.inject_into_ssl()
    try:
        with requests.Session() as session:
            session.trust_env = False
            session.mount("https://", ResilientAdapter())
            with pytest.raises(requests.exceptions.SSLError):
                session.get(server.url)
            response = session.get(
                server.url + "/whoami", verify=server.authority.ca_file, cert=server.authority.client
            )
    finally:
        truststore.extract_from_ssl()

    assert response.json()["client"] is not None
    assert ssl.SSLContext.__module__ == "ssl"


def test_a_request_made_by_a_body_is_a_call_of_its_own(server, dial):
    """What a call records is its own, also when its body makes calls while it is being sent."""
    session = dial(server)
    inner = []

    def body():
        inner.append(session.get(server.url + "/words/1"))
        yield b"abc"

    outer = session.post(server.url + "/echo", data=body())

    assert outer.content == b"abc"
    assert [len(attempts_of(response)) for response in (outer, inner[0])] == [1, 1]
    assert attempts_of(inner[0])[0].bytes_out != attempts_of(outer)[0].bytes_out
