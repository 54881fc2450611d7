"""Two functions of `backoff`, without the package around them."""

import importlib.util
import sys
from itertools import islice

import backoff
import pytest

from resilient_transport.retry import backoff as ours
from tests.programs import run_python


def test_they_are_the_packages_own():
    """The installed `backoff` has the shape that is known: its two files hold the functions it exports."""
    spec = importlib.util.find_spec("backoff")
    expo, full_jitter = ours.load(list(spec.submodule_search_locations))

    assert expo.__code__ == backoff.expo.__code__
    assert full_jitter.__code__ == backoff.full_jitter.__code__
    assert ours.expo.__code__ == backoff.expo.__code__
    assert ours.full_jitter.__code__ == backoff.full_jitter.__code__


def test_they_pace():
    """First None, then ceilings that double up to the highest; a part of one is waited."""
    ceilings = list(islice(ours.expo(factor=0.05, max_value=0.3), 5))
    parts = [ours.full_jitter(0.3) for _ in range(100)]

    assert ceilings == [None, 0.05, 0.1, 0.2, 0.3]
    assert all(0 <= part <= 0.3 for part in parts)


@pytest.mark.parametrize("files", [{}, {"_wait_gen": ""}, {"_wait_gen": "expo = 1", "_jitter": "1 +"}])
def test_another_shape_is_imported_whole(tmp_path, monkeypatch, files):
    """What is not where it should be is asked of the package."""
    for name, text in files.items():
        (tmp_path / f"{name}.py").write_text(text)
    spec = importlib.util.spec_from_file_location(
        "backoff", tmp_path / "__init__.py", submodule_search_locations=[str(tmp_path)]
    )
    monkeypatch.setattr(ours, "find_spec", lambda _: spec)
    monkeypatch.setattr(sys, "path", [])

    assert ours._found() == (backoff.expo, backoff.full_jitter)


def test_a_module_of_the_programs_is_left_to_it(tmp_path):
    """A `backoff.py` beside the script is neither asked nor run; the package behind it is."""
    (tmp_path / "backoff.py").write_text("print('mine')")
    use = "from resilient_transport.retry import backoff as ours; print(next(ours.expo()))"
    ours = run_python("-c", use, PYTHONPATH=str(tmp_path))
    theirs = run_python("-c", "import backoff", PYTHONPATH=str(tmp_path))

    assert ours.stdout == "None\n"
    assert theirs.stdout == "mine\n"


def modules_after(code):
    """Return which of two packages are imported after a program."""
    told = f"{code}; import sys; print(sorted({{'asyncio', 'backoff'}} & set(sys.modules)))"
    return run_python("-c", told).stdout.strip()


def test_nothing_else_is_imported():
    """Neither at import nor when a pause is worked out."""
    code = (
        "from resilient_transport.retry.decision import backoff_delay as d; import resilient_transport as r; "
        "d(r.RetryPolicy(), 3)"
    )

    assert modules_after(code) == "[]"


def test_the_package_brings_asyncio():
    """The control: that is what it costs."""
    assert modules_after("import backoff") == "['asyncio', 'backoff']"
