"""The examples of `docs/works_with.md` run as they stand, but for the names of the server and its files."""

import pytest

from tests.examples import examples_of, run_example

EXAMPLES = examples_of("docs/works_with.md")


@pytest.mark.parametrize("example", EXAMPLES, ids=range(len(EXAMPLES)))
def test_it_heals_a_reset(example, resetting, capsys):
    """The server resets the first connection."""
    run_example(example, resetting)["session"].close()

    assert capsys.readouterr().out == "reset again whole\n"
    assert resetting.counts().accepts == 2
