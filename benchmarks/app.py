"""How long a visitor waits: for the app to start, for the page, for its reactions, and for the first word of a story.

    python -m benchmarks.app

Medians of several visits with the bundled checkpoints, by headless Chromium on the same machine: alone, and while ten
others have stories written. The ten are clients of the page's API, which get the same updates through the same queue
as a browser; ten more browsers would measure themselves.
"""

import contextlib
import statistics
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from gradio_client import Client
from playwright.sync_api import Browser, sync_playwright

from storygen.app_process import BROWSER_FLAGS, find_browser, running_app

ROOT, REPEATS, OTHERS = Path(__file__).parents[1], 5, 10
MODELS = {"STORYGEN_MODELS": ""}
"""The bundled ones."""
OPENING = "Once upon a time"
SECONDS_FROM_CLICK_TO_WORD = f"""() => new Promise((done, fail) => {{
  const clicked = performance.now(), story = document.querySelector('#story textarea');
  const look = () => {{
    const seconds = (performance.now() - clicked) / 1000;
    if (/^{OPENING}\\W+\\w/.test(story.value)) done(seconds);
    else if (seconds > 120) fail(Error('no word came'));
    else requestAnimationFrame(look);
  }};
  document.querySelector('#write').click();
  look();
}})"""
"""Timed in the page: a click by the browser's remote control is preceded by its own checks."""
USABLE, REACTION, FIRST_WORD = (
    "from opening the page to a usable one",
    "from choosing a strategy to its explanation and sliders",
    "from the click to the first word on the screen",
)


def visit(browser: Browser, url: str) -> dict[str, float]:
    """The seconds of one visit."""
    seconds = {}
    page = browser.new_page()
    page.set_default_timeout(120_000)
    with _timed(seconds, USABLE):
        page.goto(url)
        page.locator("#write").wait_for()
    page.locator("#strategy input").click()
    option = page.get_by_role("option", name="Top-k", exact=True)
    with _timed(seconds, REACTION):
        option.click()
        page.locator("#top-k").wait_for()
    page.locator("#opening textarea").fill(OPENING)
    page.wait_for_timeout(500)  # a visitor does not click in the moment of the last key
    seconds[FIRST_WORD] = page.evaluate(SECONDS_FROM_CLICK_TO_WORD)
    page.close()
    return seconds


@contextlib.contextmanager
def _timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    began = time.perf_counter()
    yield
    seconds[name] = time.perf_counter() - began


def wait_until_idle() -> None:
    """Waits until the app has written the matches that it keeps ready."""
    app = next(child for child in psutil.Process().children() if "app.py" in child.cmdline())
    for _ in range(150):
        if app.cpu_percent(interval=2) < 20:
            return
    raise SystemExit("the app is busy five minutes after its start")


@contextlib.contextmanager
def others(url: str, count: int) -> Iterator[None]:
    """So many others who read one story after another while the block lasts; it begins when all read."""
    is_over, reading = threading.Event(), threading.Barrier(count + 1)

    def read() -> None:
        client = Client(url, verbose=False)
        has_begun = False
        while not is_over.is_set():
            story = client.submit(opening=OPENING, max_new_tokens=400, api_name="/generate_story")
            for _ in story:
                if not has_begun:
                    reading.wait()
                    has_begun = True
                if is_over.is_set():
                    story.cancel()
                    break

    threads = [threading.Thread(target=read) for _ in range(count)]
    for thread in threads:
        thread.start()
    reading.wait()
    try:
        yield
    finally:
        is_over.set()
        for thread in threads:
            thread.join()


def main() -> None:
    """Prints the medians."""
    starts = []
    for _ in range(REPEATS):
        with running_app(ROOT, MODELS) as app:
            starts.append(app.seconds)
    with running_app(ROOT, MODELS) as app, sync_playwright() as playwright:
        wait_until_idle()
        browser = playwright.chromium.launch(executable_path=find_browser(), args=BROWSER_FLAGS)
        visit(browser, app.url)  # the first one of all waits for what is made once
        alone = [visit(browser, app.url) for _ in range(REPEATS)]
        with others(app.url, OTHERS):
            beside = [visit(browser, app.url) for _ in range(REPEATS)]
        browser.close()
    print(f"| | alone | beside {OTHERS} others |\n|---|---|---|")
    print(f"| from `python app.py` to the first served page | {statistics.median(starts):.2f} s | |")
    for name in (USABLE, REACTION, FIRST_WORD):
        medians = (statistics.median(seconds[name] for seconds in visits) for visits in (alone, beside))
        print(f"| {name} | {' | '.join(f'{median:.2f} s' for median in medians)} |")


if __name__ == "__main__":
    main()
