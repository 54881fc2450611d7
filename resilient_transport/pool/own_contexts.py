"""TLS contexts that a program brings, each completed once with what `verify` and `cert` ask for.

An adapter may pass `ssl_context=` on in its `init_poolmanager`, and leave it to `verify` and `cert` whom the
context trusts and which certificate it shows. requests-toolbelt's X509Adapter does so, and requests-pkcs12.
urllib3 loads that before every handshake, while other threads use the context (psf/requests#6726, #6872).
Here it is loaded before the first handshake. A copy cannot be completed in its place: no context gives its
key out.

What was loaded cannot be taken out again. So a context that is asked for with another `verify` or `cert` is
refused.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from requests.adapters import DEFAULT_CA_BUNDLE_PATH
from urllib3.exceptions import SSLError

from ..connection.tls_context import frozen_view
from ..telemetry.log import log
from ..util.fork import Turn, in_child
from ..util.identity_dict import IdentityDict
from .contexts import Named
from .identity import Contents, Look, Sources, TLSIdentity

#: What is loaded into a context. Versions and pins beside one have no say over it, as in urllib3.
_LOADED: Final = (
    "cert_reqs", "cert_file", "key_file", "key_password", "ca_certs", "ca_cert_dir", "ca_cert_data",
)  # fmt: skip
_REFUSAL: Final = (
    "this TLS context (ssl_context=) was used with another verify= or cert= before, or their files have "
    "changed. Nothing can be taken out of a context again: for each verify= and cert= use an adapter of its "
    "own, which makes a context of its own"
)


@dataclass(frozen=True, slots=True)
class Completed:
    """What a context was completed with."""

    named: Named
    #: Whether nothing was loaded, and nothing will be set: it is as its program has made it.
    is_as_made: bool
    #: What urllib3 is given in its place; None: itself.
    view: Any = None
    #: Whether all was loaded; an interrupt or a fork may have come in between.
    is_done: bool = False

    def is_of(self, sources: Sources, seen: Look) -> bool:
        """Whether these are what it was completed with, as far as can be told without reading a file."""
        return self.named.sources.name == sources.name and self.named.is_current(seen)


#: By context, for as long as that lives. It outlives a fork, as what is in the contexts does.
_completed: Final[IdentityDict[Completed | None]] = IdentityDict()
#: Whether authorities had been loaded into a context before it was completed.
_trusting: Final[IdentityDict[bool | None]] = IdentityDict()
#: Held while something is loaded into a context.
_lock = threading.RLock()


@in_child(Turn.LOCKS)
def _renew_lock() -> None:
    global _lock
    _lock = threading.RLock()


def complete(context: Any, settings: Mapping[str, Any]) -> tuple[Any, ssl.VerifyMode]:
    """Complete a context of a program's own, unless that was done before.

    `verify=True` means certifi's authorities, unless others have been loaded into the context before.

    Args:
        context: the context; of whatever make.
        settings: keyword arguments of urllib3's `HTTPSConnectionPool`; without any of TLS's, nothing is done.

    Returns:
        What urllib3 is given, and the `verify_mode` that it sets before each handshake.

    Raises:
        TypeError: it was completed with something else.
        ValueError: it compares host names, and is to check no certificates; as urllib3 says it.
        OSError, ssl.SSLError, urllib3.exceptions.SSLError: a file is not what it should be.
    """
    asked = {name: settings[name] for name in _LOADED if settings.get(name) is not None}
    known = _completed.get(context, None)
    if known is not None and not asked:
        if not known.is_as_made:
            raise TypeError(_REFUSAL)
        return known.view or context, context.verify_mode
    if _trusts(context) and asked.get("ca_certs") == DEFAULT_CA_BUNDLE_PATH:
        del asked["ca_certs"]
    sources = _sources_of(context, asked)
    seen = sources.look()
    if known is None or not (known.is_done and known.is_of(sources, seen)):
        known = _look_again(context, sources, seen)
    return known.view or context, sources.terms.verify_mode


def _sources_of(context: Any, asked: Mapping[str, Any]) -> Sources:
    sources = Sources.of({"cert_reqs": context.verify_mode, **asked})
    # The rest of the terms is the context's own affair.
    return replace(sources, terms=replace(sources.terms, kind=type(context), check_hostname=False))


def _look_again(context: Any, sources: Sources, seen: Look) -> Completed:
    """Read the files; load them, if that was not done before."""
    contents, password = sources.read(), sources.password()
    named = Named(sources, sources.identify(contents, password), seen)
    with _lock:
        known = _completed.get(context, None)
        if known is None or (known.named.identity == named.identity and not known.is_done):
            return _load(context, named, contents, password)
    known = replace(known, named=_agreed(known.named, named))
    _completed.put(context, known)
    return known


def _trusts(context: Any) -> bool:
    """Whether authorities had been loaded, as far as can be told."""
    if _trusting.get(context, None) is None:
        # Another thread may have been faster, and have loaded some since.
        _trusting.put_first(context, _count(context) > 0)
    return bool(_trusting.get(context, None))


def _count(context: Any) -> int:
    """How many authorities are loaded: 0 for a directory of them, and where a context cannot say."""
    try:
        return int(context.cert_store_stats()["x509"])
    except (AttributeError, NotImplementedError):
        # That of pyOpenSSL, and that of truststore.
        return 0


def _load(context: Any, named: Named, contents: Contents, password: Any) -> Completed:
    """Load what was read; under the lock."""
    sources, verify_mode = named.sources, named.sources.terms.verify_mode
    is_as_made = not sources.files and not sources.ca_cert_data and verify_mode == context.verify_mode
    # What cannot be loaded, or set, must not be found out half-way.
    sources.load_trusted(ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), contents)
    if not is_as_made:
        context.verify_mode = verify_mode
    completed = Completed(named, is_as_made)
    _completed.put(context, completed)
    try:
        sources.load_pair(context, contents, password)
    except (OSError, SSLError):
        _completed.put(context, None)
        raise
    sources.load_trusted(context, contents)
    if named.identity != sources.identify(sources.read(), password):
        # Where OpenSSL reads files by their names only, nobody knows what it has read.
        raise SSLError("the certificate files were changed while they were read")
    completed = replace(completed, view=frozen_view(context), is_done=True)
    _completed.put(context, completed)
    return completed


def _agreed(before: Named, now: Named) -> Named:
    """What stands for a context that was completed before: there are three cases.

    Raises:
        TypeError: another certificate or other authorities are asked for.
    """
    if before.identity == now.identity:
        return now
    if before.sources.name != now.sources.name or not _differ_in_trust(before.identity, now.identity):
        raise TypeError(_REFUSAL)
    if before.refused is None or before.refused.stamp != now.seen.stamp:
        log.warning(
            "the authorities in %s have changed: a TLS context of a program's own keeps those that it has",
            ", ".join(now.sources.files.values()),
        )
    return replace(before, refused=now.seen)


def _differ_in_trust(one: TLSIdentity, other: TLSIdentity) -> bool:
    """Whether two identities have all in common but whom they trust."""
    return replace(one, ca="") == replace(other, ca="")
