"""The app as a process of its own and a real browser to visit it with, for all browser tests."""

import contextlib
import os
from pathlib import Path

import pytest
import torch

import storygen
from storygen import artifact
from storygen.app_process import BROWSER_FLAGS, find_browser, running_app
from storygen.models import build_model
from tests.conftest import lively, tiny_config

ROOT = Path(__file__).parents[2]
SLOW = {"slow-transformer": "transformer", "slow-lstm": "lstm"}
LAPTOP = {"viewport": {"width": 1280, "height": 860}}
RELEASED = [ROOT / "checkpoints" / name for name in ("transformer", "lstm")]


@pytest.fixture(scope="package")
def slow_models(tmp_path_factory, tokenizer):
    """Two models that take a few seconds for 2,000 tokens and do not end a story: there is time to press Stop."""
    root = tmp_path_factory.mktemp("slow")
    for name, architecture in SLOW.items():
        model = lively(build_model(tiny_config(architecture, tokenizer.vocab_size, num_layers=8)), std=0.8)
        with torch.no_grad():
            model.embedding.weight[tokenizer.end_id] = 0  # far below the largest logits
        artifact.save(root / name, model, tokenizer)
    return root


@pytest.fixture(scope="package")
def app(slow_models, tmp_path_factory):
    """`python app.py` with the two slow models and the released ones, which alone compete: they end their sentences.

    Gives its address and the folder of its votes.
    """
    votes = tmp_path_factory.mktemp("votes")
    models = ",".join(str(path) for path in (*(slow_models / name for name in SLOW), *RELEASED))
    contestants = votes / "contestants.toml"
    contestants.write_text(
        "characters = 150\n"
        + "".join(
            f'[[decoding]]\nmodels = ["transformer", "lstm"]\nstrategy = "{strategy}"\n'
            for strategy in ("top_p", "greedy", "beam")
        )
    )
    settings = {
        "STORYGEN_MODELS": models,
        "STORYGEN_VOTES": str(votes),
        "STORYGEN_CONTESTANTS": str(contestants),
    }
    with running_app(ROOT, settings) as app:
        yield app.url, votes


@pytest.fixture(scope="package")
def browser():
    path = find_browser()
    if not path:
        if os.environ.get("CI"):
            pytest.fail("the browser tests need Chromium")
        pytest.skip("no Chromium on this machine")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright.chromium.launch(executable_path=path, args=BROWSER_FLAGS)


@pytest.fixture(scope="package")
def released():
    """The writers of the released models, to be asked beside the app."""
    return {path.name: storygen.load(path) for path in RELEASED}


@pytest.fixture(scope="package")
def context(browser):
    """A browser that has the scripts of the page in its cache: a load takes a fifth less time."""
    return browser.new_context(**LAPTOP)


@pytest.fixture
def page(context, app):
    """A fresh visit to the app; nothing is left of it."""
    with looked_at(context.new_page(), app[0]) as page:
        yield page
        page.evaluate("localStorage.clear()")
    context.clear_cookies()


def visit(browser, url, **options):
    """The page at an address, looked at by somebody else with a browser of these options."""
    return looked_at(browser.new_page(**{**LAPTOP, **options}), url)


@contextlib.contextmanager
def looked_at(page, url):
    """The page at an address. Afterwards: nothing was fetched from elsewhere, and nothing complained meanwhile."""
    page.set_default_timeout(20_000)
    page.outside, page.complaints = [], []
    page.on("request", lambda request: page.outside.append(request.url) if is_outside(request.url, url) else None)
    page.on("console", lambda message: page.complaints.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    try:
        go(page, url)
        yield page
        complaints = list(page.complaints)
    finally:
        page.close()
    assert page.outside == []
    assert complaints == []


def go(page, url):
    """Goes to an address, the same one too, and waits until the page there is built.

    A page that is left loses the stream of events that Gradio holds, and says so: that is dropped.
    """
    complaints = list(page.complaints)
    page.goto("about:blank")
    page.complaints[:] = complaints
    page.goto(url)
    page.locator("#write").wait_for()


def is_outside(address, url):
    return not address.startswith((url, url.replace("http", "ws"), "about:", "data:", "blob:"))


def expect(locator):
    from playwright.sync_api import expect

    expect.set_options(timeout=30_000)  # a page is slow where other tests run beside it
    return expect(locator)


def choose(page, dropdown, option):
    page.locator(f"#{dropdown} input").click()
    page.get_by_role("option", name=option, exact=True).click()


def set_number(page, slider, value):
    box = page.locator(f"#{slider} input[type=number]")
    box.fill(str(value))
    box.blur()


def open_tab(page, name):
    page.get_by_role("tab", name=name).click()


def story(page):
    """The story on the Write tab."""
    return page.locator("#story textarea").input_value()


def printable(text):
    """Without control characters, which an untrained model writes and a text box changes."""
    return "".join(character for character in text if character.isprintable())


def new_round(page):
    """Two stories that wait for a verdict."""
    open_tab(page, "Compare")
    page.locator("#round").click()
    expect(page.locator("#verdict-left")).to_be_enabled()
