"""What is said of requests' own suite: a test that fails with the adapter only is told, and fails the run."""

import pytest

from tests.upstream_suite.run import LEAST, environment, newly_failing, node_of, outcomes, report

XML = """<?xml version="1.0"?>
<testsuites><testsuite>
<testcase classname="tests.test_it" name="test_passes" />
<testcase classname="tests.test_it" name="test_fails"><failure message="m">why</failure></testcase>
<testcase classname="tests.test_it" name="test_is_skipped"><skipped /></testcase>
<testcase classname="tests.test_it" name="test_ends_badly" />
<testcase classname="tests.test_it" name="test_ends_badly"><error message="m">at its end</error></testcase>
</testsuite></testsuites>
"""


def test_outcomes_are_read(tmp_path):
    """From the file that pytest writes; a test whose teardown fails has failed."""
    (tmp_path / "stock.xml").write_text(XML, encoding="utf-8")

    assert outcomes(tmp_path / "stock.xml") == {
        "tests.test_it::test_passes": "",
        "tests.test_it::test_fails": "why",
        "tests.test_it::test_ends_badly": "at its end",
    }


@pytest.mark.parametrize(
    ("stock", "ours", "new"),
    [
        ({"a": ""}, {"a": ""}, {}),
        ({"a": ""}, {"a": "why"}, {"a": "why"}),
        ({"a": ""}, {}, {"a": "it did not run"}),
        ({"a": "why"}, {"a": "why"}, {}),
        ({"a": "why"}, {"a": ""}, {}),
        ({}, {"a": "why"}, {}),
    ],
)
def test_what_is_newly_failing(stock, ours, new):
    """What passes with stock requests, and does not with the adapter."""
    assert newly_failing(stock, ours) == new


PASSING = {f"test_{number}": "" for number in range(LEAST)}


@pytest.mark.parametrize(
    ("stock", "ours", "status", "words"),
    [
        (PASSING, PASSING, 0, " 0 newly failing"),
        ({**PASSING, "x": "why"}, {**PASSING, "x": "why"}, 0, "fails with stock requests, too: x"),
        (PASSING, {**PASSING, "test_7": "why"}, 1, "why\nNEWLY FAILING: test_7"),
        ({}, {}, 1, "0 of 0 tests pass with stock"),
    ],
)
def test_what_the_run_ends_with(capsys, stock, ours, status, words):
    """A failure that is new ends the run, one that stock has does not, and few tests prove nothing."""
    assert report(stock, ours) == status
    assert words in capsys.readouterr().out


def test_no_setting_of_ours_comes_in():
    """Neither our plugins nor our variables reach requests' suite."""
    given = {"PYTEST_ADDOPTS": "-x", "RESILIENT_TRANSPORT_MAX_RETRIES": "0", "HOME": "home"}

    assert set(environment(given)) == {"HOME", "PYTEST_DISABLE_PLUGIN_AUTOLOAD", "PYTHONPATH"}
    assert environment(given)["PYTEST_DISABLE_PLUGIN_AUTOLOAD"] == "1"


@pytest.mark.parametrize(
    ("name", "node"),
    [
        ("tests.test_it.TestRequests::test_a[http-x.y]", "tests/test_it.py::TestRequests::test_a[http-x.y]"),
        ("tests.test_help::test_b", "tests/test_help.py::test_b"),
    ],
)
def test_a_test_is_found_again(name, node):
    """By its name in the XML file, dots in its parameters included."""
    assert node_of(name) == node
