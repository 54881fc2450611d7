"""TLS contexts that a program brings, each completed once with what `verify` and `cert` ask for.

An adapter may pass `ssl_context=` on in its `init_poolmanager`, and leave it to `verify` and `cert` whom the
context trusts and which certificate it shows. requests-toolbelt's X509Adapter does so, and requests-pkcs12.
urllib3 loads that before every handshake, while other threads use the context (psf/requests#6726, #6872).
Here it is loaded before the first handshake. A copy cannot be completed in its place: no context gives its
key out.

What was loaded cannot be taken out again. So a context that is asked for with another `verify` or `cert` is
refused. One whose files were replaced keeps what it has: to load more is safe only while no handshake uses
it.
"""

from __future__ import annotations

import ssl
import threading
from collections.abc import Mapping
from typing import Any, Final

from requests.adapters import DEFAULT_CA_BUNDLE_PATH
from urllib3.exceptions import SSLError

from ..connection.tls_context import frozen_view
from ..telemetry.log import log
from ..util.fork import Turn, Undivided, in_child
from ..util.frozen import dataclass, replace
from ..util.identity_dict import IdentityDict
from .contexts import Named
from .identity import LOADING, Contents, Look, Sources
from .system_trust import is_system

#: What is loaded into a context. Versions and pins beside one have no say over it, as in urllib3.
_LOADED: Final = (
    "cert_reqs", "cert_file", "key_file", "key_password", "ca_certs", "ca_cert_dir", "ca_cert_data",
)  # fmt: skip
_REFUSAL: Final = (
    "this TLS context (ssl_context=) was used with another verify= or cert= before. Nothing can be taken out "
    "of a context again: for each verify= and cert= use an adapter of its own, which makes a context of its "
    "own"
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
        TypeError: it was completed with something else, or is to trust whom the system trusts.
        ValueError: it compares host names, and is to check no certificates; as urllib3 says it.
        OSError, ssl.SSLError, urllib3.exceptions.SSLError: a file is not what it should be.
    """
    asked = {name: settings[name] for name in _LOADED if settings.get(name) is not None}
    if is_system(asked.get("ca_certs")):
        raise TypeError('verify="system" has no say over ssl_context=: give a truststore.SSLContext there')
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
    known = _completed.get(context, None)
    if known is not None and known.is_done and known.named.sources.name == sources.name:
        return _kept(context, known.named, seen)
    contents, password = sources.read(), sources.password()
    named = Named(sources, sources.identify(contents, password), seen)
    with _lock:
        known = _completed.get(context, None)
        # What an interrupt has left unfinished no handshake has used: it takes the files as they are now.
        if known is None or (not known.is_done and _agree(known.named, named)):
            with Undivided(LOADING):
                return _load(context, named, contents, password)
    if known.named.identity != named.identity:
        raise TypeError(_REFUSAL)
    known = replace(known, named=named)
    _completed.put(context, known)
    return known


def _agree(one: Named, other: Named) -> bool:
    """Whether the same files, or the same contents, are asked for."""
    return one.sources.name == other.sources.name or one.identity == other.identity


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
    """Load what was read; under the lock.

    Wherever it ends, a context that checks less than its program made it check has a record that says so:
    the mode is set last, and a record is taken back only where nothing was.
    """
    before, sources = _completed.get(context, None), named.sources
    verify_mode = sources.terms.verify_mode
    is_as_made = not sources.files and not sources.ca_cert_data and verify_mode == context.verify_mode
    if before is not None:
        # An interrupt has come in between: what is set now may not be what the program has made.
        is_as_made = is_as_made and before.is_as_made
    _try_out(context, sources, contents)
    completed = Completed(named, is_as_made)
    _completed.put(context, completed)
    try:
        sources.load_pair(context, contents, password)
    except (OSError, SSLError):
        _completed.put(context, before)
        raise
    sources.load_trusted(context, contents)
    if named.identity != sources.identify(sources.read(), password):
        # Where OpenSSL reads files by their names only, nobody knows what it has read.
        raise SSLError("the certificate files were changed while they were read")
    if not is_as_made:
        context.verify_mode = verify_mode
    completed = replace(completed, view=frozen_view(context), is_done=True)
    _completed.put(context, completed)
    return completed


def _try_out(context: Any, sources: Sources, contents: Contents) -> None:
    """What cannot be loaded, or set, must not be found out half-way: try it with a context of nobody's."""
    trial = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trial.check_hostname = getattr(context, "check_hostname", False)
    trial.verify_mode = sources.terms.verify_mode
    sources.load_trusted(trial, contents)


def _kept(context: Any, before: Named, seen: Look) -> Completed:
    """What a context keeps whose files look new: nothing may be loaded while a handshake uses it."""
    try:
        is_same = before.is_of(before.sources.read())
    except OSError:
        is_same = False
    with _lock:
        known = _completed.get(context, None)
        refused = None if known is None else known.named.refused
        is_news = not is_same and (refused is None or refused.stamp != seen.stamp)
        now = replace(before, seen=seen, refused=None) if is_same else replace(before, refused=seen)
        known = replace(known or Completed(now, False), named=now)
        _completed.put(context, known)
    if is_news:
        log.warning(
            "%s changed: a TLS context that the program brings keeps what was loaded before. Make a new "
            "adapter, with a new context, to use what is there now",
            ", ".join(before.sources.files.values()),
        )
    return known
