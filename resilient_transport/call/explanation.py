"""What went wrong, where, and what to do about it: the sentence that stands in `str(error)`.

`retry/causes.py` has the sentences; here they get their names. They hold no credentials and no query.
"""

from __future__ import annotations

import os
import ssl
from http.client import PROXY_AUTHENTICATION_REQUIRED
from typing import Any, Final
from urllib.parse import urlsplit

from requests import adapters
from requests.exceptions import RequestException
from requests.utils import select_proxy
from urllib3.exceptions import HTTPError
from urllib3.exceptions import SSLError as UpstreamSSLError
from urllib3.util.ssl_match_hostname import CertificateError

from ..exceptions import DeadlineExceeded
from ..pool.given_identity import Identity
from ..pool.key import is_usual
from ..pool.system_trust import is_system
from ..retry.causes import (
    SENTENCES,
    Cause,
    certificate_alert,
    classify,
    connect_status,
    is_by_socks,
    root_of,
    sentence_for,
    socks_words,
    tls_reason,
)
from ..retry.stages import Stage
from ..settings.environment import about_bundle
from ..util.origin import origin_at
from .plan import CallPlan
from .redaction import without_query

#: What an attempt was doing at a stage, as the end of a sentence.
_WHEN: Final = {
    Stage.QUEUE: "before a connection was free",
    Stage.RESOLVE: "while its name was looked up",
    Stage.CONNECT: "while the connection was made",
    Stage.TUNNEL: "before it answered CONNECT",
    Stage.HANDSHAKE: "during the TLS handshake",
    Stage.CONFIRM: "right after the TLS handshake",
    Stage.REQUEST: "before its answer came",
    Stage.BODY: "in the middle of the response's body",
}
#: The same, as what a call did when its time was over.
_DOING: Final = {
    Stage.QUEUE: "waited for a connection",
    Stage.RESOLVE: "looked up the name",
    Stage.CONNECT: "was connecting",
    Stage.TUNNEL: "waited for the proxy",
    Stage.HANDSHAKE: "was in the TLS handshake",
    Stage.CONFIRM: "was in the TLS handshake",
    Stage.REQUEST: "waited for the answer",
    Stage.BODY: "read the response's body",
}
_TOO_SLOW: Final = "{who} took longer than attempt_timeout= allows: the time was over {when}."
#: What to do about authorities and certificates, by whether they are in a TLS context of the caller's own.
_GIVE_CA: Final = (
    "Give the file of its CA in verify=.",
    "Load the file of its CA into that with load_verify_locations.",
)
_GIVE_CERT: Final = ("cert=", "load_cert_chain of the ssl_context=")
#: What urllib3 says where a fingerprint is not the one that was pinned.
_OTHER_PIN: Final = "The certificate of {who} is not the pinned one (assert_fingerprint=)."
_OTHER_NAME: Final = (
    "The certificate of {who} is for another name. Is the host name in the URL, or assert_hostname=, right?"
)
#: What a SOCKS proxy says of itself, and of the server.
_REFUSES_USER: Final = "{who} refuses the user name or the password in its URL ({reason})."
_SAID_BY_SOCKS: Final = {
    Cause.UNPARSABLE: "{who} does not speak SOCKS ({reason}). Is the scheme of its URL right?",
    **dict.fromkeys(
        (Cause.REFUSED, Cause.UNREACHABLE, Cause.UNNAMED), "{who} could not connect to {origin} ({reason})."
    ),
}


def explanation(
    error: BaseException, stage: Stage, plan: CallPlan, *, is_proven: bool = False, is_late: bool = False
) -> str:
    """What went wrong, where, and what to do about it.

    Args:
        error: as the wire met it.
        stage: how far the attempt had got.
        plan: the call's.
        is_proven: whether its connection had been proven before.
        is_late: whether its time was over.
    """
    root = root_of(error)
    has_context = plan.certificate(plan.cert)[1]
    template = _template(error, root, plan, is_proven)
    if is_late and plan.policy.attempt_timeout is not None and classify(error) is Cause.TIMEOUT:
        template = _TOO_SLOW
    told = template.format(
        who=_who(stage, plan, bool(socks_words(root))),
        origin=plan.origin,
        host=_host(error, stage, plan),
        when=_WHEN.get(stage, "after its answer came"),
        status=connect_status(root),
        reason=_reason(root),
        ca=_trusted(plan, has_context),
        give_ca=_GIVE_CA[has_context],
        cert=_GIVE_CERT[has_context],
    )
    told = f"T{told[1:]}" if told.startswith("the ") else told
    is_about_ca = isinstance(root, ssl.SSLCertVerificationError) and not has_context
    return f"{told} {about_bundle(plan.verify)}".rstrip() if is_about_ca else told


def _template(error: BaseException, root: BaseException, plan: CallPlan, is_proven: bool) -> str:
    if isinstance(root, UpstreamSSLError) and "ingerprint" in str(root):
        return _OTHER_PIN
    if isinstance(root, CertificateError):
        return _OTHER_NAME
    if words := socks_words(root):
        if "auth" in words:
            return _REFUSES_USER if "@" in (_proxy_url(plan) or "") else SENTENCES[(407,)]
        return _SAID_BY_SOCKS.get(classify(error), sentence_for(error))
    if connect_status(root) == PROXY_AUTHENTICATION_REQUIRED and "@" in (_proxy_url(plan) or ""):
        return _REFUSES_USER
    return sentence_for(error, is_proven)


def _who(stage: Stage, plan: CallPlan, is_socks: bool) -> str:
    """Who has failed: the server, or the proxy before it."""
    proxy = proxy_of(plan)
    if proxy is None:
        return plan.origin
    # Without TLS to the server there is no tunnel, and all before the request is the proxy's.
    last = Stage.TUNNEL if plan.origin.startswith("https:") else Stage.CONFIRM
    if stage.rank <= last.rank or is_socks:
        return f"the proxy {proxy}"
    return f"{plan.origin} (through the proxy {proxy})"


def _host(error: BaseException, stage: Stage, plan: CallPlan) -> str:
    """The name that a failure is about: the proxy's, as long as it has not been reached."""
    # PySocks looks up the server's name, too.
    is_of_proxy = stage.rank < Stage.TUNNEL.rank and not is_by_socks(error)
    proxy = proxy_of(plan) if is_of_proxy else None
    name = urlsplit(proxy or plan.origin).hostname or plan.origin
    return f"{name} (of the proxy)" if proxy else name


def proxy_of(plan: CallPlan) -> str | None:
    """The proxy of a call, without credentials; None: there is none."""
    found = _proxy_url(plan)
    if not found:
        return None
    return origin_at(found if "://" in found else f"http://{found}")


def _proxy_url(plan: CallPlan) -> str | None:
    """The URL of a call's proxy, as it was given."""
    found: str | None = select_proxy(plan.request.url or "", plan.proxies)
    return found


def _reason(root: BaseException) -> str:
    """The reason in the words of whom it comes from."""
    if isinstance(root, ssl.SSLError):
        told: Any = getattr(root, "verify_message", None) or certificate_alert(root) or tls_reason(root)
        return str(told or (root.args[-1] if root.args else type(root).__name__))
    if (status := connect_status(root)) is not None:
        return f"status {status} to CONNECT"
    words = socks_words(root) or getattr(root, "strerror", None)
    return str(words or type(root).__name__)


def _trusted(plan: CallPlan, has_context: bool) -> str:
    """The file, or what else it is, of the CAs that are trusted."""
    if has_context:
        return "the ssl_context= of the adapter"
    if is_system(plan.verify):
        return "the operating system's trust store"
    own = plan.certificate(None)[0]
    if isinstance(own, Identity) and own.ca is not None and is_usual(plan.verify):
        return "the ca= of identity="
    path = adapters.DEFAULT_CA_BUNDLE_PATH if plan.verify is True else plan.verify
    return os.fsdecode(path) if isinstance(path, (str, bytes)) else str(path)


def deadline_exceeded(
    plan: CallPlan, seconds: float, stage: Stage | None, furthest: BaseException | None
) -> DeadlineExceeded:
    """The exception for a call whose time is over.

    Args:
        plan: the call's.
        seconds: that it had.
        stage: where it was; None: between two attempts, or before the first.
        furthest: the failure of the attempt that got furthest, if one has failed.
    """
    when = f"{seconds:.3f} s after" if seconds > 0 else "before"
    path = without_query(plan.request.path_url)
    doing = "waited for its next attempt" if furthest is not None else "had not begun"
    doing = doing if stage is None else _DOING.get(stage, "read the response's body")
    asked = f"{plan.request.method} {plan.origin}{path}"
    told = f"The deadline was over {when} the call had begun: {asked} {doing}."
    error = DeadlineExceeded(told, request=plan.request)
    error.__cause__ = furthest
    return error


def explain(error: BaseException, sentence: str) -> None:
    """Let the `str` of an error end with a sentence; its type, its causes and its fields stay as they are.

    There are two cases: the error's own words, and those of the error of urllib3's that requests wraps.
    """
    inner = error.args[0] if error.args else None
    told = inner if isinstance(error, RequestException) and isinstance(inner, HTTPError) else error
    if isinstance(told, BaseException) and sentence and sentence not in str(told):
        words = told.args[0] if len(told.args) == 1 else None
        if isinstance(words, str):
            told.args = (f"{words.rstrip('.')}. {sentence}",)
        else:
            # Programs look at the words and the error that are there already.
            told.args = (*told.args, sentence)
