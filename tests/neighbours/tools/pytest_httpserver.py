"""pytest-httpserver: a server in the test's process; its handlers may reset a connection."""

import os
import socket
import struct

import pytest
import requests
from werkzeug import Response

from resilient_transport import attempts_of


@pytest.fixture
def failing_once(httpserver):
    """The tool's server; its first answer is a reset."""
    resets = [True]

    def answer(request):
        if resets:
            resets.clear()
            peer = request.environ["werkzeug.socket"]
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            os.close(peer.detach())
        return Response("whole")

    httpserver.expect_request("/words").respond_with_handler(answer)
    return httpserver


def test_a_reset_of_a_handler_is_healed(way, failing_once):
    """A closed connection takes the answer with it; the second attempt gets one."""
    with way.prepare(requests.Session()) as session:
        session.trust_env = False
        with way.survives():
            answer = session.get(failing_once.url_for("/words"))
            assert (answer.text, len(attempts_of(answer))) == ("whole", 2)
