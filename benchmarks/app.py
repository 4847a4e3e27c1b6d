"""How long a visitor waits: from `python app.py` to the first served page, and from the click to the first word.

    python -m benchmarks.app

Medians of several runs with the bundled checkpoints; the clicks are made in headless Chromium on the same machine.
"""

import os
import shutil
import statistics
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

ROOT, PORT, REPEATS = Path(__file__).parents[1], 7868, 5
FIRST_WORD = "() => document.querySelector('#story textarea').value.length > 0"


def start() -> tuple[subprocess.Popen, float]:
    """The running app and the seconds until it served its page."""
    settings = {"GRADIO_SERVER_PORT": str(PORT), "STORYGEN_MODELS": ""}
    began = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "app.py"], cwd=ROOT, env={**os.environ, **settings}, stdout=subprocess.DEVNULL
    )
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{PORT}", timeout=5).close()
            return process, time.perf_counter() - began
        except OSError:
            if process.poll() is not None:
                sys.exit("app.py ended before it served a page")
            time.sleep(0.02)


def stop(process: subprocess.Popen) -> None:
    """Ends the app."""
    process.terminate()
    process.wait()


def main() -> None:
    """Prints the medians."""
    starts = []
    for _ in range(REPEATS):
        process, waited = start()
        starts.append(waited)
        stop(process)
    process, _ = start()
    usable, words = [], []
    try:
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"),
                args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
            )
            for _ in range(REPEATS):
                page = browser.new_page()
                began = time.perf_counter()
                page.goto(f"http://127.0.0.1:{PORT}")
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
    finally:
        stop(process)
    for name, times in (
        ("from `python app.py` to the first served page", starts),
        ("from opening the page to a usable one", usable),
        ("from the click to the first word on the screen", words),
    ):
        print(f"| {name} | {statistics.median(times):.2f} s |")


if __name__ == "__main__":
    main()
