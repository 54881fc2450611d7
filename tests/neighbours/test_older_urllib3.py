"""An older version of urllib3; the oldest that is allowed is in `test_lowest_dependencies.py`."""

import pytest

OLDER = {"urllib3-2.7": "urllib3==2.7.0"}


@pytest.mark.slow
@pytest.mark.parametrize("name", OLDER)
def test_a_proxys_own_tls(environment_of, name):
    """CVE-2026-97687 is not in this package, whatever urllib3 is below it; the control: in stock it is."""
    environment = environment_of(name, OLDER[name])
    ran = environment.run(
        "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/connection/test_proxys_own_tls.py", check=False
    )

    assert ran.returncode == 0, ran.stdout
    assert "skipped" not in ran.stdout.splitlines()[-1]
