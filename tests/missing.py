"""What a test needs and cannot have. On a person's machine the test is skipped; in CI it fails."""

import importlib
import os
from typing import Any, NoReturn

import pytest


def missing(why: str) -> NoReturn:
    """Skip the test, or fail it in CI, so that a green run has tried everything."""
    if os.environ.get("CI"):
        pytest.fail(why)
    pytest.skip(why)


def require(module: str) -> Any:
    """Import a module of a package that `.[dev]` installs; without it, the test cannot run."""
    try:
        return importlib.import_module(module)
    except ImportError:
        missing(f"{module} is not installed: pip install '.[dev]'")
