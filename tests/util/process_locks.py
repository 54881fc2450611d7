"""A program that forks while another thread holds every lock of the package, and asks the child for them.

Run as `python -m tests.util.process_locks`; `forgotten` as its argument adds a lock that nobody renews, as
the control. What it writes is JSON: the locks that were held, and those that are held in the child.
"""

import importlib
import json
import os
import pkgutil
import sys
import threading
import types
from collections import deque

import requests

import resilient_transport

PACKAGE = resilient_transport.__name__
LOCKS = (type(threading.Lock()), type(threading.RLock()))
CONTAINERS = (dict, list, tuple, set, frozenset, deque)


def modules():
    """Yield every module of the package that can be imported here."""
    for found in pkgutil.walk_packages(resilient_transport.__path__, f"{PACKAGE}."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)
    yield from (module for name, module in sorted(sys.modules.items()) if name.split(".")[0] == PACKAGE)


def is_ours(value):
    """Tell whether what this is made of belongs to the package, or to what locks are made of."""
    kind = value if isinstance(value, type) else type(value)
    return kind.__module__.split(".")[0] in (PACKAGE, "threading", "concurrent")


def parts(value):
    """Yield what belongs to an object, with the name that leads there."""
    if isinstance(value, dict):
        yield from ((f"[{key!r}]", each) for key, each in list(value.items()))
    elif isinstance(value, CONTAINERS):
        yield from ((f"[{number}]", each) for number, each in enumerate(list(value)))
    elif isinstance(value, types.FunctionType):
        cells = value.__closure__ or ()
        yield from ((f"<{number}>", cell.cell_contents) for number, cell in enumerate(cells))
    elif isinstance(value, types.MethodType):
        yield ".__self__", value.__self__
    elif is_ours(value):
        slots = [name for kind in type(value).__mro__ for name in getattr(kind, "__slots__", ())]
        named = {name: getattr(value, name, None) for name in slots if not name.startswith("__")}
        named |= dict(getattr(value, "__dict__", {}))
        yield from ((f".{name}", each) for name, each in named.items())


def locks():
    """Return every lock that a module or a process-wide object of the package leads to, by its name."""
    found, seen = {}, set()
    ahead = [(module.__name__, dict(vars(module))) for module in modules()]
    while ahead:
        name, value = ahead.pop()
        if isinstance(value, LOCKS):
            found.setdefault(id(value), (name, value))
        elif id(value) not in seen and not isinstance(value, types.ModuleType):
            seen.add(id(value))
            ahead += [(name + part, each) for part, each in parts(value)]
    return dict(found.values())


def held_in_child(report):
    """Fork, and let the child write the names of the locks that it cannot take."""
    child = os.fork()
    if child == 0:
        try:
            stuck = sorted(name for name, lock in locks().items() if not lock.acquire(blocking=False))
            os.write(report, json.dumps(stuck).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)


def main():
    """Hold all, fork, and tell."""
    session = requests.Session()
    resilient_transport.mount(session)
    if "forgotten" in sys.argv:
        sys.modules[f"{PACKAGE}.installation"]._forgotten = {"lock": threading.Lock()}
    everything = locks()
    taken, over = threading.Event(), threading.Event()

    def hold():
        for lock in everything.values():
            lock.acquire(blocking=False)
        taken.set()
        over.wait()

    threading.Thread(target=hold, daemon=True).start()
    taken.wait()
    held = sorted(name for name, lock in everything.items() if not lock.acquire(blocking=False))
    reader, writer = os.pipe()
    held_in_child(writer)
    os.close(writer)
    with os.fdopen(reader) as file:
        json.dump({"held": held, "stuck": json.loads(file.read())}, sys.stdout)
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
