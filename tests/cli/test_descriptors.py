"""A command that is started without standard streams opens no file in their place."""

import os
import sys

import pytest

from tests.programs import run_python

#: Close all three, fill them or not, start a process, and say which numbers it has got.
PROGRAM = """
import os, subprocess, sys
from resilient_transport.cli.descriptors import fill_standard

told = os.dup(1)
for number in range(3):
    os.close(number)
if sys.argv[1] == "filled":
    fill_standard()
first = os.open(os.devnull, os.O_RDONLY)
look = "import os\\ntry: os.fstat(2)\\nexcept OSError: os._exit(1)"
status = subprocess.call([sys.executable, "-S", "-c", look], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
os.write(told, f"{first > 2} {status}".encode())
os._exit(0)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="there it is no file's number")
@pytest.mark.parametrize(("how", "said"), [("filled", "True 0"), ("closed", "False 1")])
def test_closed_descriptors_are_filled(how, said):
    """The program's next file has a number of its own, and what it starts has a standard error."""
    assert run_python("-c", PROGRAM, how).stdout == said


def test_open_ones_stay_as_they_are():
    """Nothing is opened."""
    from resilient_transport.cli.descriptors import fill_standard

    before = [os.fstat(number).st_ino for number in range(3)]
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    fill_standard()
    again = os.open(os.devnull, os.O_RDONLY)
    os.close(again)

    assert [os.fstat(number).st_ino for number in range(3)] == before
    assert again == free
