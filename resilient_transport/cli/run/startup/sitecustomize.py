"""Python imports this before a program that `run` has started, and with `--children` before its children.

A child may be a Python of any age, so this is written for all of them. What a newer one has to do is in
`resilient_transport_hook`. Then this hands over to the `sitecustomize` that was there before.
"""

import os
import sys

if __name__ == "sitecustomize":
    _folder = os.path.dirname(os.path.abspath(__file__))
    _hook = None
    if sys.version_info >= (3, 8):  # noqa: UP036 - it may be an older one
        _hook = __import__("resilient_transport_hook")
        del sys.modules[_hook.__name__]
    sys.path[:] = [entry for entry in sys.path if entry != _folder]
    sys.path_importer_cache.pop(_folder, None)
    if _hook:
        _hook.begin()
    # Python 2 empties a module that nobody refers to.
    _itself = sys.modules.pop(__name__)
    # If there is no other one, the error says so, and `site` ignores it: as if this file had never been.
    __import__(__name__)
