"""Pictures of every tab, on a laptop and on a phone, for the README: `python -m scripts.screenshots`.

Starts the app with the bundled models and simulated votes, drives it with Chromium, and writes PNGs to docs/images.
"""

import io
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page, sync_playwright

from storygen.app_process import BROWSER_FLAGS, find_browser, running_app

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"
SIZES = {"": (1280, 860), "-phone": (390, 844)}
COLOURS = 64
"""A page has few, so that a picture of 64 is small and looks the same."""


def write(page: Page) -> None:
    """A finished story."""
    page.locator("#title textarea, #title input").fill("The Very Small Dragon")
    page.locator("#seed textarea, #seed input").fill("11")
    page.locator("#write").click()
    page.locator("#status details").wait_for()


def compare(page: Page) -> None:
    """Two stories waiting for a verdict."""
    page.get_by_role("tab", name="Compare").click()
    page.locator("#round").click()
    page.wait_for_function("!document.querySelector('#verdict-left').disabled")


def reveal(page: Page) -> None:
    """After the verdict."""
    compare(page)
    page.locator("#verdict-left").click()
    page.locator("#left-reveal strong").wait_for()


def why(page: Page) -> None:
    """A word of a story, explained."""
    write(page)
    page.get_by_role("tab", name="Why this word").click()
    page.locator(".why-story button").nth(12).click()


def how(page: Page) -> None:
    """A sentence on its way to the next word."""
    page.get_by_role("tab", name="How it works").click()
    page.locator("#how-choice tr").first.wait_for()


def leaderboard(page: Page) -> None:
    """The table."""
    page.get_by_role("tab", name="Leaderboard").click()
    page.locator("#board table").wait_for()
    page.get_by_role("button", name="Plots").click()


def start(page: Page) -> None:
    """The first look."""


STATES: dict[str, Callable[[Page], None]] = {
    "start": start,
    "write": write,
    "why": why,
    "how": how,
    "leaderboard": leaderboard,  # before there is a vote that is not simulated
    "compare": compare,
    "reveal": reveal,
    "german-dark": write,
}
"""Name of a picture, and what leads to it."""


def main() -> None:
    """Takes all pictures."""
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        simulate = [sys.executable, "-m", "storygen.arena", "simulate", "--out", folder, "--votes", "1500"]
        subprocess.run(simulate, cwd=ROOT, check=True)
        with running_app(ROOT, {"STORYGEN_VOTES": folder, "STORYGEN_MODELS": ""}) as app:
            browser = playwright.chromium.launch(executable_path=find_browser(), args=BROWSER_FLAGS)
            for state, lead in STATES.items():
                for suffix, (width, height) in SIZES.items():
                    take(browser, app.url, lead, width, height, IMAGES / f"{state}{suffix}.png")


def take(browser: Browser, url: str, lead: Callable[[Page], None], width: int, height: int, path: Path) -> None:
    """One picture of what `lead` leads to."""
    locale, theme = ("de-DE", "dark") if "german-dark" in path.name else ("en-US", "light")
    page = browser.new_page(viewport={"width": width, "height": height}, locale=locale)
    page.set_default_timeout(60_000)
    page.goto(f"{url}/?__theme={theme}")
    page.locator("#write").wait_for()
    lead(page)
    page.wait_for_timeout(900)  # for what fades in
    shot = Image.open(io.BytesIO(page.screenshot())).convert("RGB")
    shot.quantize(COLOURS).save(path, optimize=True)
    page.close()


if __name__ == "__main__":
    main()
