"""How to start a process that no key of the terminal reaches: what Ctrl-C means is its parent's affair.

For the process to ignore the signal is not enough: it comes too late, if the process is still being started.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from typing import Any, Final

#: Arguments for `subprocess.Popen`.
OWN_GROUP: Final[Mapping[str, Any]] = (
    {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}
    if os.name == "nt"
    else {"start_new_session": True}
)
