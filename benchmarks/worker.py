"""One contestant in a process of its own, which takes an order a line as JSON and answers each with a sample.

    python -m benchmarks.worker CONTESTANT CA_FILE CERTIFICATE KEY

A cold measurement is the first order of a new worker; rounds that need a connection go to one that stays.
`workers.py` is the other end of the pipe. What an order is, is in `work.py`.
"""

import gc
import json
import sys

from benchmarks.work import ORDERS, Work


def main(contestant: str, ca_file: str, *cert: str) -> None:
    """Do what is told, until nothing more comes."""
    work = Work(contestant, ca_file, cert)
    # What is there already is nobody's garbage.
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        order = json.loads(line)
        sample = ORDERS[order.pop("do")](work, **order)
        print(json.dumps(sample), flush=True)
    work.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
