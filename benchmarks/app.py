"""How long a visitor waits: from `python app.py` to the first served page, and from the click to the first word.

    python -m benchmarks.app

Medians of several runs with the bundled checkpoints; the clicks are made in headless Chromium on the same machine.
"""

import shutil
import statistics
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from storygen.app_process import running_app

ROOT, REPEATS = Path(__file__).parents[1], 5
MODELS = {"STORYGEN_MODELS": ""}
"""The bundled ones."""
FIRST_WORD = "() => document.querySelector('#story textarea').value.length > 0"


def main() -> None:
    """Prints the medians."""
    starts, usable, words = [], [], []
    for _ in range(REPEATS):
        with running_app(ROOT, MODELS) as app:
            starts.append(app.seconds)
    with running_app(ROOT, MODELS) as app, sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"),
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        for _ in range(REPEATS):
            page = browser.new_page()
            began = time.perf_counter()
            page.goto(app.url)
            page.locator("#write").wait_for()
            usable.append(time.perf_counter() - began)
            page.locator("#opening textarea").fill("Once upon a time")
            page.evaluate("document.querySelector('#story textarea').value = ''")
            began = time.perf_counter()
            page.locator("#write").click()
            page.wait_for_function(FIRST_WORD)
            words.append(time.perf_counter() - began)
            page.close()
        browser.close()
    for name, times in (
        ("from `python app.py` to the first served page", starts),
        ("from opening the page to a usable one", usable),
        ("from the click to the first word on the screen", words),
    ):
        print(f"| {name} | {statistics.median(times):.2f} s |")


if __name__ == "__main__":
    main()
