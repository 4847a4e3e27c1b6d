"""The How-it-works tab in a real browser: one guess followed from the text to the next word."""

import math
import re

import pytest

from storygen.arena.opening import open_arena
from storygen.config import GenerationConfig
from storygen.lesson.next_word import drawn_from, next_logprobs
from storygen.ui.how import OPENING
from storygen.ui.lesson_views import Lesson
from tests.e2e.conftest import expect, set_number, visit

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def address(released, tmp_path_factory):
    """The page, served by this process."""
    from storygen.ui.page import build_page, launch

    page = build_page(released, open_arena(released, {"STORYGEN_VOTES": str(tmp_path_factory.mktemp("votes"))}))
    yield launch(page, prevent_thread_lock=True, quiet=True)
    page.close()


def test_a_guess_is_followed_from_the_text_to_the_next_word(browser, address, released, monkeypatch):
    computed, tokens = [], Lesson.tokens
    monkeypatch.setattr(Lesson, "tokens", lambda *given: computed.append(given) or tokens(*given))
    with visit(browser, address, viewport={"width": 390, "height": 844}) as page:
        page.wait_for_timeout(300)
        assert computed == []  # nothing is computed for those who never open the tab
        follow(page, released["transformer"])


def follow(page, writer):
    page.set_viewport_size({"width": 1280, "height": 860})
    page.get_by_role("tab", name="How it works").click()
    shown = {
        "tokens": "Byte-level BPE",
        "neighbours": "Nearest to ␣king",
        "map": "mother",
        "attention": "Layer 1, head 1",
        "choice": "of 4,096 tokens can be drawn",
        "learning": "bits per byte|No training curve",
        "figures": "numbers that it has learnt",
        "reading": "They write short, simple tales",
    }
    for picture, words in shown.items():
        expect(page.locator(f"#how-{picture}")).to_contain_text(re.compile(words))

    chips, ids = page.locator("#how-tokens section").first.locator("li small"), writer.tokenizer.encode(OPENING)
    expect(chips).to_have_text([str(token) for token in ids])
    expect(page.locator("#how-neighbours tbody th").first).to_have_text("␣queen")

    logprobs = next_logprobs(writer.model, writer.prompt_tokens(OPENING, "")[0])
    page.locator("#how-strategy input[value=top_k]").press("Space")  # by keyboard
    expect(page.locator("#how-top_p")).not_to_be_visible()
    set_number(page, "how-top_k", 4)
    set_number(page, "how-temperature", 1.5)
    after = drawn_from(logprobs, GenerationConfig(strategy="top_k", top_k=4, temperature=1.5))
    expect(page.locator("#how-choice tr.kept td:last-child").first).to_have_text(f"{after.max():.1%}")
    expect(page.locator("#how-choice tr.kept")).to_have_count(4)
    first = page.locator("#how-choice tr.kept td:nth-child(3)").first
    expect(first).to_have_text(f"{math.exp(logprobs.max()):.1%}")

    page.locator("#how-layer").get_by_text("3", exact=True).click()
    expect(page.locator("#how-attention caption")).to_contain_text("Layer 3, head 1")
    page.locator("#how-draw").click()
    expect(page.locator("#how-drawn")).to_contain_text("Drawn:")
    expect(chips).to_have_count(len(ids) + 1)
    expect(page.locator("#how-text textarea")).to_have_value(re.compile(f"^{OPENING}."))

    page.locator("#how-text textarea").fill("The café 🐉")
    expect(page.locator("#how-tokens")).to_contain_text("Lost: é 🐉")
    page.locator("#how-model").get_by_text("lstm").click()
    expect(page.locator("#how-attention")).to_contain_text("lstm is an LSTM")
    expect(page.locator("#how-layer")).not_to_be_visible()

    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
