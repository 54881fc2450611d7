"""A program that runs the demo, and interrupts its process group at one point and again while it ends.

Run as `python interrupted.py POINT ARGUMENT...`. The point is `import NAME`, or an event of `sys.setprofile`
in a function of the package: `call cli/demo/lane.py play`, `return ...`. With a `-` before the point, the
demo runs without what makes its end quiet.
"""

import os
import runpy
import signal
import sys
import threading

import resilient_transport
from resilient_transport.cli.interrupt import on_interrupt

#: One transport is enough of a demo for most points.
ONLY = "ResilientAdapter"


def interrupt():
    """Press Ctrl-C."""
    os.killpg(0, signal.SIGINT)


class Importing:
    """A finder that finds nothing, and interrupts when it is asked for a module."""

    def __init__(self, name):
        self._name = name

    def find_spec(self, name, path=None, target=None):
        if name == self._name:
            interrupt()


def watch(event, file, function):
    """Interrupt at this event of this function, in whatever thread."""
    from resilient_transport.cli.demo.transports import TRANSPORTS

    for name in TRANSPORTS.keys() - {ONLY}:
        del TRANSPORTS[name]
    path = os.path.join(os.path.dirname(resilient_transport.__file__), file)

    def profile(frame, happened, _argument):
        code = frame.f_code
        if happened == event and code.co_name == function and code.co_filename == path:
            interrupt()

    threading.setprofile(profile)
    sys.setprofile(profile)


def main(point, *arguments):
    """Interrupt the demo with these arguments at this point."""
    kind, *where = point.removeprefix("-").split()
    if kind == "import":
        sys.meta_path.insert(0, Importing(*where))
    else:
        watch(kind, *where)
    sys.argv[1:] = ["demo", *arguments]
    if point.startswith("-"):
        from resilient_transport.cli.main import main as loud

        raise SystemExit(loud())
    with on_interrupt(interrupt):
        runpy.run_module("resilient_transport", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
