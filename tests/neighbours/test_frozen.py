"""PyInstaller: a frozen program looks at no environment, so that it has to install the adapter itself."""

import faulthandler
import subprocess

import pytest

from resilient_transport.cli.run.startup.resilient_transport_hook import environment_with
from resilient_transport.settings.environment import clean_environment
from resilient_transport.testing import Fault, Moment, Rule, Script
from tests.programs import ROOT
from tests.timeouts import HANG_TIMEOUT

#: A program that installs the adapter, or not.
PROGRAM = """
import sys
import requests

url, ca, cert, key, does_install = sys.argv[1:]
if does_install == "yes":
    import resilient_transport

    resilient_transport.install()
try:
    said = requests.get(url, verify=ca, cert=(cert, key), timeout=10).status_code
except requests.ConnectionError:
    said = "lost"
print(sys.frozen, type(requests.Session().get_adapter(url)).__name__, said)
"""
#: Large, and imported only if they are there, or asked for.
LEFT_OUT = (
    "OpenSSL", "brotlicffi", "chardet", "cryptography", "h2", "multiprocessing", "prometheus_client",
    "simplejson", "truststore", "zstandard",
)  # fmt: skip
TWO_RESETS = Script((Rule(Fault(Moment.CLIENT_HELLO), first=2),))


def frozen(python, folder):
    """Freeze the program; return its path. To pack it into one file takes as long again."""
    (folder / "program.py").write_text(PROGRAM)
    options = [f"--exclude-module={name}" for name in LEFT_OUT]
    command = [python, "-m", "PyInstaller", "--onedir", *options, "program.py"]
    environment = {**clean_environment(), "PYTHONPATH": str(ROOT), "PYINSTALLER_CONFIG_DIR": str(folder)}
    said = []
    with subprocess.Popen(command, cwd=folder, env=environment, stderr=subprocess.PIPE, text=True) as process:
        for line in process.stderr:
            # On a busy machine it takes longer than a test may. While it goes on, it does not hang.
            faulthandler.dump_traceback_later(HANG_TIMEOUT, exit=True)
            said.append(line)
    assert process.returncode == 0, "".join(said[-20:])
    return folder / "dist" / "program" / "program"


@pytest.mark.slow
def test_a_frozen_program_may_install_the_adapter(environment_of, tmp_path, server):
    """PyInstaller finds all that a call needs. The control installs nothing, and `run` cannot reach it."""
    program = frozen(environment_of("pyinstaller", "pyinstaller").python, tmp_path)

    def said(does_install, environment):
        server.play(TWO_RESETS)
        command = [program, server.url, server.authority.ca_file, *server.authority.client, does_install]
        ended = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=HANG_TIMEOUT, check=True
        )
        return ended.stdout.split()

    assert said("yes", clean_environment()) == ["True", "ResilientAdapter", "200"]
    assert said("no", clean_environment()) == ["True", "HTTPAdapter", "lost"]
    assert said("no", environment_with({"children"})) == ["True", "HTTPAdapter", "lost"]
