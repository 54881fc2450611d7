"""Which sections run, what is told of them, and what is left when somebody interrupts: no network."""

import threading
from queue import SimpleQueue

import pytest

from resilient_transport.cli.doctor.allowance import BudgetSpent
from resilient_transport.cli.doctor.doctor_options import Options
from resilient_transport.cli.doctor.examination import INTERRUPTED, examine, needed
from resilient_transport.cli.doctor.finding import fail, ok
from resilient_transport.cli.doctor.root import Root
from resilient_transport.cli.doctor.visit import Visit
from resilient_transport.waterfall.chart import Bar, Phase, Row
from tests.cli.doctor.sections import PAGE, Listener, Measured, levels, refused, report, section, warned
from tests.timeouts import LONG_TIMEOUT

CONNECT = section("connect", refused())
TLS = section("tls", needs=("connect",))
CONTROL = section("control", needs=("tls",))


def asked(**options):
    """Options for the page of these tests."""
    return Options(PAGE, **options)


def test_what_needs_a_failed_one_is_skipped():
    """So is what needs that."""
    found = report(section("name"), CONNECT, TLS, CONTROL)

    assert levels(found) == {
        "name.one": "ok", "connect.one": "fail", "tls.one": "skipped", "control.one": "skipped",
    }  # fmt: skip
    assert [finding.text for finding in found.findings[2:]] == [
        "skipped (needs connect)",
        "skipped (needs tls)",
    ]


def test_what_is_skipped_never_begins():
    """A listener is told only of its end."""
    listener = Listener()
    report(CONNECT, TLS, section("idle", idle_because=lambda visit: "not asked for"), listener=listener)

    assert listener.begun == ["connect"]
    assert list(listener.ended) == ["connect", "tls", "idle"]


def test_what_comes_and_goes_stands_in_nobodys_way():
    """The control: a failure that does not block."""
    assert levels(report(section("connect", refused(blocks=False)), TLS))["tls.one"] == "ok"


def test_what_a_wanted_one_needs_runs_quietly():
    """Only its failures are told."""
    name = section("name", ok("name.one", "found"), warned("name.two"))
    well = report(name, section("connect", needs=("name",)), TLS, CONTROL, options=asked(only=("tls",)))
    ill = report(name, CONNECT, TLS, CONTROL, options=asked(only=("tls",)))

    assert levels(well) == {"tls.one": "ok"}
    assert sorted(well.measured) == ["connect", "name", "tls"]
    assert levels(ill) == {"connect.one": "fail", "tls.one": "skipped"}


def test_what_is_skipped_runs_for_nobody():
    """And what needs it runs all the same."""
    found = report(CONNECT, TLS, options=asked(only=("tls",), skip=("connect",)))

    assert levels(found) == {"tls.one": "ok"}
    assert list(found.measured) == ["tls"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (asked(), {"tls.one": "ok", "tls.two": "warn", "tls.three": "fail"}),
        (asked(only=("tls.one",)), {"tls.one": "ok", "tls.three": "fail"}),
        (asked(only=("tls.two",)), {"tls.two": "warn", "tls.three": "fail"}),
        (asked(skip=("tls.three",)), {"tls.one": "ok", "tls.two": "warn"}),
        (asked(only=("tls.one",), skip=("tls.three",)), {"tls.one": "ok"}),
        (asked(skip=("tls",)), {}),
        (asked(skip=("tls.one", "tls.two", "tls.three")), {}),
    ],
)
def test_checks_are_chosen_one_by_one(options, told):
    """What is not asked for is told if it fails; what is skipped is not, and blocks nothing."""
    tls = section("tls", ok("tls.one", "well"), warned(), refused("tls.three"))
    found = report(tls, CONTROL, options=options)
    told_of_tls = {name: level for name, level in levels(found).items() if name.startswith("tls.")}

    assert told_of_tls == told


def test_a_section_of_which_nothing_is_wanted_is_not_measured():
    """However that was said."""
    measured = []
    one = section("tls", measure=measured.append)
    report(one, options=asked(skip=("tls.one",)))
    report(one, CONTROL, options=asked(only=("name",)))

    assert measured == []


@pytest.mark.parametrize("error", [ZeroDivisionError("a secret"), SystemExit(3), KeyError("a secret")])
def test_a_section_that_breaks_ends_nothing(error):
    """It is told where, without the error's words; the next one runs."""

    def breaks(visit):
        raise error

    found = report(section("tls", measure=breaks), CONTROL)
    finding = found.findings[0]

    assert levels(found) == {"tls.one": "warn", "control.one": "ok"}
    assert f"{type(error).__name__} at " in finding.text
    assert "a secret" not in finding.text
    assert finding.hint == "--skip tls, and report this line as a bug"


def test_a_section_without_requests_left_is_skipped():
    """Whatever it has asked before is told by nobody."""

    def spends(visit):
        visit.budget.request(201)

    assert report(section("tls", measure=spends)).findings[0].text == (
        "skipped (the limit of 200 requests is reached)"
    )


def test_a_section_that_does_not_apply_says_why():
    """It is given the visit."""
    plain = section("tls", idle_because=lambda visit: None if visit.target.is_tls else "not https")

    assert levels(report(plain)) == {"tls.one": "ok"}
    assert report(plain, options=Options("http://host.example/")).findings[0].text == "skipped (not https)"


def test_what_does_not_apply_is_not_said_to_need_anything():
    """Whatever has failed before."""
    found = report(
        section("connect", refused()), section("idle", needs=("connect",), idle_because=lambda _: "why")
    )

    assert found.findings[-1].text == "skipped (why)"


def test_secrets_are_taken_out_of_all():
    """A query, a password, in findings, the verdict, and charts."""
    secrets = ("token=open-sesame", "hunter22")
    url = "https://ada:hunter22@host.example/page?token=open-sesame"

    def draws(visit):
        bar = Bar(Phase.BODY, 0.0, 1.0, True, f"got {url}")
        visit.add(Row(f"GET {url}", (bar,), url, details=(url,), url=url))
        return Measured("tls")

    leaky = fail("tls.one", f"no answer to {url}", f"curl '{url}'", url, Root.OTHER)
    found = report(section("tls", leaky, measure=draws), options=Options(url))
    told = repr(found) + repr(found.charts) + repr(found.findings) + found.curl + found.again

    assert [secret for secret in secrets if secret in told] == []
    assert "..." in found.findings[0].text


def test_the_needed_are_known_before():
    """Those of those that are needed, too; but for what is wanted or skipped."""
    all_of_them = (section("name"), section("connect", needs=("name",)), TLS, CONTROL)

    assert needed(asked(), all_of_them) == frozenset()
    assert needed(asked(only=("control",)), all_of_them) == {"name", "connect", "tls"}
    assert needed(asked(only=("control",), skip=("connect",)), all_of_them) == {"tls"}
    assert needed(asked(only=("control", "tls.one")), all_of_them) == {"name", "connect"}


class Held:
    """A section that is in the midst of its measuring until it is let go."""

    def __init__(self):
        self.begun, self.let_go = threading.Event(), threading.Event()
        self.ended = threading.Event()

    def measure(self, visit):
        self.begun.set()
        self.let_go.wait(LONG_TIMEOUT)
        try:
            visit.budget.request()
        finally:
            self.ended.set()


def interrupted(held, *sections, listener=None):
    """A report of an examination that is interrupted once this section measures."""
    news = SimpleQueue()

    def strike():
        held.begun.wait(LONG_TIMEOUT)
        news.put(INTERRUPTED)

    striker = threading.Thread(target=strike)
    striker.start()
    try:
        return report(*sections, listener=listener, news=news)
    finally:
        striker.join()


def test_an_interrupt_leaves_what_was_found():
    """The rest is skipped; the thread is not waited for, sends nothing more, and tells nobody."""
    held, listener = Held(), Listener()
    found = interrupted(
        held, section("name"), section("tls", measure=held.measure), CONTROL, listener=listener
    )
    told = dict(listener.ended)
    held.let_go.set()
    held.ended.wait(LONG_TIMEOUT)

    assert levels(found) == {"name.one": "ok", "tls.one": "skipped", "control.one": "skipped"}
    assert found.findings[1].text == "skipped (interrupted)"
    assert (found.is_interrupted, found.is_left_behind, found.requests) == (True, True, 0)
    assert found.verdict.sentence == "Interrupted; so far: nothing is wrong in 1 check."
    assert list(told) == list(listener.ended) == ["name"]


def test_a_closed_budget_grants_nothing():
    """What the thread does then."""
    visit = Visit(asked())
    visit.budget.close()

    assert visit.budget.left == 0
    for ask in (visit.budget.request, visit.budget.connect):
        with pytest.raises(BudgetSpent):
            ask()


def test_a_keyboard_interrupt_does_the_same():
    """Where nobody handles signals: it strikes the waiting thread, and no section."""
    held = Held()

    class Raises:
        """News that an interrupt comes before."""

        def put(self, _):
            """Nobody looks at it."""

        def get(self, timeout):
            held.begun.wait(LONG_TIMEOUT)
            raise KeyboardInterrupt

    found = report(section("tls", measure=held.measure), news=Raises())
    held.let_go.set()

    assert found.is_interrupted
    assert levels(found) == {"tls.one": "skipped"}


def test_what_a_listener_raises_is_raised():
    """Nothing ends silently."""

    class Broken(Listener):
        def ends(self, section, findings):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        examine(Visit(asked()), [TLS], Broken())
