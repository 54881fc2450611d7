"""nginx refuses a client certificate by a page: it is handed out as stock has it, and told."""

import logging
import re

import pytest
import requests
from requests.adapters import HTTPAdapter

from resilient_transport import ResilientAdapter, attempts_of, events, stats
from tests.end_to_end.hearing import Heard

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
