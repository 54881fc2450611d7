"""A program that says what it sees of itself, as JSON. The tests of `run` compare it with and without."""

import json
import os
import signal
import sys


def told():
    """Return all that a program can see of how it was started."""
    main = vars(sys.modules["__main__"])
    spec = main["__spec__"]
    site = sys.modules.get("sitecustomize"), sys.modules.get("usercustomize")
    return {
        "argv": sys.argv,
        "orig_argv": sys.orig_argv,
        "path": sys.path,
        "flags": str(sys.flags),
        "options": [sys.warnoptions, sorted(sys._xoptions), sys.getrecursionlimit()],
        "main": sorted(main),
        "main's": [main["__name__"], main.get("__file__"), main["__package__"], main.get("__cached__")],
        "loader": str(getattr(main["__loader__"], "__name__", type(main["__loader__"]).__name__)),
        "spec": spec and [spec.name, spec.origin],
        "environ": sorted(os.environ.items()),
        "executable": [sys.executable, sys.prefix, os.getcwd()],
        "streams": [(one.encoding, one.errors, one.line_buffering) for one in (sys.stdin, sys.stdout)],
        "signals": [str(signal.getsignal(number)) for number in sorted(signal.valid_signals())],
        "descriptors": sorted(os.listdir("/dev/fd")),
        "site": [one and one.__file__ for one in site],
        "modules": sorted(sys.modules),
    }


if __name__ == "__main__":
    print(json.dumps(told()))
