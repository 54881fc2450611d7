"""zeep: a SOAP client; it reads a WSDL by GET, and each of its calls is a POST."""

import pytest
import requests
import zeep

from resilient_transport import mount, override
from tests.neighbours.stand_in import EXECUTED, HANDSHAKE, Answered

WSDL = """<?xml version="1.0"?>
<definitions xmlns="http://schemas.xmlsoap.org/wsdl/" xmlns:soap="http://schemas.xmlsoap.org/wsdl/soap/"
    xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:t="urn:t" targetNamespace="urn:t">
  <types><xsd:schema targetNamespace="urn:t">
    <xsd:element name="Ask" type="xsd:string"/><xsd:element name="Answer" type="xsd:string"/>
  </xsd:schema></types>
  <message name="In"><part name="body" element="t:Ask"/></message>
  <message name="Out"><part name="body" element="t:Answer"/></message>
  <portType name="Port"><operation name="Ask">
    <input message="t:In"/><output message="t:Out"/>
  </operation></portType>
  <binding name="Binding" type="t:Port">
    <soap:binding style="document" transport="http://schemas.xmlsoap.org/soap/http"/>
    <operation name="Ask"><soap:operation soapAction="ask"/>
      <input><soap:body use="literal"/></input><output><soap:body use="literal"/></output>
    </operation>
  </binding>
  <service name="Service"><port name="Port" binding="t:Binding">
    <soap:address location="URL/soap"/>
  </port></service>
</definitions>"""
ANSWER = b"""<Envelope xmlns="http://schemas.xmlsoap.org/soap/envelope/"><Body>
<Answer xmlns="urn:t">whole</Answer></Body></Envelope>"""


@pytest.fixture
def service(stand_in):
    """A server with a WSDL, and the service that it tells of."""

    def page(asked):
        if asked.method == "GET":
            return Answered(WSDL.replace("URL", server.url).encode(), fields={"Content-Type": "text/xml"})
        return Answered(ANSWER, fields={"Content-Type": "text/xml"})

    server = stand_in(page)
    return server


def client_of(session, service):
    """A client over a session."""
    return zeep.Client(service.url + "/?wsdl", transport=zeep.Transport(session=session))


def test_the_wsdl_and_a_handshake_are_healed(way, service, trusting):
    """And then the POST goes out once."""
    session = way.prepare(trusting(requests.Session()))
    service.faults = [EXECUTED]
    with way.survives():
        client = client_of(session, service)
        service.faults = [HANDSHAKE]
        assert client.service.Ask("what?") == "whole"
        assert [asked.method for asked in service.asked] == ["GET", "GET", "POST"]


def test_a_call_is_not_repeated_unless_it_is_opted_in(way, service, trusting):
    """Only the program knows which of its service's operations may run twice."""
    session = way.prepare(trusting(requests.Session()))
    client = client_of(session, service)
    service.faults = [EXECUTED]
    with pytest.raises(requests.ConnectionError):
        client.service.Ask("what?")
    service.faults = [EXECUTED]
    with way.survives(), override(retry_non_idempotent=True):
        assert client.service.Ask("what?") == "whole"

    assert [asked.method for asked in service.asked] == ["GET"] + ["POST"] * (3 if way.heals else 2)


def test_its_timeout_holds(service, trusting):
    """`operation_timeout` becomes the call's."""
    session = trusting(requests.Session())
    adapter = mount(session)
    transport = zeep.Transport(session=session, operation_timeout=7)
    client = zeep.Client(service.url + "/?wsdl", transport=transport)
    seen = []
    send = adapter.send
    adapter.send = lambda *args, **settings: seen.append(settings["timeout"]) or send(*args, **settings)
    client.service.Ask("what?")

    assert seen == [7]
