"""Which authorities a call trusts, who says so, and whether that can be used."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import requests

from ...settings.environment import bundle_variable
from .doctor_options import Options
from .target import Target
from .trust import problem_with

#: How OpenSSL finds an authority in a folder: by the hash of its name.
_HASHED: Final = re.compile(r"[0-9a-f]{8}\.\d+")
#: What OpenSSL and other programs read, and requests does not.
_UNREAD: Final = ("SSL_CERT_FILE", "SSL_CERT_DIR")


@dataclass(frozen=True, slots=True)
class TrustChoice:
    """The trusted authorities of a call."""

    #: A path; True for those of certifi, False for no check at all.
    verify: bool | str
    #: Who says so: "--ca", a variable's name, "session.verify"; empty: nobody.
    source: str
    #: What is wrong with the path; empty: nothing.
    problem: str = ""
    #: Whether stock requests finds nothing in the folder, and nothing worse.
    is_unhashed: bool = False
    #: What the session's `verify` says in vain, since a variable beats it; empty: nothing.
    replaced: str = ""
    #: Variables that are set, and that requests does not read.
    unread: tuple[str, ...] = ()


def trust_choice_of(
    session: requests.Session, options: Options, target: Target, environment: Mapping[str, str]
) -> TrustChoice:
    """What decides about the authorities.

    Args:
        session: the program's, or a plain one.
        options: `--ca` beats all.
        target: has what is in force.
        environment: the variables, as `os.environ` has them.
    """
    verify, own = target.verify, session.verify
    variable = bundle_variable(verify) if options.ca is None and session.trust_env else None
    if options.ca is not None:
        source = "--ca"
    elif variable is not None:
        source = variable
    else:
        source = "" if verify is True else "session.verify"
    replaced = variable is not None and own not in (True, None, verify)
    return TrustChoice(
        verify=verify,
        source=source,
        problem=problem_with(verify) if isinstance(verify, str) else "",
        is_unhashed=isinstance(verify, str) and os.path.isdir(verify) and not _has_hashed(verify),
        replaced=str(own) if replaced else "",
        unread=tuple(name for name in _UNREAD if environment.get(name)),
    )


def _has_hashed(folder: str) -> bool:
    try:
        return any(_HASHED.fullmatch(name) for name in os.listdir(folder))
    except OSError:
        return False
