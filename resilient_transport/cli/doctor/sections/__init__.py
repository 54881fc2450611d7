"""The sections of the doctor, in the order in which they run."""

from __future__ import annotations

from typing import Final

from ..section import Section
from .control import CONTROL

SECTIONS: Final[tuple[Section, ...]] = (CONTROL,)
