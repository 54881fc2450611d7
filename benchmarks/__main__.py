"""`python -m benchmarks`: run all, print the table; with `--write` put it into README.md as well."""

import sys
from pathlib import Path

import pytest

#: Where they are; columns that fit a screen; and more time for each than tests get: beside other work a
#: benchmark is slow, not hung.
OPTIONS = (
    str(Path(__file__).resolve().parent),
    "-q",
    "--benchmark-columns=min,median,iqr,rounds",
    "--override-ini=faulthandler_timeout=180",
)

if __name__ == "__main__":
    sys.exit(pytest.main([*OPTIONS, *sys.argv[1:]]))
