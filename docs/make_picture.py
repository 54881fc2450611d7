"""The picture of the README: the demo's page in Chromium, with stock requests beside this package.

In a clone, with Chromium installed and after `.ci/run check`:

    .venv/bin/python -m docs.make_picture

It plays the demo's first scenario, and writes docs/waterfall.png. Times differ from run to run.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

from resilient_transport.settings.environment import clean_environment
from tests.real.browser import Browser, Page
from tests.real.servers import find_binary

PICTURE = Path(__file__).with_name("waterfall.png")
#: Pixels of the page, and of the picture for each of them: a README is about as wide as the page.
WIDTH, SCALE = 960, 1.5
#: Starts with each transport.
ROUNDS = 5
#: Hides what a picture of this size cannot show, and puts both charts side by side. The page's security
#: policy forbids another style sheet, so this sets each element.
_ARRANGE = """
for (const one of document.querySelectorAll('h1, table, details')) one.style.display = 'none';
document.querySelector('.charts').style.gridTemplateColumns = '1fr 1fr';
document.body.style.padding = '.6rem';
"""


def play(page: Path, rounds: int = ROUNDS) -> None:
    """Play the demo in a Python of its own, and write its page."""
    demo = ["demo", "--scenario", "race", "--rounds", str(rounds), "--html", str(page)]
    command = [sys.executable, "-m", "resilient_transport", *demo]
    subprocess.run(command, check=True, env=clean_environment(), stdout=subprocess.DEVNULL)  # noqa: S603 - ours


def take(browser: Browser, page: Path, picture: Path) -> Page:
    """Write a picture of a page of the demo; return what it shows."""
    tab = browser.page()
    tab.open(page, WIDTH)
    tab.evaluate(_ARRANGE)
    # The picture is as high as what is there, and no less than the window.
    tab.call(
        "Emulation.setDeviceMetricsOverride", width=WIDTH, height=100, deviceScaleFactor=SCALE, mobile=False
    )
    tab.picture(picture)
    return tab


def main() -> None:
    """Play, and take the picture."""
    chromium = find_binary("chromium")
    if chromium is None:
        sys.exit("chromium is not installed (Debian: apt-get install chromium)")
    with tempfile.TemporaryDirectory() as directory:
        page = Path(directory) / "page.html"
        play(page)
        with Browser(chromium, Path(directory) / "profile") as browser:
            take(browser, page, PICTURE)
    print(PICTURE)


if __name__ == "__main__":
    main()
