"""The sections of the doctor, in the order in which they run."""

from __future__ import annotations

from typing import Final

from ..section import Section
from .burst import BURST
from .by_hand import CONTROL
from .every_address import CONNECT
from .idle_connection import IDLE
from .keep_alive import KEEP_ALIVE
from .mutual_tls import CLIENT_CERTIFICATE
from .name import NAME
from .proxy import PROXY
from .resumable_body import RESUME
from .server_certificate import SERVER_CERTIFICATE
from .settings_in_force import SETTINGS
from .sizes import SIZES
from .this_host import THIS_HOST
from .tls import TLS
from .versions import VERSIONS

SECTIONS: Final[tuple[Section, ...]] = (
    SETTINGS,
    VERSIONS,
    NAME,
    CONNECT,
    PROXY,
    TLS,
    SERVER_CERTIFICATE,
    CLIENT_CERTIFICATE,
    BURST,
    SIZES,
    IDLE,
    KEEP_ALIVE,
    RESUME,
    CONTROL,
    THIS_HOST,
)
