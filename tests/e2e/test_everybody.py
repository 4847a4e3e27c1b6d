"""The page for everybody: at the first visit, by keyboard, on a phone, in the dark, in German, several at once."""

import pytest

from storygen.ui.texts import TEXTS
from tests.e2e.conftest import choose, expect, new_round, open_tab, set_number, story, visit

pytestmark = pytest.mark.e2e

CLICKS = "window.clicks = 0; document.addEventListener('click', event => window.clicks += event.isTrusted, true);"
FOCUS = "getComputedStyle(document.activeElement).outlineStyle"


def test_from_the_first_look_to_a_rating_in_four_clicks(page):
    """All that somebody does who has never seen the page and types nothing, by what there is to be read."""
    page.evaluate(CLICKS)
    page.get_by_role("tab", name="Compare").click()
    page.get_by_role("button", name="New round").click()
    expect(page.locator("#compare-status")).to_contain_text("is better?")
    page.get_by_role("button", name="Left is better").click()
    expect(page.locator("#compare-status")).to_contain_text("1 rated; 14 more unlock your own ranking")
    expect(page.locator("#left-reveal")).to_contain_text("seed")
    assert page.evaluate("window.clicks") == 3


def press_until(page, key, reached):
    """Presses a key until the element with the focus is the one; each on the way shows that it has it."""
    for _ in range(25):
        page.keyboard.press(key)
        if page.evaluate(f"document.activeElement.matches({reached!r})"):
            assert page.evaluate(FOCUS) == "solid"
            return
        assert page.evaluate(f"document.activeElement === document.body || {FOCUS} === 'solid'")
    pytest.fail(f"{key} does not lead to {reached}")


def test_a_story_and_a_rating_without_a_mouse(page):
    press_until(page, "Tab", "#title textarea, #title input")
    page.keyboard.type("The Fox and the Moon")
    press_until(page, "Tab", "#write")
    page.keyboard.press("Enter")
    expect(page.locator("#status")).to_contain_text("tokens in")
    press_until(page, "Shift+Tab", "[role=tab][data-tab-id=compare-tab]")
    page.keyboard.press("Enter")
    press_until(page, "Tab", "#round")
    page.keyboard.press("Enter")
    expect(page.locator("#verdict-tie")).to_be_enabled()
    press_until(page, "Tab", "#verdict-tie")
    page.keyboard.press("Enter")
    expect(page.locator("#compare-status")).to_contain_text("Thank you")


def test_nothing_serious_stands_in_the_way_of_anybody(page):
    """Contrast, labels, names and roles on every tab, light and dark, as axe-core sees them."""
    from axe_playwright_python.sync_playwright import Axe

    page.emulate_media(reduced_motion="reduce")  # nothing fades in
    page.locator("#write").click()
    expect(page.locator("#status")).to_contain_text("tokens in")
    for tab in page.get_by_role("tab").all():
        tab.click()
        if tab.inner_text() == "Compare":
            new_round(page)
        for is_dark, rules in ((False, {}), (True, {"runOnly": ["color-contrast"]})):  # the rest does not change
            page.evaluate(f"document.body.classList.toggle('dark', {str(is_dark).lower()})")
            found = Axe().run(page, options={"resultTypes": ["violations"], **rules}).response["violations"]
            serious = [v for v in found if v["impact"] in ("serious", "critical")]
            assert [(v["id"], v["nodes"][0]["html"]) for v in serious] == [], (tab.inner_text(), is_dark)


def test_on_a_phone_all_is_within_reach(page):
    """All tabs and the verdicts are on the screen; nothing is wider than it, and the stories are below each other."""
    page.set_viewport_size({"width": 390, "height": 844})
    new_round(page)
    left, right = (page.locator(f"#{side}-story").bounding_box() for side in ("left", "right"))
    assert right["y"] >= left["y"] + left["height"]
    assert left["width"] > 300
    for button in (*page.get_by_role("tab").all(), page.locator("#verdict-left"), page.locator("#verdict-skip")):
        box = button.bounding_box()
        assert 422 < box["y"] < box["y"] + box["height"] <= 844  # the lower half
        assert 0 <= box["x"] < box["x"] + box["width"] <= 390
        assert box["height"] >= 44 and box["width"] >= 40
    for tab in page.get_by_role("tab").all():
        tab.click()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, tab.inner_text()


def test_on_a_laptop_a_round_needs_no_scrolling(page):
    new_round(page)
    for height in (860, 720):
        page.set_viewport_size({"width": 1280, "height": height})
        verdict = page.locator("#verdict-left").bounding_box()
        assert verdict["y"] + verdict["height"] <= height


def test_two_visitors_do_not_see_each_other(page, browser, app):
    """Both write at once; one is in the dark and wants no motion."""
    with visit(browser, app[0], color_scheme="dark", reduced_motion="reduce") as other:
        visitors = {page: "7", other: "8"}
        for visitor, seed in visitors.items():
            choose(visitor, "model", "transformer")
            visitor.locator("#seed textarea, #seed input").fill(seed)
            visitor.locator("#write").click()
        for visitor, seed in visitors.items():
            expect(visitor.locator("#status")).to_contain_text(f"seed {seed}")
            visitor.get_by_role("button", name="Drafts of this visit").click()
            expect(visitor.locator("#drafts article")).to_have_count(1)
        assert story(page) != story(other)
        new_round(page)
        open_tab(other, "Compare")
        assert other.locator("#left-story textarea").input_value() == ""
        expect(other.locator("#verdict-left")).to_be_disabled()
        new_round(other)
        for visitor in visitors:  # neither round has ended the other
            visitor.locator("#verdict-left").click()
            expect(visitor.locator("#compare-status")).to_contain_text("Thank you")
        looks = [visitor.evaluate("getComputedStyle(document.body).backgroundColor") for visitor in visitors]
        moves = [
            visitor.evaluate("getComputedStyle(document.querySelector('.reveal p')).animationName")
            for visitor in visitors
        ]
        assert looks == ["rgb(250, 250, 249)", "rgb(15, 14, 13)"]
        assert moves == ["reveal", "none"]


def test_a_german_reads_german(browser, app):
    """What is on the page from the beginning and what is made while it is used are in one language."""
    german = TEXTS["de"]
    with visit(browser, app[0], locale="de-DE") as page:
        expect(page.get_by_role("tab")).to_have_text(
            [german[f"tab.{t}"] for t in ("write", "why", "compare", "leaderboard", "how")]
        )
        expect(page.locator("#explanation")).to_have_text(german["strategy.top_p.says"])
        expect(page.locator("#about-model")).to_contain_text("Millionen Gewichte")
        choose(page, "strategy", german["strategy.greedy"])
        expect(page.locator("#explanation")).to_have_text(german["strategy.greedy.says"])
        set_number(page, "max-new-tokens", 20)
        page.locator("#write").click()
        expect(page.locator("#status")).to_contain_text("je Sekunde")
        for tab in page.get_by_role("tab").all():
            tab.click()
            page.wait_for_timeout(300)
            shown = page.locator("[role=tabpanel]:visible").first.inner_text()
            assert "__i18n__" not in shown and "Press" not in shown and " the model " not in shown
        expect(page.locator("#how-choice")).to_contain_text("Token können gezogen werden")
