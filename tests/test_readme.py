"""The README is true: its examples run, its table is the code's, its numbers are the defaults."""

import re
from pathlib import Path

import pytest
import requests

from resilient_transport import RetryPolicy, registry, settings, uninstall
from resilient_transport.cli.show_settings import shown
from resilient_transport.connection.keepalive import FRESH_FOR
from resilient_transport.gate.cold_start import HOLDS
from resilient_transport.gate.window import MAXIMUM, MOST_STALLED
from resilient_transport.pool import expiry
from resilient_transport.pool.reaper import LOOK_EVERY
from resilient_transport.pool.shared_pool import THRIFT
from resilient_transport.retry.budget import CAPACITY, RETRY_COST, TIMEOUT_COST
from resilient_transport.retry.causes import CAUSES, DEFAULT_LIMITS
from resilient_transport.retry.decision import RESET_PAUSE
from resilient_transport.retry.stages import TABLE
from resilient_transport.settings.options import DEFAULT_OPTIONS
from tests.examples import examples_of, run_example

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
EXAMPLES = examples_of("README.md")


@pytest.fixture(autouse=True)
def clean_slate(monkeypatch):
    """Begin without the environment's proxies and CA, and end with stock requests."""
    monkeypatch.setattr(requests.Session, "trust_env", False, raising=False)
    yield
    uninstall()
    registry.clear()


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_examples_run(fault_server, example, capsys):
    """Every example runs as it stands, but for the names of the server and its files."""
    run_example(example, fault_server)

    assert "Traceback" not in capsys.readouterr().err


def rows(after):
    """The cells of the table that follows a heading, without its first two lines."""
    lines = README.split(f"\n## {after}\n", 1)[1].split("\n## ", 1)[0].splitlines()
    table = [line for line in lines if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_the_replay_table_is_the_codes():
    """Row by row, word by word."""
    code = [
        [situation.value, *(verdict.value for verdict in verdicts)] for situation, verdicts in TABLE.items()
    ]

    assert rows("May it be sent again?") == code


def test_the_causes_are_the_codes():
    """Each with what it is, how often it is repeated, and the setting that says so."""
    code = []
    for cause, treatment in CAUSES.items():
        name = treatment.limit
        said = ["none", ""] if name is None else [str(DEFAULT_LIMITS[name]), f"`{name}`"]
        code.append([cause.value, treatment.about, *said])

    assert rows("How often") == code


def test_the_limits_in_force_are_those_of_the_causes():
    """The control: the table's numbers are what a policy without arguments does."""
    assert {limit.name: limit.most for limit in RetryPolicy().in_force()} == DEFAULT_LIMITS


def test_the_settings_are_the_codes():
    """Each with what is allowed, its default and what it is."""
    code = [
        [f"`{one.variable}`", one.kind.allowed, shown(one.default), one.about] for one in settings.SETTINGS
    ]

    assert rows("Settings from the environment") == code


@pytest.mark.parametrize(
    "number",
    [
        f"{CAPACITY} tokens; {RETRY_COST} each, {TIMEOUT_COST} after a time-out",
        f"closed after {DEFAULT_OPTIONS.idle_timeout:g} s",
        f"within the last {FRESH_FOR:g} s",
        f"up to {MAXIMUM} handshakes may run at once",
        f"up to {HOLDS * 1000:g} ms after the failure",
        f"Up to {MOST_STALLED} such connects",
        f"in the first {THRIFT * 1000:g} ms some calls",
        f"at most {RESET_PAUSE * 1000:g} ms after a reset inside a handshake",
        f"looks every {LOOK_EVERY:g} s",
        f"the newest {settings.default('max_idle')} are kept",
        f"{RetryPolicy().backoff * 1000:g} ms to {RetryPolicy().backoff_max:g} s",
        f"up to {RetryPolicy().retry_after_max:g} s",
        "with {:g}, {:g} and {:g} days left".format(*(left / expiry.DAY for left in expiry._LEFT)),
        f"lives for less than {expiry._LONG / expiry.DAY:g} days",
    ],
)
def test_numbers(number):
    """A number in the README is the one in the code."""
    assert number in re.sub(r"\s+", " ", README)


def test_no_line_names_a_machine():
    """Nothing in it belongs to one machine or one registry."""
    assert not re.search(r"/(root|home|work|tmp)/|pypi\.|localhost:\d", README)
