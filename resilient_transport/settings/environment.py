"""Settings from the environment, for programs that nobody can edit.

The only module that reads the environment. `SETTINGS` is the table: what each is called, what it may be, and
what holds when nobody says anything. It is read where an adapter or a policy is made, never at import; what
is not allowed is refused there.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Container, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, TypeVar

from ..util.frozen import dataclass
from . import value_types as kinds
from .value_types import Kind

T = TypeVar("T")

#: What the names of all variables begin with.
PREFIX: Final = "RESILIENT_TRANSPORT_"

#: What points `requests` or OpenSSL to other certificates or to a proxy. `REQUESTS_CA_BUNDLE` beats
#: `Session.verify`, so that tests, demo and benchmarks take these out of what they run.
_FOREIGN: Final = frozenset(
    {"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "SSLKEYLOGFILE"}
    | {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"}
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: an argument of `ResilientAdapter` or `RetryPolicy`, and a variable of the environment."""

    #: The argument's name; the variable's is this in capitals, after `PREFIX`.
    name: str
    #: What it may be.
    kind: Kind
    #: What holds when nobody says anything.
    default: Any
    #: What it is, in half a line.
    about: str

    @property
    def variable(self) -> str:
        """The variable of the environment."""
        return PREFIX + self.name.upper()


#: The order of `docs/operations.md` and of `python -m resilient_transport settings`.
SETTINGS: Final = (
    Setting(
        "retries", kinds.COUNT_OR_NONE, None, "repetitions of a call; none: each cause has its own limit"
    ),
    Setting("backoff", kinds.SECONDS, 0.05, "seconds: ceiling of the first pause"),
    Setting("backoff_max", kinds.SECONDS, 2.0, "seconds: ceiling of every pause"),
    Setting("connect_timeout", kinds.TIMEOUT, 10.0, "seconds to connect, for calls without a time-out"),
    Setting("read_timeout", kinds.TIMEOUT, 300.0, "seconds between two bytes, for calls without a time-out"),
    Setting("deadline", kinds.LIMIT, None, "seconds for a whole call"),
    Setting("idle_timeout", kinds.SECONDS, 55.0, "seconds for which an idle connection is kept"),
    # An hour: .NET advises minutes for its `PooledConnectionLifetime`, HikariCP has half an hour, and Envoy,
    # Go and OkHttp have none. Each new connection asks for the name.
    Setting("max_age", kinds.TIMEOUT, 3600.0, "seconds after which a connection is not used again"),
    Setting("tcp_keepalive", kinds.KEEPALIVE, 60, "seconds of silence until TCP asks for a sign of life"),
    Setting("dns_order", kinds.DNS_ORDER, "system", "order of the addresses of a name"),
    Setting("handshakes", kinds.POSITIVE, 16, "handshakes that may run at once for one origin"),
    Setting("max_idle", kinds.POSITIVE, 100, "idle connections of the process, all origins together"),
    Setting("retry_non_idempotent", kinds.SWITCH, False, "repeat POST, PATCH and their kin, too"),
    Setting("disable", kinds.PREFIXES, (), "URL prefixes that are refused before anything is opened"),
    Setting("bypass", kinds.SWITCH, False, "all off: behave as requests' own adapter"),
    Setting("log", kinds.LEVEL, "off", "write what is told to standard error, from this level on"),
)
_BY_NAME: Final = {setting.name: setting for setting in SETTINGS}
_BY_VARIABLE: Final = {setting.variable: setting for setting in SETTINGS}
#: Unknown names that were warned of.
_warned: set[str] = set()


def remembered(make: Callable[[], T]) -> Callable[[], T]:
    """Make something of the environment, and anew only after that has changed.

    Args:
        make: makes it; it is asked again after it has raised.
    """
    kept: tuple[Mapping[Any, Any], T] | None = None

    def made() -> T:
        nonlocal kept
        # Bytes, where `os` keeps them: to decode all of it takes ten times as long.
        now = getattr(os.environ, "_data", os.environ)
        if kept is None or kept[0] != now:
            # Copied first: what changes meanwhile is seen next time.
            seen = dict(now)
            kept = seen, make()
        return kept[1]

    return made


@remembered
def _ours() -> dict[str, str]:
    """The variables whose names begin like those of settings."""
    # By their names first: the system's values are decoded one by one.
    names = [name for name in os.environ if name.upper().startswith(PREFIX)]
    return {name: text for name in names if (text := os.environ.get(name)) is not None}


def default(name: str) -> Any:
    """What a setting is when nobody says anything."""
    return _BY_NAME[name].default


def value(name: str) -> Any:
    """What a setting is by the environment, or else by default.

    Raises:
        ValueError: the environment says something that is not allowed.
    """
    return told(name)[0]


def told(name: str) -> tuple[Any, bool]:
    """What a setting is, and whether the environment has said so.

    Raises:
        ValueError: as in `value`.
    """
    setting = _BY_NAME[name]
    text = _ours().get(setting.variable)
    if text is None or not text.strip():
        return setting.default, False
    return _read(setting, text.strip()), True


@lru_cache(maxsize=64)
def _read(setting: Setting, text: str) -> Any:
    try:
        return setting.kind.read(text)
    except ValueError:
        # Without its cause, which may tell more of the value.
        raise ValueError(
            f"{setting.variable}={kinds.shown(text)}: allowed is {setting.kind.allowed}"
        ) from None


def checked(name: str, given: Any) -> Any:
    """A value that an argument was given, as the setting it is.

    Raises:
        TypeError, ValueError: it is not allowed.
    """
    kind = _BY_NAME[name].kind
    try:
        admitted = kind.admit(given)
    except (TypeError, ValueError) as error:
        kind_of_error = TypeError if isinstance(error, TypeError) else ValueError
    else:
        return admitted
    raise kind_of_error(f"{name} is {kind.meant or kind.allowed}, not {kinds.shown(given)}")


def unknown() -> Iterator[str]:
    """A sentence, once for each, about variables that look like settings and are none."""
    for name, nearest in misspelt(_warned):
        _warned.add(name)
        yield f"{name} is no setting and does nothing; the nearest is {nearest}"


def misspelt(known: Container[str] = ()) -> Iterator[tuple[str, str]]:
    """Each variable that looks like a setting and is none, and the variable that is nearest to it.

    Args:
        known: names that are left out.
    """
    for name in _ours():
        if name not in _BY_VARIABLE and name not in known:
            import difflib

            yield name, difflib.get_close_matches(name.upper(), _BY_VARIABLE, 1, cutoff=0.0)[0]


def warn_of_unknown() -> None:
    """Warn of them."""
    for sentence in unknown():
        warnings.warn(sentence, stacklevel=5)


def foreign() -> dict[str, str]:
    """What is set of that."""
    return {name: text for name, text in os.environ.items() if name.upper() in _FOREIGN}


def clean_environment(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment without what points TLS to other certificates or HTTP to a proxy."""
    source = os.environ if environment is None else environment
    return {name: value for name, value in source.items() if name.upper() not in _FOREIGN}


def of_terminal() -> dict[str, str]:
    """What is set of how a terminal is to be written to."""
    return {name: os.environ[name] for name in ("TERM", "COLUMNS", "NO_COLOR") if name in os.environ}


def bundle_variable(verify: object) -> str | None:
    """The variable by which the environment has `requests` put this path in the place of `verify=True`."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        if isinstance(verify, str) and verify and os.environ.get(name) == verify:
            return name
    return None


def about_bundle(verify: object) -> str:
    """A sentence for an error about a path of trusted certificates: a variable names it; or nothing."""
    name = bundle_variable(verify)
    return f"{name} in the environment names it, which beats session.verify, but not verify=." if name else ""
