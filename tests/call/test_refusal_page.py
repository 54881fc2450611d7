"""A response that says that the client certificate was refused is told; no other one is taken for it."""

import json
import logging

import pytest
import requests

from resilient_transport import ResilientAdapter, attempts_of, events, stats
from resilient_transport.call.refusal_page import STATUSES
from tests.end_to_end.hearing import Heard
from tests.end_to_end.slow_calls import context_of
from tests.end_to_end.verbatim_server import Answer, VerbatimServer, told

HTML = {"Content_Type": "text/html"}
MISSING = b"400 No required SSL certificate was sent"
#: As the servers have them, word for word.
NGINX = (
    b"<html>\r\n<head><title>%s</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n"
    b"<center>%s</center>\r\n<hr><center>%s</center>\r\n</body>\r\n</html>\r\n"
)
APACHE = (
    b'<!DOCTYPE HTML PUBLIC "-//IETF//DTD HTML 2.0//EN">\n<html><head>\n<title>403 Forbidden</title>\n'
    b"</head><body>\n<h1>Forbidden</h1>\n<p>You don't have permission to access this resource.%s</p>\n"
    b"</body></html>\n"
)
NO_POST_HANDSHAKE = b"Reason: Cannot perform Post-Handshake Authentication.<br />"
HAPROXY = b"<html><body><h1>400 Bad request</h1>\nYour browser sent an invalid request.\n</body></html>\n"
REFUSALS = {
    "error": ("400 Bad Request", NGINX % (b"400 The SSL certificate error", b"The ...", b"nginx/1.22.1")),
    "missing": ("400 Bad Request", NGINX % (MISSING, b"No required ...", b"nginx")),
    "azure": ("400 Bad Request", NGINX % (MISSING, b"No ...", b"Microsoft-Azure-Application-Gateway/v2")),
    "apache": ("403 Forbidden", APACHE % NO_POST_HANDSHAKE),
    "495": ("495 ", b""),
    "496": ("496 SSL Certificate Required", b"any thing"),
    "a mark of its encoding": ("400 Bad Request", b"\xef\xbb\xbf" + NGINX % (MISSING, b"No ...", b"nginx")),
    "a comment": ("400 Bad Request", b"<!-- a > b -->\n" + NGINX % (MISSING, b"No ...", b"nginx")),
    "apache before 2.4.41": (
        "403 Forbidden",
        APACHE.replace(b"this resource.", b"/a/b\non this server.<br />\n") % NO_POST_HANDSHAKE,
    ),
}
ANSWERS = {
    "an API that quotes the page": ("400 Bad Request", json.dumps(REFUSALS["missing"][1].decode()).encode()),
    "an API's own words": ("400 Bad Request", b"The SSL certificate error"),
    "nginx of another error": ("400 Bad Request", NGINX % (b"400 Bad Request", b"Bad Request", b"nginx")),
    "nginx without TLS": (
        "400 Bad Request",
        NGINX % (b"400 The plain HTTP request was sent to HTTPS port", b"The plain ...", b"nginx"),
    ),
    "a page that speaks of it later": ("400 Bad Request", b"<html>" + b" " * 2000 + REFUSALS["missing"][1]),
    "a page with another title": ("400 Bad Request", b"<html><title>Help</title>" + MISSING + b"</html>"),
    "HAProxy": ("400 Bad request", HAPROXY),
    "Apache of another reason": ("403 Forbidden", APACHE % b""),
    "the words of nginx from Apache": ("403 Forbidden", REFUSALS["missing"][1]),
    "a page that quotes Apache": ("403 Forbidden", b"<html><body>Apache: " + NO_POST_HANDSHAKE + b"</body>"),
    "a page of Apache's that quotes it": (
        "403 Forbidden",
        APACHE % b"</p><p>Others say: " + NO_POST_HANDSHAKE,
    ),
    "a script that quotes nginx": (
        "400 Bad Request",
        b"<html><head><script>'<title>%s</title>'</script></head></html>" % MISSING,
    ),
    "a comment that quotes nginx": (
        "400 Bad Request",
        b"<!--%s--><html>" % REFUSALS["missing"][1],
    ),
    "many comments": ("400 Bad Request", b"<!---->" * 140 + b"<html>"),
    "an API's own 495": ("495 Quota", b' {"quota": "exceeded"}'),
    "an API's own 496": ("496 No Capture", b"[]"),
    "a good one": ("200 OK", REFUSALS["missing"][1]),
    "a wrong password": ("401 Unauthorized", REFUSALS["missing"][1]),
    "nothing": ("400 Bad Request", b""),
}


@pytest.fixture
def call(authority, caplog):
    """Return a function that gets one answer; it returns the response, the events and the warnings."""
    servers = []

    def get(answer, tls=True, head=False, directly=False, **values):
        status, body = answer
        fields = {**HTML, "Content_Length": str(len(body)), **values.pop("fields", {})}
        heard = Heard()
        context = context_of(authority) if tls else None
        with VerbatimServer([Answer(told(status, b"" if head else body, **fields))], context) as server:
            with requests.Session() as session:
                session.trust_env, session.verify = False, authority.ca_file
                adapter = ResilientAdapter(on_event=heard)
                session.mount("https://", adapter)
                session.mount("http://", adapter)
                if directly:
                    request = session.prepare_request(requests.Request("GET", server.url, **values))
                    response = adapter.send(request, verify=authority.ca_file)
                else:
                    response = session.request("HEAD" if head else "GET", server.url, **values)
                response.heard, response.origin = heard, server.url.rstrip("/")
                if not values.get("stream"):
                    assert head or response.content == body
            servers.append(server)
        response.warnings = [one for one in caplog.records if one.levelno == logging.WARNING]
        return response

    return get


def refusals(response):
    """Return how often a refusal was told: by events, warnings, counts and attempts."""
    decision = attempts_of(response)[-1].decision
    return (
        len(response.heard.of(events.ClientCertificateRefused)),
        len(response.warnings),
        stats()[response.origin].certificate_refusals,
        decision.count("client certificate was refused"),
    )


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("directly", [False, True])
def test_a_refusal_is_told_once(call, name, directly):
    """By an event, a warning, a count and the attempts; the response is handed out as it came."""
    assert refusals(call(REFUSALS[name], directly=directly)) == (1, 1, 1, 1)


@pytest.mark.parametrize("name", ANSWERS)
def test_another_answer_is_none(call, name):
    """The control: what only looks like one, an API's own 400 above all."""
    assert refusals(call(ANSWERS[name])) == (0, 0, 0, 0)


@pytest.mark.parametrize("name", REFUSALS)
def test_without_tls_nobody_has_refused_a_certificate(call, name):
    """The control: the same pages over plain HTTP."""
    assert refusals(call(REFUSALS[name], tls=False)) == (0, 0, 0, 0)


@pytest.mark.parametrize(("name", "number"), [("missing", 0), ("apache", 0), ("495", 1), ("496", 1)])
def test_a_stream_is_not_read_for_it(call, name, number):
    """Only the head can tell."""
    response = call(REFUSALS[name], stream=True)
    is_unread = response._content is False

    assert is_unread
    assert refusals(response) == (number, number, number, number)


@pytest.mark.parametrize(("name", "number"), [("missing", 0), ("496", 1)])
def test_an_answer_to_head_has_no_page(call, name, number):
    """Only its status can tell."""
    assert refusals(call(REFUSALS[name], head=True)) == (number, number, number, number)


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("reads", [False, True])
def test_a_hook_of_requests_sees_the_response_unread(call, name, reads):
    """What the hook, or the session after it, has read is told once, when it was read."""
    seen = []

    def hook(response, **_):
        seen.append(response._content)
        if reads:
            response.content  # noqa: B018 - reading it is the point

    response = call(REFUSALS[name], hooks={"response": hook})

    assert seen == [False]
    assert refusals(response) == (1, 1, 1, 1)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("kind", ["application/json", "text/plain", "application/octet-stream"])
@pytest.mark.parametrize("name", ["495", "496"])
def test_a_status_of_an_api_is_its_own(call, name, kind, stream):
    """nginx sends these statuses with a page; what has another type may mean anything by them."""
    assert refusals(call(REFUSALS[name], stream=stream, fields={"Content_Type": kind})) == (0, 0, 0, 0)


def test_a_body_that_is_encoded_is_left_alone(call):
    """It is not decoded for this."""
    answer = REFUSALS["missing"]

    assert refusals(call(answer, fields={"Content_Encoding": "identity"})) == (0, 0, 0, 0)


def test_the_warning_names_what_to_do(call):
    """The request, the page, the certificate that was shown or not, and the cure."""
    (warning,) = call(REFUSALS["missing"]).warnings

    assert warning.getMessage().endswith(
        "by status 400 the server, or one behind it, has refused the client certificate "
        "(400 No required SSL certificate was sent): none was shown. Give one in cert=(certificate, key)."
    )
    assert (warning.rt_event, warning.rt_attempt_status) == ("ClientCertificateRefused", 400)


def test_the_statuses_are_few():
    """No good response is looked at."""
    assert {400, 403, 495, 496} == STATUSES
