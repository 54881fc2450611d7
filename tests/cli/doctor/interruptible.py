"""A doctor with sections that say on stderr where they are, and stay there until the process is ended.

Arguments: where to stay, then those of `doctor`.
"""

import signal
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

from resilient_transport.cli.doctor import doctor as subcommand
from resilient_transport.cli.main import main
from tests.cli.doctor.sections import section


def here(name):
    """Say where this is."""
    print(f"at {name}", file=sys.stderr, flush=True)


def stay():
    """Stay for ever."""
    threading.Event().wait()


def in_section(visit):
    """Stay in the section's own thread, whose interrupt would be nobody's."""
    here("section")
    try:
        stay()
    except BaseException:
        here("an exception in the section")
        raise


def in_pool(visit):
    """Stay in threads for which Python waits when it ends."""
    with ThreadPoolExecutor(2) as threads:
        for _ in range(2):
            threads.submit(stay)
        here("pool")


def in_conclusion(report, look):
    """Stay while the end is written, when the first interrupt is over."""
    here("conclusion")
    stay()
    return ()


if __name__ == "__main__":
    # Of a shell's background job it is ignored, and so it would be here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    place, *arguments = sys.argv[1:]
    measures = {"section": in_section, "pool": in_pool, "conclusion": in_section}
    subcommand.SECTIONS = (section("name"), section("tls", measure=measures[place]), section("control"))
    if place == "conclusion":
        from resilient_transport.cli.doctor.output import printer

        printer.conclusion = in_conclusion
    sys.exit(main(["doctor", *arguments]))
