"""A program whose pools of processes make calls; it has made one before.

Run as `python -m tests.end_to_end.pools URL CA CERT KEY`. What is written is JSON: for each kind of pool how
many processes have worked, and how the calls have ended.
"""

import json
import multiprocessing
import os
from collections import Counter
from concurrent.futures import ProcessPoolExecutor

import requests

from tests.end_to_end.forking import SHARED, URL

CALLS = 12


def call(number):
    """Make one call; return the process, and how it has ended."""
    try:
        return os.getpid(), SHARED.get(f"{URL}/words/{number}", timeout=30).status_code
    except requests.RequestException as error:
        return os.getpid(), type(error).__name__


def outcome(told):
    """Return how many other processes have worked, and how the calls have ended."""
    told = list(told)
    return len({process for process, _ in told} - {os.getpid()}), Counter(str(what) for _, what in told)


def main():
    """Let each kind of pool make calls."""
    call(0)
    said = {}
    for kind in ("fork", "spawn", "forkserver"):
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context(kind)) as pool:
            said[kind] = outcome(pool.map(call, range(CALLS)))
    with multiprocessing.get_context("fork").Pool(2, maxtasksperchild=3) as pool:
        said["Pool"] = outcome(pool.imap(call, range(CALLS)))
    call(0)
    print(json.dumps(said))


if __name__ == "__main__":
    main()
