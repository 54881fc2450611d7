"""What several tests build their values from: errors as the wire meets them, a clock that stands still."""

import ssl


def tls(reason, kind=ssl.SSLError):
    """Return an error as OpenSSL's bindings raise it."""
    error = kind(1, f"[SSL: {reason}] (_ssl.c:1000)")
    error.reason = reason
    return error


def unexplained(kind=ssl.SSLError, *args):
    """Return a TLS error for which OpenSSL gives no reason."""
    error = kind(*args)
    error.reason = None
    return error


def raised_from(error, cause):
    """Return an error that wraps another, as `raise error from cause` makes it."""
    error.__cause__ = cause
    return error


class Clock:
    """A monotonic clock that stands still until it is told to go on."""

    def __init__(self, now):
        """Start at this moment."""
        self.now = now

    def __call__(self):
        """Return the moment."""
        return self.now
