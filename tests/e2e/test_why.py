"""The Why tab in a real browser: words to click, numbers that are the model's, branches to walk."""

import pytest
import torch

import storygen
from storygen.explain import words_of
from tests.e2e.conftest import choose, expect, open_tab, set_number

pytestmark = pytest.mark.e2e


def write(page, title="The Fox and the Moon", seed=7):
    page.locator("#title textarea, #title input").fill(title)
    page.locator("#seed textarea, #seed input").fill(str(seed))
    page.locator("#write").click()
    expect(page.locator("#status")).to_contain_text("tokens in")
    open_tab(page, "Why this word")
    expect(page.locator(".why-story button").first).to_be_visible()


def shown(page):
    """The story's text, without the signs that stand for its end and for white space."""
    text = page.locator(".why-story").text_content()
    return "".join(character for character in text if character not in "∎⏎␣")


def number(page, name):
    return float(page.locator(f"#why-{name}").text_content().split()[0].replace(",", ""))


def test_the_numbers_are_the_models_and_a_branch_begins_with_what_was_picked(page, released):
    """The numbers on the page against the model asked anew, outside the app."""
    writer = released["transformer"]
    choose(page, "model", "transformer")
    write(page)
    result = writer.generate("", "The Fox and the Moon", storygen.GenerationConfig(seed=7))
    assert shown(page) == result.story
    word = next(word for word in words_of(writer.tokenizer, result.tokens)[8:] if word.end == word.first + 1)
    button = page.locator(f".why-story button[data-token='{word.first}']")
    button.click()
    expect(page.locator(".why-step h2")).to_have_text(word.text.strip())
    prompt, _ = writer.prompt_tokens("", "The Fox and the Moon")
    with torch.inference_mode():
        logits, _ = writer.model(torch.tensor([[*prompt, *result.tokens[: word.first]]]))
    p = logits[0, -1].softmax(dim=-1)
    mine = float(p[result.tokens[word.first]])
    assert number(page, "probability") == pytest.approx(100 * mine, rel=0.06, abs=0.006)
    assert number(page, "rank") == int((p > mine).sum()) + 1
    assert number(page, "entropy") == pytest.approx(-float((p * p.log2()).sum()), abs=0.006)
    [first, *_] = page.locator(".bars li").all()
    assert float(first.locator(".figures").text_content().split()[0]) == pytest.approx(100 * float(p.max()), rel=0.06)

    picked = page.locator("[data-pick]").nth(1)
    token = int(picked.get_attribute("data-pick"))
    picked.click()
    expect(page.locator("[data-branch='1']")).to_have_attribute("aria-current", "true")
    before = writer.tokenizer.decode([*result.tokens[: word.first], token])
    assert shown(page).startswith(before)
    assert shown(page) != result.story
    expect(page.locator(".why-step")).to_contain_text("You picked it")
    page.locator("[data-branch='0']").click()
    expect(page.locator("[data-branch='0']")).to_have_attribute("aria-current", "true")
    assert shown(page) == result.story

    page.locator("#why-inside > button").click()
    expect(page.locator("#why-inside-html")).to_contain_text("Click a word")
    button.click()
    expect(page.locator(".why-attention")).to_contain_text("The Fox and the Moon")
    choose(page, "why-layer", "Layer 6")
    expect(page.locator(".why-attention span[style]").first).to_be_visible()


def test_keys_beams_and_an_lstm_on_a_phone(page):
    """One stop of the Tab key for the story; what was typed stays text wherever it is shown; nothing is too wide."""
    page.set_viewport_size({"width": 390, "height": 844})
    choose(page, "model", "lstm")
    choose(page, "strategy", "Beam search")
    set_number(page, "max-new-tokens", 40)
    write(page, title="<img src=x onerror=alert(1)>")
    assert page.locator(".why-story [tabindex='0']").count() == 1
    words = page.locator(".why-story button")
    words.first.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    expect(words.nth(2)).to_be_focused()
    page.keyboard.press("Enter")
    expect(words.nth(2)).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#why-cut")).to_contain_text("follows 4 stories")
    panel = page.locator("#why-side").bounding_box()
    assert panel["y"] + panel["height"] <= 845  # the sheet is on the screen, with a word's figures on it
    expect(page.locator("#why-probability")).to_be_in_viewport()
    page.get_by_role("button", name="Close").click()
    expect(page.locator(".why-step")).to_have_count(0)
    page.get_by_role("button", name="Beams").click()
    expect(page.locator(".why-tree.beams .end")).to_have_count(4)
    page.locator("#why-inside > button").click()
    words.nth(2).click()
    expect(page.locator(".why-strip svg")).to_be_visible()
    assert page.locator(".why-strip rect.fill").first.locator("title").count() == 1
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_story_of_its_own_and_a_branch_that_is_stopped(page):
    """The tab needs no story from elsewhere; Stop brings back what was there."""
    set_number(page, "max-new-tokens", 600)
    open_tab(page, "Why this word")
    page.get_by_role("button", name="write one here").click()
    expect(page.locator(".why-story button").first).to_be_visible()
    open_tab(page, "Write")
    choose(page, "strategy", "Temperature")
    write(page)
    expect(page.locator(".why-story")).not_to_contain_text("Once upon a time")
    before = shown(page)
    page.locator(".why-story button").nth(3).click()
    page.locator("[data-pick]").first.click()
    page.locator("[data-halt]").click()
    expect(page.locator(".why-story button").first).to_be_visible()
    assert shown(page) == before
    expect(page.locator("[data-branch]")).to_have_count(0)
    expect(page.locator("#why-entropy")).to_be_visible()  # and so does the word that was explained
