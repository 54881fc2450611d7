"""A certificate that was refused, although its files say something else by now.

Files are looked at once a second, and `stat` cannot tell every change. So a server may refuse a certificate
that was replaced a moment ago, and a server's new certificate may be from an authority that the file has and
the context has not. Then the files are read again at once, once in a call. If that makes another identity,
the failure is none that lasts, and the replay table says whether the call is sent again.

That is so for an alert that arrives when the request was written (TLS 1.3), too: it is in the row of requests
that have left. A server that refuses in its handshake has read nothing, but it may also ask for a certificate
later (RFC 8446 section 4.6.2), and nobody can see here which it was.

nginx refuses by a page. That is a whole response with a status, so what may be repeated after one is: a page
of a server behind the one that was asked looks the same.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final

from requests import PreparedRequest, Response
from requests.adapters import HTTPAdapter

from ..connection.trace import CURRENT, Trace
from ..pool.registry import contexts_in
from ..retry.causes import Cause
from ..retry.stages import Failure, Stage
from ..util.frozen import replace
from .record import Record
from .refusal_page import says

#: What a certificate is to blame for that is no longer the one in the files.
_REFUSALS: Final = (Cause.CERTIFICATE, Cause.CLIENT_CERTIFICATE)


def unless_rotated(
    failure: Failure,
    record: Record,
    adapter: HTTPAdapter,
    trace: Trace,
    request: PreparedRequest,
    proxies: Any,
) -> Failure:
    """The failure; one that lasts no longer, if the certificate files say something else by now.

    Args:
        failure: how an attempt has failed.
        record: of its call.
        adapter: whose hooks have found its pool.
        trace: the attempt's.
        request, proxies: what was sent, and by which way.
    """
    if failure.cause in _REFUSALS and _is_other_by_now(record, adapter, trace, request, proxies):
        # The pause of the old pool is not the new one's.
        return replace(failure, cause=Cause.ROTATED, paced=False)
    trace.failed_in = None
    return failure


def refused_by_page(record: Record, adapter: HTTPAdapter, trace: Trace, response: Response) -> Failure | None:
    """How an attempt has failed whose response is a page that refuses a certificate which was replaced.

    None: that is not so. A page may be relayed, so it belongs to the row of statuses.
    """
    plan, status = record.plan, response.status_code
    if says(response, plan.request) is None:
        trace.failed_in = None
        return None
    if not _is_other_by_now(record, adapter, trace, plan.request, plan.proxies):
        return None
    trace.mark(Stage.STATUS)
    spent = record.body.is_spent(Stage.STATUS)
    return Failure(Stage.STATUS, Cause.ROTATED, trace.reused, spent, status, cold=trace.cold)


def _is_other_by_now(
    record: Record, adapter: HTTPAdapter, trace: Trace, request: PreparedRequest, proxies: Any
) -> bool:
    """Whether the same request gets a pool with another TLS identity, now that the files are read again."""
    pool, trace.failed_in = trace.failed_in, None
    find, plan = getattr(adapter, "pool_read_since", None), record.plan
    if pool is None or find is None or record.has_read_again:
        return False
    record.has_read_again, found = True, None
    # Who waits for another thread that asks `identity=` does so within the limits of the attempt.
    outside, CURRENT.value = CURRENT.value, trace
    try:
        # What is wrong with the files, or in a function for the password, is not what has failed.
        with suppress(Exception):
            found = find(trace.began, request, plan.verify, proxies, plan.cert)
    finally:
        CURRENT.value = outside
    shared = getattr(found, "shared_pool", None)
    return shared is not None and contexts_in(shared.key) != contexts_in(pool.key)
