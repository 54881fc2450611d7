"""`python -m resilient_transport settings`: each setting, its value, and where that came from."""

import pytest

from resilient_transport.cli.main import main
from resilient_transport.settings import environment


def lines(capsys):
    """What was printed, by variable: its value and its source."""
    printed = [line.split("  ") for line in capsys.readouterr().out.splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in printed]
    return {name: (value, source) for name, value, source, _ in cells}


def test_each_setting_is_printed_with_its_source(monkeypatch, capsys):
    """Those of the environment and those by default."""
    monkeypatch.setenv("RESILIENT_TRANSPORT_RETRIES", "7")
    monkeypatch.setenv("RESILIENT_TRANSPORT_BYPASS", "yes")
    monkeypatch.setenv("RESILIENT_TRANSPORT_DISABLE", "https://API.example/v1/ http://b.example")
    status = main(["settings"])
    printed = lines(capsys)

    assert status == 0
    assert printed.keys() == {setting.variable for setting in environment.SETTINGS}
    assert printed["RESILIENT_TRANSPORT_RETRIES"] == ("7", "environment")
    assert printed["RESILIENT_TRANSPORT_BYPASS"] == ("on", "environment")
    assert printed["RESILIENT_TRANSPORT_DISABLE"] == (
        "https://api.example/v1 http://b.example/",
        "environment",
    )
    assert printed["RESILIENT_TRANSPORT_DEADLINE"] == ("none", "default")
    assert printed["RESILIENT_TRANSPORT_CONNECT_TIMEOUT"] == ("10", "default")


def test_what_is_printed_can_be_set(monkeypatch, capsys):
    """Each value is spelled as the environment takes it."""
    main(["settings"])
    for name, (value, _) in lines(capsys).items():
        if not name.endswith("DISABLE"):
            monkeypatch.setenv(name, value)

    assert main(["settings"]) == 0
    assert all(environment.value(one.name) == one.default for one in environment.SETTINGS)


def test_a_wrong_value_is_told_beside_the_others(monkeypatch, capsys):
    """It cannot be used, so the status says so; an unknown name warns."""
    monkeypatch.setattr(environment, "_warned", set())
    monkeypatch.setenv("RESILIENT_TRANSPORT_BACKOFF", "soon")
    monkeypatch.setenv("RESILIENT_TRANSPORT_RETRY", "1")
    with pytest.warns(UserWarning, match="nearest is RESILIENT_TRANSPORT_RETRIES"):
        status = main(["settings"])
    out, err = capsys.readouterr()

    assert status == 2
    assert "RESILIENT_TRANSPORT_BACKOFF='soon': allowed is a number of seconds, 0 or more" in err
    assert "RESILIENT_TRANSPORT_BACKOFF " not in out
    assert "RESILIENT_TRANSPORT_BACKOFF_MAX" in out
