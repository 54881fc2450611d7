"""`python -m resilient_transport --version`, and `resilient_transport.__version__`."""

from importlib.metadata import version

import resilient_transport
from tests.programs import run_python


def test_the_package_and_its_command_tell_the_version():
    """Both tell the one that is installed."""
    said = run_python("-m", "resilient_transport", "--version").stdout

    assert resilient_transport.__version__ == version("resilient-transport")
    assert said == f"resilient_transport {resilient_transport.__version__}\n"
