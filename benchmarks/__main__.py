"""`python -m benchmarks`: run all, print the table; with `--write` put it into README.md as well."""

import sys
from pathlib import Path

import pytest

if __name__ == "__main__":
    here = str(Path(__file__).resolve().parent)
    sys.exit(pytest.main([here, "-q", "--benchmark-columns=min,median,iqr,rounds", *sys.argv[1:]]))
