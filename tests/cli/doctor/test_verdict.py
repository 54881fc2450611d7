"""The one sentence: findings in, words out."""

from itertools import permutations

import pytest

from resilient_transport.cli.doctor.diagnosis import Verdict, verdict_of
from resilient_transport.cli.doctor.finding import Level, fail, ok, skipped, warn
from resilient_transport.cli.doctor.root import Root

FINE = ok("tls.version", "TLS 1.3 is spoken", "TLSv1.3")
UNTOLD = skipped("idle.held", "not asked for: --hold 65")
SOON = warn("client-certificate.expiry", "the client certificate expires soon", "renew it", "5 days")
STATUS = warn(
    "control.status", "the server answers with status 503", "look at its log", "24 x 503", Root.STATUS
)


class Compared:
    """What has made calls."""

    def __init__(self, words="8 of 8 calls by stock requests were answered, and 8 of 8 by this adapter"):
        self.words = words

    def compare(self):
        return self.words


def failed(root, check="control.by-hand", value="0 of 8 whole", text="it fails", blocks=False):
    """A failure of a cause."""
    return fail(check, text, "have somebody mend it", value, root, blocks)


@pytest.mark.parametrize(
    ("findings", "sentence", "level"),
    [
        ([], "No check has run.", Level.OK),
        ([UNTOLD], "No check has run.", Level.OK),
        ([FINE, UNTOLD], "Nothing is wrong in 1 check.", Level.OK),
        ([FINE, FINE], "Nothing is wrong in 2 checks.", Level.OK),
        ([SOON], "Only a warning: the client certificate expires soon (5 days).", Level.WARN),
        (
            [STATUS, SOON],
            "Only 2 warnings; the first: the server answers with status 503 (24 x 503).",
            Level.WARN,
        ),
        (
            [SOON, failed(Root.REFUSED, value="127.0.0.1:443")],
            "The connection is refused: nobody listens at that port (127.0.0.1:443).",
            Level.FAIL,
        ),
        ([failed(Root.OTHER, text="3 of 8 fail.", value="3 of 8")], "3 of 8 fail.", Level.FAIL),
        ([failed(None, value="")], "It fails.", Level.FAIL),
    ],
)
def test_the_words(findings, sentence, level):
    """A failure has the words of its cause, a warning its own; what a text says is not said again."""
    verdict = verdict_of(findings, {})

    assert (verdict.sentence, verdict.level) == (sentence, level)
    assert verdict.whole == sentence


def test_how_the_calls_went_follows():
    """In the same sentence; or after it, if it is several."""
    one = verdict_of([FINE], {"control": Compared()})
    two = verdict_of([FINE], {"control": Compared(), "burst": Compared("Stock: 3 of 4. Ours: 0 of 4.")})

    assert one.whole == (
        "Nothing is wrong in 1 check; "
        "8 of 8 calls by stock requests were answered, and 8 of 8 by this adapter."
    )
    assert two.whole == "Nothing is wrong in 1 check. Stock: 3 of 4. Ours: 0 of 4."


def test_an_interrupted_one_says_so():
    """It judges what there is."""
    assert verdict_of([FINE], {}, is_interrupted=True).sentence == (
        "Interrupted; so far: nothing is wrong in 1 check."
    )
    assert verdict_of([], {}, is_interrupted=True).sentence == "Interrupted; so far: no check has run."
    assert verdict_of([failed(Root.NAME)], {}, is_interrupted=True).sentence == (
        "Interrupted; so far: the name is not found (0 of 8 whole)."
    )


@pytest.mark.parametrize(
    "findings", list(permutations([failed(Root.REQUEST_RESET), STATUS, failed(Root.PROXY_REFUSES)]))
)
def test_the_order_of_causes_decides(findings):
    """Not the order in which they were found."""
    verdict = verdict_of(findings, {})

    assert (verdict.root, verdict.hint) == (Root.PROXY_REFUSES, "have somebody mend it")


def test_of_one_cause_the_most_telling_is_chosen():
    """What nothing gets past, then what was measured, then the first."""
    reset = Root.HANDSHAKE_RESET
    vague = failed(reset, "tls.version", "")
    some, others = failed(reset, "tls.full", "3 of 8"), failed(reset, "control.by-hand", "4 of 8")
    every = failed(reset, "tls.resumed", "0 of 8", blocks=True)

    assert "(0 of 8)" in verdict_of([vague, some, every], {}).sentence
    assert "(3 of 8)" in verdict_of([vague, some, others], {}).sentence
    assert "(4 of 8)" in verdict_of([others, some, vague], {}).sentence


@pytest.mark.parametrize(
    ("worst", "other", "also"),
    [
        (
            failed(Root.CUT_BODY),
            failed(Root.SOME_ADDRESS, value="1 of 2"),
            "one of the server's addresses does not answer (1 of 2)",
        ),
        (
            failed(Root.REFUSED, blocks=True),
            failed(Root.CLIENT_CERTIFICATE_EXPIRED, value="3 days ago"),
            "the client certificate has expired (3 days ago)",
        ),
        (STATUS, SOON, "the client certificate expires soon (5 days)"),
        (failed(Root.OTHER, text="a"), failed(Root.OTHER, text="b", value=""), "b"),
    ],
)
def test_a_second_one_is_told(worst, other, also):
    """If it does not follow from the first."""
    assert {verdict_of(pair, {}).also for pair in ([worst, other], [other, worst])} >= {f"Also: {also}."}


@pytest.mark.parametrize(
    ("worst", "other"),
    [
        (failed(Root.HANDSHAKE_RESET), failed(Root.REQUEST_RESET)),
        (failed(Root.HANDSHAKE_RESET), failed(Root.HANDSHAKE_RESET, "tls.full")),
        (failed(Root.REFUSED, blocks=True), failed(Root.OTHER, text="no answer")),
        (failed(Root.CLIENT_CERTIFICATE_REFUSED), failed(Root.HANDSHAKE_RESET)),
        (failed(Root.CLOCK), failed(Root.SERVER_CERTIFICATE_EXPIRED)),
        (failed(Root.INTERCEPTED), failed(Root.SERVER_CERTIFICATE_UNTRUSTED)),
        (failed(Root.CUT_BODY), SOON),
        (failed(Root.CUT_BODY), FINE),
    ],
)
def test_what_follows_from_the_first_is_not(worst, other):
    """Nor what is not as bad."""
    assert verdict_of([worst, other], {}).also == ""


def test_every_cause_makes_a_sentence():
    """With a capital, one full stop, and what was measured."""
    told = [verdict_of([failed(root, text="it fails")], {}).sentence for root in Root]

    assert all(text[0].isupper() and text.endswith("(0 of 8 whole).") for text in told)
    assert len(set(told)) == len(Root)


def test_an_empty_one():
    """Nothing is added to nothing."""
    assert Verdict(Level.OK, "All is well.").whole == "All is well."
