"""What can be set: by the environment, by the constructor, and around a call.

`SETTINGS` is the table of what the environment can say.
"""

from .environment import (
    SETTINGS,
    Setting,
    checked,
    clean_environment,
    default,
    remembered,
    told,
    value,
    warn_of_unknown,
)

__all__ = [
    "SETTINGS",
    "Setting",
    "checked",
    "clean_environment",
    "default",
    "remembered",
    "told",
    "value",
    "warn_of_unknown",
]
