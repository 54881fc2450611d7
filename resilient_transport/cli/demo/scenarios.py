"""What goes wrong in the demo, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ...testing import Fault, Moment, Rule, Script


@dataclass(frozen=True, slots=True)
class Scenario:
    """One kind of trouble, and what is fetched in it."""

    #: What `--scenario` takes, and the table says: at most 9 characters.
    name: str
    #: What the server does wrong, in half a line.
    about: str
    #: The same, for the server.
    rules: tuple[Rule, ...]
    #: What all four calls ask for.
    path: str = "/words/30"
    #: Seconds between ClientHello and answer.
    handshake_delay: float = 0.0

    def script(self, seed: int) -> Script:
        """What the server is told; the seed is where its random draws begin."""
        return Script(self.rules, seed=seed, handshake_delay=self.handshake_delay)


#: Every connection whose handshake overlaps with another one.
_RACE: Final = (Rule(Fault(Moment.CLIENT_HELLO), in_flight_over=1),)
#: Half of all connections, and of these one half before the server's flight and one after it:
#: 1/4 + 3/4 x 1/3 = 1/2.
_RESETS: Final = (
    Rule(Fault(Moment.CLIENT_HELLO), probability=1 / 4),
    Rule(Fault(Moment.HANDSHAKE), probability=1 / 3),
)
#: Fitted to the report's share of failed starts, where each of four responses may be cut: at 1 word about
#: none, at 30 words (179 bytes) 1/3, at 250 words (1499 bytes) 40-70 %.
_CUTS: Final = (Rule(Fault(Moment.BODY, mean_bytes=230), probability=0.18, on_request=None),)
#: One reset per megabyte, on every connection.
_HAZARD: Final = (Rule(Fault(Moment.BODY, mean_bytes=1e6), on_request=None),)

SCENARIOS: Final[tuple[Scenario, ...]] = (
    Scenario("race", "TLS handshakes that overlap are reset", _RACE, handshake_delay=0.01),
    Scenario("resets", "half of all TLS handshakes are reset", _RESETS),
    Scenario("words-1", "answers of 1 word, a few of them cut", _CUTS, "/words/1"),
    Scenario("words-30", "answers of 30 words, some of them cut", _CUTS, "/words/30"),
    Scenario("words-250", "answers of 250 words, more of them cut", _CUTS, "/words/250"),
    Scenario("megabyte", "answers of 1 MB, cut once in a megabyte", _HAZARD, "/bytes/1000000"),
)
