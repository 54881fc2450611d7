"""The server's certificate: whose it is, until when, for which names, and who vouches for it.

Three things are told apart that look the same to a program: an authority that is not known here, one whose
intermediate certificate the server does not send, and something on the way that shows a certificate of its
own. No other server is asked, so the evidence is what the certificates say, what is trusted, and whether
there is a proxy in between.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from time import time
from typing import Any, Final

import certifi
from urllib3.util.ssl_ import create_urllib3_context

from ....pool.certificate import Certificate, from_der
from ....util.clock import date_of
from ..finding import Finding, fail, ok, skipped, warn
from ..handshake import Handshake, Place, Prober, idle_because, is_silent, usable_context
from ..line import Line
from ..root import Root
from ..section import Check, Section
from ..trouble import root_at
from ..trust import Trust, is_named, load, organisation, public_organisations, trust_of
from ..validity import ends_soon, left_of, lifetime
from ..visit import Visit

#: How often a handshake is tried that is reset.
TRIALS: Final = 4
#: A certificate is told when it has so many days left.
_SOON: Final = 14
#: Seconds by which clocks may differ. Kerberos allows as many, and signatures of requests about three times
#: as many.
_SKEW: Final = 300.0
#: What the chart calls a handshake that verifies.
_BY_CERTIFI: Final = "certificate, verified by certifi"
_BY_SESSION: Final = "certificate, verified by what the session trusts"
#: Names of a certificate that are shown, at the most.
_MOST_NAMES: Final = 5

#: X509_V_ERR_...: the issuer is not known; of these, the server's certificate is its own issuer.
_UNKNOWN_ISSUER: Final = (2, 18, 19, 20, 21)
_SELF_SIGNED: Final = 18
_NOT_YET_VALID, _EXPIRED = 9, 10
_OTHER_NAME: Final = (62, 63, 64)
#: What makers of programs and devices that read along call themselves in the certificates they make.
_READS_ALONG: Final = re.compile(
    r"zscaler|netskope|forti(net|gate)|palo alto|blue ?coat|websense|forcepoint|mcafee|sophos|umbrella"
    r"|kaspersky|avast|bitdefender|eset ssl|dr\.?web|adguard|netfree|barracuda|check ?point|watchguard"
    r"|untangle|cloudflare gateway|gateway ca|iboss|menlo|lightspeed|securly|squid|mitmproxy|charles proxy"
    r"|fiddler|portswigger|burp|proxyman|intercept|inspection|web gateway|trend ?micro|smoothwall"
    r"|contentkeeper",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Measured:
    """What the server has shown, and what is to be said for it."""

    #: The server's name or address, and `scheme://host:port`.
    host: str
    origin: str
    #: The proxy, without its credentials; None: there is none.
    proxy: str | None
    #: The certificates as sent, the server's own first; those that cannot be read are left out.
    chain: tuple[Certificate, ...]
    #: What the session trusts.
    trust: Trust
    #: The last handshake that verified with that, and one that verified with certifi's; None: not needed.
    verified: Handshake
    public: Handshake | None
    #: Whether the last certificate's issuer is called as a public authority is.
    has_public_issuer: bool
    #: When this was measured, as POSIX has it.
    now: float
    #: Seconds by which this machine's clock is ahead of the server's; None: it has not said.
    skew: float | None = None
    #: Whether other connections were shown a certificate that is right: the server is several.
    is_right_elsewhere: bool = False

    @property
    def code(self) -> int | None:
        """What OpenSSL has against the certificate, going by what the session trusts."""
        return self.verified.verify_code


def measure(visit: Visit) -> Measured:
    """Look at the certificates without verifying them, then verify them."""
    clocks: list[float] = []

    def ask(line: Line) -> None:
        # Nobody has verified whom it asks: it is told no path.
        answer = line.ask("HEAD", "/")
        clocks.extend(_skew(answer.came_at, answer.headers))

    looked = _tried(Prober(visit, usable_context(visit)), "certificate, not verified", ask)
    chain = _read(looked)
    trust = trust_of(visit.target.verify)
    verified, public, is_right = None, None, False
    if chain and not trust.unusable:
        verified, is_right = _verified_often(visit, trust.path)
        # What was refused is what is judged: the server may show another certificate each time.
        chain = _read(verified) or chain
        public = _tried(_verifying(visit, None), _BY_CERTIFI) if trust.path is not None else None
    last = chain[-1] if chain else None
    bad = verified is not None and verified.verify_code != 0
    is_public = bad and last is not None and organisation(last.issuer) in public_organisations()
    target, skew = visit.target, clocks[0] if clocks else None
    return Measured(
        target.host, target.origin, target.proxy_shown, chain, trust, verified or looked, public, is_public,
        time(), skew, bad and is_right,
    )  # fmt: skip


def _read(made: Handshake) -> tuple[Certificate, ...]:
    return tuple(one for one in map(from_der, made.chain) if one is not None)


def _tried(prober: Prober, title: str, then: Any = lambda _: None) -> Handshake:
    """The first handshake that tells something of the certificate, or the last."""
    made: list[Handshake] = []
    while len(made) < TRIALS and not is_silent(made):
        made.append(prober.shake(title, then=then))
        if made[-1].verify_code is not None or made[-1].place is Place.BEFORE:
            break
    return made[-1]


def _verified_often(visit: Visit, path: str | None) -> tuple[Handshake, bool]:
    """The first handshake that verification has refused, or the last; and whether others were verified."""
    made: list[Handshake] = []
    prober = _verifying(visit, path)
    while len(made) < TRIALS and not is_silent(made):
        made.append(prober.shake(_BY_CERTIFI if path is None else _BY_SESSION))
        if made[-1].place is Place.BEFORE:
            break
    told = [one for one in made if one.verify_code is not None]
    refused = [one for one in told if one.verify_code != 0]
    return (refused or told or made)[0], len(refused) < len(told)


def _verifying(visit: Visit, path: str | None) -> Prober:
    context = usable_context(visit)
    # As requests has it, by urllib3: stricter with some Pythons than with others.
    context.verify_flags = create_urllib3_context().verify_flags
    load(context, certifi.where() if path is None else path)
    context.verify_mode, context.check_hostname = ssl.CERT_REQUIRED, True
    return Prober(visit, context)


def _skew(came_at: float, headers: Any) -> Iterator[float]:
    """By how much this machine's clock is ahead of a response's `Date`, if it has one."""
    age = headers.get("age", "0")
    with suppress(ValueError, TypeError, OverflowError):
        yield (
            came_at
            - parsedate_to_datetime(headers.get("date", "")).timestamp()
            - (int(age) if age.isdigit() else 0)
        )


def judge(measured: Measured) -> Iterator[Finding]:
    """Say whose the certificate is, and whether it is right."""
    if not measured.chain:
        yield _nothing_shown(measured)
        return
    yield _of_chain(measured)
    yield _of_expiry(measured)
    yield _of_name(measured)
    yield _of_trust(measured)
    yield _of_clock(measured)


def _nothing_shown(measured: Measured) -> Finding:
    trouble = measured.verified.trouble
    told = (
        "the server shows no certificate"
        if trouble is None
        else f"the server shows no certificate ({trouble.error})"
    )
    root = Root.OTHER if trouble is None else root_at(trouble.phase, trouble.cause)
    return fail("server-certificate.chain", told, "--only tls   # it says why", "", root)


def _of_chain(measured: Measured) -> Finding:
    own, count = measured.chain[0], len(measured.chain)
    subject = own.subject or ", ".join(own.names[:1]) or "nobody"
    text = f"the server shows {subject}, signed by {own.issuer or 'nobody'}"
    sent = f"{count} certificate{'' if count == 1 else 's'}"
    return ok("server-certificate.chain", text, f"{sent}, SHA-256 {own.fingerprint.hex()}")


def _of_expiry(measured: Measured) -> Finding:
    """There are five cases: not valid yet, expired by a wrong clock, expired, soon, and fine."""
    check, now, true = "server-certificate.expiry", measured.now, measured.now - (measured.skew or 0)
    early, late = _odd(measured, _NOT_YET_VALID), _odd(measured, _EXPIRED)
    odd = (early or late or [measured.chain[0]])[0]
    value = lifetime(odd)
    if (early or late) and odd.not_before <= true <= odd.not_after:
        return _bad(measured, check, "the certificate is valid, but not by this machine's clock",
                    "timedatectl set-ntp true", value, Root.CLOCK)  # fmt: skip
    who = (
        "the server's certificate" if odd is measured.chain[0] else f"a certificate it sends ({odd.subject})"
    )
    operator = f"ask the operator of {measured.origin} to renew the certificate"
    if early:
        root = Root.CLOCK if measured.skew is None else Root.OTHER
        return _bad(
            measured,
            check,
            f"{who} is not valid yet, or this machine's clock is behind",
            "date -u",
            value,
            root,
        )
    if late:
        text = f"{who} was valid until {date_of(odd.not_after)}"
        return _bad(measured, check, text, operator, value, Root.SERVER_CERTIFICATE_EXPIRED)
    left = left_of(odd, now)
    if ends_soon(odd, now, _SOON):
        return warn(check, f"{who} expires in {left}", operator, value, Root.OTHER)
    return ok(check, f"the certificate is valid until {date_of(odd.not_after)}", f"{left} left")


def _odd(measured: Measured, code: int) -> list[Certificate]:
    """The certificates that are not valid yet, or have expired; of those behind the first, if OpenSSL cares.

    Args:
        measured: what the server has shown.
        code: what OpenSSL says of such a certificate.
    """
    now, counted = measured.now, measured.chain if measured.code == code else measured.chain[:1]
    is_late = code == _EXPIRED
    return [one for one in counted if (one.not_after < now if is_late else now < one.not_before)]


def _of_name(measured: Measured) -> Finding:
    own, host, check = measured.chain[0], measured.host, "server-certificate.name"
    value = ", ".join((*own.names[:_MOST_NAMES], *["..."][: len(own.names) > _MOST_NAMES]))
    if measured.code == 0 or (measured.code not in _OTHER_NAME and is_named(own.names, host)):
        return ok(check, f"the certificate is for {host}", value)
    return _bad(
        measured, check, f"the certificate is for {value or own.subject or 'no name'}, and not for {host}",
        f"use a name that it is for, or ask the operator of {measured.origin} to add {host}",
        value, Root.SERVER_CERTIFICATE_NAME,
    )  # fmt: skip


def _of_trust(measured: Measured) -> Finding:
    check, trust, code = "server-certificate.trust", measured.trust, measured.code
    last = measured.chain[-1]
    value = "" if not measured.verified.verify_message else measured.verified.verify_message
    if trust.unusable:
        return fail(check, f"what the session trusts cannot be used: {trust.path} {trust.unusable}",
                    f"--ca FILE   # instead of {trust.path}", trust.shown, Root.SETTING)  # fmt: skip
    if code == 0:
        return _trusted(measured)
    if code is None:
        trouble = measured.verified.trouble
        root = Root.OTHER if trouble is None else root_at(trouble.phase, trouble.cause)
        return warn(check, "it is not known whether the certificate is trusted: each handshake ended before",
                    "--only tls   # it says why", "" if trouble is None else trouble.error, root)  # fmt: skip
    if code == _EXPIRED and not _odd(measured, code):
        text = f"the certificate of the authority {last.issuer} has expired in {trust.shown}"
        return _bad(measured, check, text, "--ca FILE   # with the authority's present certificate", value,
                    Root.SERVER_CERTIFICATE_UNTRUSTED)  # fmt: skip
    if code in (_NOT_YET_VALID, _EXPIRED, *_OTHER_NAME):
        return ok(check, f"the authority that has signed it is known: {last.issuer}", trust.shown)
    if code in _UNKNOWN_ISSUER:
        return _unknown_issuer(measured, value)
    hint = f"ask the operator of {measured.origin} to replace the certificate"
    untrusted = Root.SERVER_CERTIFICATE_UNTRUSTED
    return _bad(
        measured, check, f"the certificate is not accepted: {value}", hint, f"X509 code {code}", untrusted
    )


def _trusted(measured: Measured) -> Finding:
    """What is said of a certificate that is trusted: by whom, and whether everybody else does."""
    check, trust, last = "server-certificate.trust", measured.trust, measured.chain[-1]
    if not trust.verifies:
        return warn(check, "this session verifies no certificate, though this one is right",
                    "session.verify = True", "verify=False", Root.OTHER)  # fmt: skip
    if measured.public is None or measured.public.verify_code == 0:
        return ok(check, f"a public authority has signed it: {last.issuer}", trust.shown)
    return ok(
        check,
        f"the certificate is trusted; {last.issuer or 'its issuer'} is not a public authority",
        trust.shown,
    )


def _unknown_issuer(measured: Measured, value: str) -> Finding:
    """Five cases: trusted by everybody else, intercepted, signed by itself, a gap in the chain, private."""
    check, trust, chain = "server-certificate.trust", measured.trust, measured.chain
    issuer = chain[-1].issuer or "an issuer without a name"
    root = Root.SERVER_CERTIFICATE_UNTRUSTED
    if measured.public is not None and measured.public.verify_code == 0:
        text = f"a public authority has signed the certificate, and {trust.path} does not have that one"
        hint = f"cat {trust.path} $(python -m certifi) > both.pem   # then --ca both.pem"
        return _bad(measured, check, text, hint, value, root)
    if (by := _intercepted_by(measured)) is not None:
        return _bad(
            measured, check, f"the certificate is signed by {issuer}, {by}",
            f"ask the operator of {measured.origin} whether the certificate is theirs, by its SHA-256 "
            f"{chain[0].fingerprint.hex()}; if not, ask who runs this network",
            value, Root.INTERCEPTED,
        )  # fmt: skip
    if measured.code == _SELF_SIGNED:
        text = "the certificate is signed by itself"
    elif not chain[-1].is_self_issued and (measured.has_public_issuer or chain[-1].tells_issuer):
        text = f"the server does not send the intermediate certificate of {issuer}"
        hint = f"ask the operator of {measured.origin} to send the whole chain"
        return _bad(measured, check, text, hint, value, root)
    else:
        who = "is not a public authority" if trust.path is None else f"is not among {trust.path}"
        text = f"the certificate is signed by {issuer}, which {who}"
    return _bad(
        measured,
        check,
        text,
        '--ca FILE   # with the certificate of its authority; in your program: session.verify = "FILE"',
        value,
        root,
    )


def _intercepted_by(measured: Measured) -> str | None:
    """Why it looks as if something in between had made the certificate; None: it does not.

    Such a certificate is for the right name, and its issuer is known to nobody. That holds for a server with
    an authority of its own, too. Three things tell them apart.
    """
    chain, trust = measured.chain, measured.trust
    if not is_named(chain[0].names, measured.host) or measured.has_public_issuer:
        return None
    named = f"{chain[-1].issuer}, {chain[0].issuer}"
    if _READS_ALONG.search(named):
        return "whose name is that of a program or device that reads along"
    if measured.proxy is not None:
        return f"not a known authority, and it came through the proxy {measured.proxy}"
    if not trust.has_public and trust.verifies and measured.code != _SELF_SIGNED:
        expected = " and ".join(trust.named) or trust.shown
        return f"and not by {expected}"
    return None


def _of_clock(measured: Measured) -> Finding:
    check, skew = "server-certificate.clock", measured.skew
    if skew is None:
        return skipped(check, "no response has a Date")
    value = f"{skew:+.0f} s"
    if abs(skew) <= _SKEW:
        return ok(check, "this machine's clock agrees with the server's", value)
    ahead = "ahead of" if skew > 0 else "behind"
    return warn(
        check, f"this machine's clock is {ahead} the server's", "timedatectl set-ntp true", value, Root.CLOCK
    )


def _bad(measured: Measured, check: str, text: str, hint: str, value: str, root: Root) -> Finding:
    """A failure; a warning, if the session does not look."""
    if measured.is_right_elsewhere:
        text += "; other connections are shown one that is right"
    if measured.trust.verifies:
        return fail(check, text, hint, value, root, blocks=not measured.is_right_elsewhere)
    return warn(check, f"{text}; this session does not verify it", hint, value, root)


SERVER_CERTIFICATE: Final = Section(
    "server-certificate",
    "Server certificate",
    (
        Check("server-certificate.chain", "whose certificate it is, and who has signed it"),
        Check("server-certificate.expiry", "whether it is valid now, and for how long"),
        Check("server-certificate.name", "whether it is for the name that is asked for"),
        Check("server-certificate.trust", "whether it is trusted, or comes from something in between"),
        Check("server-certificate.clock", "whether this machine's clock agrees with the server's"),
    ),
    measure,
    judge,
    needs=("name", "connect", "proxy", "tls"),
    requests=lambda _: TRIALS,
    idle_because=idle_because,
)
