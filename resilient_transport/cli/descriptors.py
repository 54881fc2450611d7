"""What a command is started with: standard input, output and error, or nowhere in their place."""

from __future__ import annotations

import os


def fill_standard() -> None:
    """Let those of the three that are closed lead nowhere, for this process and for what it starts.

    Otherwise the next file or pipe takes the number of one, and what another process takes for its standard
    error is written into that.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # It takes the lowest number that is free.
            os.set_inheritable(os.open(os.devnull, os.O_RDWR), True)
