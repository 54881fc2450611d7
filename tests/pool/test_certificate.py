"""What is read in a certificate is what OpenSSL reads; nothing in a file makes it raise."""

import random
import ssl
from datetime import datetime, timedelta, timezone
from ipaddress import ip_address
from pathlib import Path

import certifi
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID, NameOID

from resilient_transport.pool.certificate import chain_in, from_der
from resilient_transport.util.clock import date_of

SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
}
KEY = ec.generate_private_key(ec.SECP256R1())
LONG_AGO = datetime(2000, 1, 1, tzinfo=timezone.utc)


def as_openssl(found):
    """Return subject and dates of what `ssl` has read."""
    parts = [f"{SHORT.get(kind, kind)}={value}" for several in found["subject"] for kind, value in several]
    return ", ".join(parts), *(ssl.cert_time_to_seconds(found[name]) for name in ("notBefore", "notAfter"))


def as_read(one):
    """Return the same of what was read here."""
    return one.subject, one.not_before, one.not_after


def made(
    subject,
    not_before=LONG_AGO,
    not_after=datetime(2040, 2, 29, 12, 30, 59, tzinfo=timezone.utc),
    extensions=(),
):
    """Return a certificate that its own key has signed, as PEM."""
    builder = x509.CertificateBuilder(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")]),
        subject,
        KEY.public_key(),
        1,
        not_before,
        not_after,
        [x509.Extension(extension.oid, False, extension) for extension in extensions],
    )
    return builder.sign(KEY, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def named(*pairs):
    """Return a name with one part each."""
    return x509.Name([x509.NameAttribute(*pair) for pair in pairs])


def test_every_authority_is_read_as_openssl_reads_it():
    """More than a hundred certificates of all makes: subject, first and last second."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certifi.where())
    theirs = context.get_ca_certs()
    ours = chain_in(Path(certifi.where()).read_bytes())

    assert len(theirs) > 50
    assert sorted(map(as_read, ours)) == sorted(map(as_openssl, theirs))
    assert all(one.is_self_issued for one in ours)


@pytest.mark.parametrize(
    ("subject", "said"),
    [
        (named((NameOID.ORGANIZATION_NAME, "SPIRE"), (NameOID.COUNTRY_NAME, "US")), "O=SPIRE, C=US"),
        (named(), ""),
        (named((NameOID.COMMON_NAME, "Zoë", _ASN1Type.BMPString)), "CN=Zoë"),
        (named((NameOID.COMMON_NAME, "Zoë", _ASN1Type.T61String)), "CN=ZoÃ«"),
        (named((NameOID.COMMON_NAME, "Zoë", _ASN1Type.UniversalString)), None),
        (named((x509.ObjectIdentifier("1.3.6.1.4.1.99999.7"), "x")), "1.3.6.1.4.1.99999.7=x"),
        (named((x509.ObjectIdentifier("2.999.1"), "x")), "2.999.1=x"),
        (
            x509.Name(
                [
                    x509.RelativeDistinguishedName(
                        [
                            x509.NameAttribute(NameOID.USER_ID, "u"),
                            x509.NameAttribute(NameOID.COMMON_NAME, "n"),
                        ]
                    )
                ]
            ),
            None,
        ),
        (named((NameOID.EMAIL_ADDRESS, "a@b.example"), (NameOID.DOMAIN_COMPONENT, "example")), None),
        (named((NameOID.SERIAL_NUMBER, "7"), (NameOID.SURNAME, "s"), (NameOID.TITLE, "t")), None),
    ],
)
def test_names_are_read_as_openssl_reads_them(tmp_path, subject, said):
    """Whatever kind of text it is; a part without a name is told by its object identifier."""
    path = tmp_path / "client.pem"
    path.write_bytes(made(subject))
    (one,) = chain_in(path.read_bytes())
    # The standard library has no public way to read what no peer has sent.
    read = as_openssl(ssl._ssl._test_decode_cert(str(path)))

    assert as_read(one) == read
    assert said in (None, one.subject)
    assert not one.is_self_issued


@pytest.mark.parametrize(
    ("year", "text"),
    [
        (1950, "Jun  1 02:03:04 1950 GMT"),
        (1999, "Jun  1 02:03:04 1999 GMT"),
        (2049, "Jun  1 02:03:04 2049 GMT"),
        (2050, "Jun  1 02:03:04 2050 GMT"),
        (9999, "Jun  1 02:03:04 9999 GMT"),
    ],
)
def test_dates_of_both_kinds(tmp_path, year, text):
    """Two digits for the year up to 2049, four later (RFC 5280, 4.1.2.5); and written as `ssl` does."""
    moment = datetime(year, 6, 1, 2, 3, 4, tzinfo=timezone.utc)
    path = tmp_path / "client.pem"
    path.write_bytes(made(named(), datetime(1950, 1, 1, tzinfo=timezone.utc), moment))
    (one,) = chain_in(path.read_bytes())

    assert one.not_after == (moment - datetime(1970, 1, 1, tzinfo=timezone.utc)) / timedelta(seconds=1)
    assert date_of(one.not_after) == ssl._ssl._test_decode_cert(str(path))["notAfter"] == text


def test_a_chain_is_read_in_its_order(authority):
    """With a key and other text between, by each of the three labels; the fingerprints differ."""
    files = [authority.client[1], authority.client[0], authority.other_client[0], authority.ca_file]
    texts = [Path(path).read_bytes() for path in files]
    texts[2] = texts[2].replace(b" CERTIFICATE", b" X509 CERTIFICATE").replace(b"\n", b"\r\n")
    texts[3] = texts[3].replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE")
    chain = chain_in(b"words\n".join(texts))

    assert [one.subject.split(", ")[-1] for one in chain[:2]] == ["CN=alice", "CN=bob"]
    assert [one.is_self_issued for one in chain] == [False, False, True]
    assert len({one.fingerprint for one in chain}) == 3


def test_the_names_and_the_issuer_of_a_servers_certificate():
    """Names and addresses of both families; where its issuer's certificate can be had is told by its own."""
    names = x509.SubjectAlternativeName(
        [
            x509.DNSName("*.example.test"),
            x509.IPAddress(ip_address("127.0.0.1")),
            x509.IPAddress(ip_address("::1")),
            x509.RFC822Name("a@example.test"),
        ]
    )
    where = x509.UniformResourceIdentifier("http://example.test/ca.der")
    issuer = x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.CA_ISSUERS, where)]
    )
    responder = x509.AuthorityInformationAccess(
        [x509.AccessDescription(AuthorityInformationAccessOID.OCSP, where)]
    )
    (full,) = chain_in(made(named(), extensions=[names, issuer]))
    (other,) = chain_in(made(named(), extensions=[responder]))
    (bare,) = chain_in(made(named()))

    assert full.names == ("*.example.test", "127.0.0.1", "::1")
    assert [one.tells_issuer for one in (full, other, bare)] == [True, False, False]
    assert (other.names, bare.names, bare.issuer) == ((), (), "CN=issuer")


def test_an_extension_that_cannot_be_read_takes_nothing_else_with_it():
    """What is known without it is still known."""
    broken = x509.UnrecognizedExtension(ExtensionOID.SUBJECT_ALTERNATIVE_NAME, b"\x30\x7f\x82")
    (found,) = chain_in(made(named((NameOID.COMMON_NAME, "x")), extensions=[broken]))

    assert (found.subject, found.names) == ("CN=x", ())


def test_der_is_read_as_pem_is():
    """And what is none gives nothing."""
    pem = made(named((NameOID.COMMON_NAME, "x")))

    assert from_der(ssl.PEM_cert_to_DER_cert(pem.decode())) == chain_in(pem)[0]
    assert from_der(b"\x30\x82") is None


def test_what_cannot_be_read_is_no_error():
    """Cut anywhere, or with a byte changed: it ends the chain, or reads as something. Whole, it is read."""
    dice = random.Random(7)
    pem = made(named((NameOID.COMMON_NAME, "client")))
    whole = ssl.PEM_cert_to_DER_cert(pem.decode())
    cut = [whole[:length] for length in range(0, len(whole), 3)]
    changed = []
    for _ in range(300):
        data = bytearray(whole)
        data[dice.randrange(len(data))] ^= 1 << dice.randrange(8)
        changed.append(bytes(data))
    found = [chain_in(ssl.DER_cert_to_PEM_cert(data).encode() + pem) for data in cut + changed]

    assert {len(chain) for chain in found[: len(cut)]} == {0}
    assert {len(chain) for chain in found[len(cut) :]} == {0, 2}
    assert len(chain_in(pem + pem)) == 2
    assert chain_in(b"-----BEGIN CERTIFICATE-----\nA\n-----END CERTIFICATE-----\n") == []
    assert chain_in(b"") == []
