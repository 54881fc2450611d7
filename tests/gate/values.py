"""What the tests of the gate build theirs from: callers, predicates, gates in a given state."""

import threading

from resilient_transport.gate.caller import Caller
from resilient_transport.gate.gate import Gate
from resilient_transport.gate.permit import Permit
from resilient_transport.gate.waiter import Waiter
from tests.timeouts import LONG_TIMEOUT


def anything(_):
    """Take every item."""
    return True


def nothing(_):
    """Take none: a new one is wanted."""
    return False


def even(item):
    """Take even numbers."""
    return item % 2 == 0


def sharing():
    """Return a caller that takes part in a cold start."""
    return Caller(lambda: True)


def alone():
    """Return a caller that does not: it may not be repeated, or makes pauses of its own."""
    return Caller(lambda: False)


def ask(gate, suits=anything, caller=None, began=None):
    """Come to a gate; return the waiter, which has been granted something or is in the queue."""
    waiter = Waiter(suits, caller, began)
    assert gate.enter(waiter) is waiter.granted
    return waiter


def let_in(gate, caller=None):
    """Come to a gate that lets one in; return the permit."""
    permit = ask(gate, nothing, caller).granted
    assert isinstance(permit, Permit)
    return permit


def look(gate):
    """Look, as who waits does from time to time."""
    gate.look(Waiter(nothing))


def permitted(*waiters):
    """Tell which of these have got leave to make one."""
    return [isinstance(waiter.granted, Permit) for waiter in waiters]


def told(*waiters):
    """Return which failure each of these was told; None for who was told none."""
    return [None if isinstance(waiter.granted, Permit) else waiter.granted for waiter in waiters]


def led(*callers, **fields):
    """Return a cold gate, the permit and the caller of its leader, and waiters for these callers."""
    gate, leader = Gate(**fields), sharing()
    permit = let_in(gate, leader)
    return gate, permit, leader, [ask(gate, anything, caller) for caller in callers]


def open_gate(*, size=None, **fields):
    """Return a proven gate with nothing open, and perhaps a smaller window than it may have."""
    gate = Gate(**fields)
    permit = let_in(gate)
    permit.succeeded()
    permit.closed()
    if size is not None:
        gate.window.size = size
    return gate


def filled(*items, **fields):
    """Return a cold gate with these idle items, the oldest first."""
    gate = Gate(**fields)
    for item in items:
        assert gate.offer(item) is None
    return gate


def elsewhere(work, *arguments):
    """Do something in another thread; return what came of it. A thread that hangs is an error."""
    results = []
    thread = threading.Thread(target=lambda: results.append(work(*arguments)), daemon=True)
    thread.start()
    thread.join(LONG_TIMEOUT)
    assert results, "it hangs, or has raised"
    return results[0]
