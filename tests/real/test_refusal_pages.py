"""nginx refuses a client certificate by a page: it is handed out as stock has it, and told."""

import logging
import re

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, attempts_of, events, stats
from resilient_transport.call import loop
from tests.end_to_end.hearing import Heard
from tests.pool.rotation import Secret

#: With these, nginx sends statuses of its own, which no other server has.
OWN_STATUSES = """
    error_page 495 =495 /refused;
    error_page 496 =496 /missing;
    location = /refused { internal; default_type text/html; return 495 refused; }
    location = /missing { internal; default_type text/html; return 496 missing; }
"""
CERTIFICATES = {
    "refused": ("stranger_client", 495, "The SSL certificate error", "expired|valid until"),
    "missing": (None, 496, "No required SSL certificate was sent", r"none was shown\. Give one in cert="),
}


def dial(authority, name, adapter):
    """Return a session that shows a certificate, or none."""
    session = requests.Session()
    session.trust_env = False
    session.verify, session.cert = authority.ca_file, name and getattr(authority, name)
    session.mount("https://", adapter)
    return session


@pytest.mark.parametrize("case", CERTIFICATES)
@pytest.mark.parametrize("own", [False, True], ids=["400", "own status"])
@pytest.mark.parametrize("stream", [False, True])
def test_nginx_refuses_a_certificate(nginx, authority, caplog, case, own, stream):
    """The response is stock's; one warning, one event, one count and the attempts tell it.

    Of a stream only nginx's own status is told: nobody has read its body.
    """
    name, status, words, shown = CERTIFICATES[case]
    server = nginx(verify_client="on", locations=OWN_STATUSES if own else "")
    heard = Heard()
    with dial(authority, name, ResilientAdapter(on_event=heard)) as session:
        response = session.get(server.url + "/a?b=c", stream=stream)
        decision = attempts_of(response)[-1].decision
        told = heard.of(events.ClientCertificateRefused)
        body = response.content
    with dial(authority, name, HTTPAdapter()) as session:
        stock = session.get(server.url + "/a?b=c")
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    is_told = own or not stream
    page = f"{status} SSL certificate {'error' if status == 495 else 'required'}" if own else f"400 {words}"

    assert response.status_code == stock.status_code == (status if own else 400)
    assert body == stock.content
    assert response.headers.keys() == stock.headers.keys()
    assert [event.page for event in told] == [page] * is_told
    assert [record.getMessage() for record in warnings] == list(map(str, told))
    assert [record.rt_path for record in warnings] == ["/a"] * is_told
    assert (f"client certificate was refused ({page})" in decision) is is_told
    assert stats()[server.url].certificate_refusals == is_told
    assert all(re.search(shown, event.certificate) for event in told)


def test_nginx_that_is_content_says_nothing(nginx, authority, caplog):
    """The control: the right certificate, and another 400."""
    server = nginx(verify_client="on", locations="location = /bad { return 400; }")
    with dial(authority, "client", ResilientAdapter()) as session:
        statuses = [session.get(server.url + path).status_code for path in ("/", "/bad")]

    assert statuses == [200, 400]
    assert caplog.records == []
    assert stats()[server.url].certificate_refusals == 0


@pytest.mark.parametrize(("method", "is_repeated"), [("GET", True), ("POST", False)])
def test_a_page_about_a_certificate_that_was_replaced(nginx, authority, tmp_path, method, is_repeated):
    """Read again, the files say something else: what may be repeated is, and the next call is as new."""
    server = nginx(verify_client="on")
    secret = Secret(tmp_path / "secret", *authority.stranger_client, authority.ca_file)
    with requests.Session() as session:
        session.trust_env = False
        session.verify, session.cert = secret.trusted, secret.pair
        session.mount("https://", ResilientAdapter())
        refused = session.request(method, server.url)
        list(Secret.renamed(secret, *authority.client, authority.ca_file))
        found = session.request(method, server.url)
        after = session.request(method, server.url)
    attempts = attempts_of(found)

    assert (refused.status_code, len(attempts_of(refused))) == (400, 1)
    assert found.status_code == (200 if is_repeated else 400)
    assert len(attempts) == 1 + is_repeated
    assert ("sent again at once: certificate files replaced" in attempts[0].decision) is is_repeated
    assert ("client certificate was refused" in attempts[0].decision) is not is_repeated
    assert after.status_code == 200


def test_without_reading_again_the_page_is_handed_out(nginx, authority, tmp_path, monkeypatch):
    """The control."""
    server = nginx(verify_client="on")
    secret = Secret(tmp_path / "secret", *authority.stranger_client, authority.ca_file)
    monkeypatch.setattr(loop, "refused_by_page", lambda *args: None)
    with requests.Session() as session:
        session.trust_env = False
        session.verify, session.cert = secret.trusted, secret.pair
        session.mount("https://", ResilientAdapter())
        session.get(server.url)
        list(Secret.renamed(secret, *authority.client, authority.ca_file))
        statuses = [session.get(server.url).status_code for _ in range(2)]

    assert statuses == [400, 400]
