"""Makes so many calls in joblib's workers; run as `python -m tests.neighbours.parallel BACKEND NUMBER`."""

import json
import os
import sys
from collections import Counter

from joblib import Parallel, delayed

from tests.neighbours.fetching import FIRST, fetch


def call(name):
    """Return the worker, and what came of a call."""
    return os.getpid(), fetch(name)


if __name__ == "__main__":
    backend, number = sys.argv[1:]
    said = Parallel(n_jobs=2, backend=backend)(delayed(call)(name) for name in range(int(number)))
    workers = {worker for worker, _ in said} - {os.getpid()}
    print(json.dumps([FIRST, len(workers), Counter(what for _, what in said)]))
