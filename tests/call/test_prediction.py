"""How often a server is asked follows from what was said, whoever said it and wherever an attempt fails.

`PREDICTION_EXAMPLES` says how many examples are tried. `oracle.py` predicts, and knows docs/behaviour.md and
nothing of the package; `player.py` has the server, and the network before it.
"""

import gc
import io
import os
import sys

import pytest
import requests
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from requests.adapters import HTTPAdapter
from requests.auth import HTTPDigestAuth
from urllib3.util import Retry

from resilient_transport import ResilientAdapter, RetryPolicy, attempts_of, override, registry
from resilient_transport.call import origin_state
from tests.end_to_end.oracle import End, agree, hops, predict
from tests.end_to_end.player import BODY, Player, contexts
from tests.end_to_end.said import FAULTS, IDEMPOTENT, Said
from tests.timeouts import LONG_TIMEOUT, SHORT_TIMEOUT

EXAMPLES = int(os.environ.get("PREDICTION_EXAMPLES", "150"))
#: In how many tests: each ends in seconds, on a busy machine, too.
SHARES = 5
#: Whether the environment has a say.
ENVIRONMENT = True
LONGEST = 16
if sys.version_info < (3, 13):
    # There the collector has to close what is reset before its handshake, and in 3.10 what a proxy refuses.
    pytestmark = pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")

few = st.sampled_from([None, None, None, 0, 1, 2, 3, 4, 6, 9])
POLICY_FIELDS = {
    **dict.fromkeys(
        ("retries", "connect_retries", "refused_retries", "name_retries", "timeout_retries"), few
    ),
    **dict.fromkeys(("proxy_retries", "other_retries"), few),
    "retry_non_idempotent": st.booleans(),
    "idempotency_key": st.booleans(),
    "raise_on_status": st.booleans(),
    "statuses": st.sampled_from([frozenset(), frozenset({503}), frozenset({500, 503, 421})]),
    "allowed_methods": st.sampled_from([None, frozenset(), frozenset({"GET"}), frozenset({"GET", "POST"})]),
}
RETRY_FIELDS = {
    **dict.fromkeys(("total", "connect", "status", "other"), few),
    "read": few | st.just(False),
    "allowed_methods": st.sampled_from(
        [IDEMPOTENT, IDEMPOTENT, None, frozenset({"POST"}), frozenset({"GET"})]
    ),
    "status_forcelist": st.sampled_from([(), (503,), (408, 429, 500, 502, 503, 504)]),
    "respect_retry_after_header": st.booleans(),
    "raise_on_status": st.booleans(),
}
briefly = st.fixed_dictionaries(
    {}, optional={"retries": st.integers(0, 9), "retry_non_idempotent": st.booleans()}
)
overrides = st.just({}) | briefly
sources = st.one_of(
    st.just(Said("nothing")),
    st.integers(0, 9).map(lambda count: Said("max_retries", {"retries": count})),
    st.fixed_dictionaries({}, optional=POLICY_FIELDS).map(lambda values: Said("RetryPolicy", values)),
    st.fixed_dictionaries(RETRY_FIELDS).map(lambda values: Said("Retry", values)),
    *[briefly.map(lambda values: Said("environment", values))][:ENVIRONMENT],
)
#: Faults that only a proxy has, that last, and that break a body; one that has to be waited for is rare.
TUNNEL = frozenset({"tunnel", "unable", "denied"})
LASTING = frozenset({"denied", "stranger"})
BODIES = [name for name, fault in FAULTS.items() if fault.stage == "body"]
WIRE = [name for name, fault in FAULTS.items() if fault.stage != "status" and fault.cause != "lasting"]
TOLD = [name for name, fault in FAULTS.items() if fault.stage == "status"]
OFTEN = [name for name in WIRE if name != "silent"]
faults = st.sampled_from([*OFTEN * 4, *BODIES * 6, *TOLD * 2, "503", "421", *LASTING, "silent"])
runs = st.tuples(faults, st.sampled_from([1] * 8 + [2, 4, 13]))
scripts = st.lists(runs, min_size=1, max_size=10).map(
    lambda runs: [name for name, times in runs for _ in range(times)]
)
calls = st.fixed_dictionaries(
    {
        "method": st.sampled_from(["GET"] * 5 + ["POST"] * 3 + ["PUT", "HEAD", "PATCH"]),
        "key": st.booleans(),
        "body": st.sampled_from([None] * 5 + ["bytes", "file", "iterator"]),
        "path": st.sampled_from(["/plain", "/plain", "/redirect", "/digest"]),
        "redirect": st.sampled_from([302, 307]),
        "proxied": st.booleans(),
    }
)


def adapter_for(said):
    """Return an adapter to which this was said."""
    if said.source == "Retry":
        return ResilientAdapter(max_retries=Retry(**said.values))
    if said.source == "RetryPolicy":
        return ResilientAdapter(policy=RetryPolicy(**said.values))
    if said.source == "max_retries":
        return ResilientAdapter(max_retries=said.values["retries"])
    with pytest.MonkeyPatch.context() as patch:
        for name, value in said.values.items():
            patch.setenv(f"RESILIENT_TRANSPORT_{name.upper()}", str(int(value)))
        return ResilientAdapter()


class Seen:
    """What was seen of a call.

    Attributes:
        attempts, resumes: those that reached the network, and requests for the rest of a body.
        executed: how often the server has executed each hop.
        ends: how many attempts each hop tells of, and how it ended.
    """

    def __init__(self, authority, tls, script, call, adapter, here=None):
        self.ends = []
        registry.clear()
        origin_state.clear()
        with Player(script, tls, call["proxied"], call["redirect"]) as server, requests.Session() as session:
            session.trust_env = False
            session.mount("https://", adapter)
            if call["proxied"]:
                session.proxies = {"https": f"http://127.0.0.1:{server.port}"}
            self._listen(adapter)
            body = {"bytes": b"body", "file": io.BytesIO(b"body"), "iterator": iter([b"bo", b"dy"])}
            with server.network(), override(**(here or {})):
                self._call(
                    session,
                    call["method"],
                    f"https://127.0.0.1:{server.port}{call['path']}",
                    data=body.get(call["body"]),
                    headers={"Idempotency-Key": "k"} if call["key"] else {},
                    auth=HTTPDigestAuth("who", "what") if call["path"] == "/digest" else None,
                    verify=authority.ca_file,
                    cert=authority.client,
                    timeout=(LONG_TIMEOUT, SHORT_TIMEOUT if "silent" in script else LONG_TIMEOUT),
                )
            registry.clear()
        self.attempts, self.resumes = server.attempts, server.resumes
        first, later = (
            (call["path"], False),
            ("/end", False) if call["path"] == "/redirect" else ("/digest", True),
        )
        self.executed = [server.executed[first], server.executed[later]]

    def agrees(self, predicted):
        """Whether it is what was predicted, by the server's count and by what each call tells."""
        return agree(self.ends, predicted) and self.attempts == sum(end.attempts for end in predicted)

    def _listen(self, adapter):
        """Have each call of the adapter told: of a redirect that fails, the exception tells only the last."""
        send = adapter.send

        def listened(*args, **kwargs):
            try:
                response = send(*args, **kwargs)
                # A 401 is read by who answers it, and its attempts go on until then.
                response.content  # noqa: B018 - reading it is the point
            except requests.RequestException as error:
                self.ends.append(End(len(attempts_of(error)), type(error)))
                raise
            self.ends.append(End(len(attempts_of(response)), response.status_code))
            return response

        adapter.send = listened

    def _call(self, session, method, url, **values):
        try:
            response = session.request(method, url, **values)
        except requests.RequestException:
            return
        if response.status_code == 200 and method != "HEAD":
            assert response.content == BODY


@pytest.fixture(scope="module", autouse=True)
def at_once():
    """Let pauses take no time, and a busy machine's handshakes be confirmed however long that takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("resilient_transport.call.loop.sleep", lambda _: None)
        patch.setattr("resilient_transport.call.resume.sleep", lambda _: None)
        patch.setattr("resilient_transport.pool.shared_pool.pace", lambda *_: 0.0)
        patch.setattr("resilient_transport.connection.tls_connection.PROOF_WAIT", LONG_TIMEOUT)
        patch.setattr("resilient_transport.connection.tls_connection.PROOF_WAIT_IN_DOUBT", LONG_TIMEOUT)
        yield
    gc.collect()


@pytest.fixture(scope="module")
def tls(authority):
    """Return the TLS contexts that all examples share."""
    return contexts(authority)


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
@settings(max_examples=max(1, EXAMPLES // SHARES), deadline=None, suppress_health_check=list(HealthCheck))
@given(said=sources, here=overrides, script=scripts, call=calls)
def test_the_number_of_attempts_is_the_predicted_one(authority, tls, said, here, script, call, share):
    """On every path: connect, tunnel, handshake, request, status, body, redirect, digest."""
    said.override = here
    if call["body"] == "iterator":
        call = {**call, "path": "/plain"}
    played = [name for name in script if call["proxied"] or name not in TUNNEL][:LONGEST]
    ends = predict(said, hops(call), played)
    seen = Seen(authority, tls, played, call, adapter_for(said), here)

    assert seen.agrees(ends), (seen.attempts, seen.ends, ends)
    for hop, executed in zip(hops(call), seen.executed, strict=False):
        assert executed <= 1 or (said.repeats(hop.method, hop.key) and hop.rewindable)
    event(f"source: {said.source}{' + override' if here else ''}")
    event(f"path: {call['path']}{' by a proxy' if call['proxied'] else ''}, {len(ends)} calls")
    event(f"resumes: {min(seen.resumes, 3)}")
    event(f"attempts: {seen.attempts if seen.attempts < 4 else '4 or more'}")
    for fault in {FAULTS[name] for name in played[: seen.attempts]}:
        event(f"stage: {fault.stage}, {fault.cause}")
    event(f"request: {call['method']}{'' if said.repeats(call['method'], call['key']) else ', only once'}")
    event(f"end: {ends[-1].outcome if isinstance(ends[-1].outcome, int) else ends[-1].outcome.__name__}")


PLAIN = {"method": "GET", "key": False, "body": None, "path": "/plain", "redirect": 302, "proxied": False}
POST = {**PLAIN, "method": "POST"}
RETRY = {
    **dict.fromkeys(("total", "connect", "read", "status", "other")),
    "allowed_methods": IDEMPOTENT,
    "status_forcelist": (),
    "respect_retry_after_header": True,
    "raise_on_status": True,
}
NO_METHOD = Said("RetryPolicy", {"allowed_methods": frozenset()}, {"retry_non_idempotent": False})
#: Each source, saying that there may be so many repetitions.
COUNTED = {
    "max_retries": lambda count: Said("max_retries", {"retries": count}),
    "RetryPolicy": lambda count: Said("RetryPolicy", {"retries": count}),
    "Retry": lambda count: Said("Retry", {**RETRY, "total": count}),
    "override": lambda count: Said("nothing", {}, {"retries": count}),
}
if ENVIRONMENT:
    COUNTED["environment"] = lambda count: Said("environment", {"retries": count})


@pytest.mark.parametrize("source", COUNTED)
@pytest.mark.parametrize("fault", ["name", "hello", "executed", "none"])
def test_a_prediction_that_is_off_by_one_is_noticed(authority, tls, source, fault):
    """The control: of three predictions, for one repetition more or less, one is what happens."""
    said, script = COUNTED[source](2), [fault] * 9

    seen = Seen(authority, tls, script, PLAIN, adapter_for(said), said.override)

    right = [
        count for count in (1, 2, 3) if seen.agrees(predict(COUNTED[source](count), hops(PLAIN), script))
    ]
    assert right == [2]


@pytest.mark.parametrize(
    ("values", "call", "script", "stock"),
    [
        ({"total": 3}, PLAIN, ["much"], 1),
        ({"total": 3, "connect": 3}, POST, ["hello"], 1),
        ({"total": 3}, POST, ["spoilt"] * 4, 4),
    ],
    ids=["a body that breaks", "a handshake of a POST", "a POST that was executed"],
)
def test_stock_is_told_from_the_prediction(authority, tls, values, call, script, stock):
    """The control: with the same `Retry`, stock's number of attempts is another one."""
    said = Said("Retry", {**RETRY, **values})
    ends = predict(said, hops(call), script)

    theirs = Seen(authority, tls, script, call, HTTPAdapter(max_retries=Retry(**said.values)))
    ours = Seen(authority, tls, script, call, adapter_for(said))

    assert ours.agrees(ends)
    assert theirs.attempts == stock != ours.attempts


@pytest.mark.parametrize(
    ("said", "call", "script"),
    [
        (Said("nothing"), PLAIN, ["alert"] * 6),
        (Said("nothing"), {**PLAIN, "proxied": True}, ["unable"] * 6),
        (Said("nothing"), PLAIN, [*["much", *["hello"] * 7] * 3]),
        (Said("max_retries", {"retries": 2}), PLAIN, ["much", *["hello"] * 2, "much", "hello"]),
        (Said("RetryPolicy", {"retries": 1}), PLAIN, ["little", "500"]),
        (Said("max_retries", {"retries": 1}), PLAIN, ["much", "503", "503"]),
        (Said("max_retries", {"retries": 1}), {**PLAIN, "body": "bytes"}, ["much", "much"]),
        (Said("Retry", {**RETRY, "total": 0}), PLAIN, ["421"]),
        (Said("RetryPolicy", {"statuses": frozenset({421})}), POST, ["421"]),
        (NO_METHOD, PLAIN, ["503"]),
    ],
)
def test_what_once_was_another_number(authority, tls, said, call, script):
    """Examples that random ones seldom come to."""
    seen = Seen(authority, tls, script, call, adapter_for(said), said.override)

    assert seen.agrees(predict(said, hops(call), script)), (seen.attempts, seen.ends)
