"""The page in a real browser, as a visitor uses it."""

import re

import pytest

from storygen.arena.votes import read_votes
from storygen.config import STRATEGIES
from tests.e2e.conftest import choose, expect, go, new_round, open_tab, printable, set_number, story, visit

pytestmark = pytest.mark.e2e


def cast(votes):
    """All verdicts that are on disk, the oldest first."""
    return sorted((record for record in read_votes(votes) if "verdict" in record), key=lambda record: record["ts"])


def test_the_strategy_shows_its_own_sliders_only(page):
    labels = {"greedy": "Greedy", "top_k": "Top-k", "beam": "Beam search", "top_k_top_p": "Top-k and top-p"}
    for strategy, label in labels.items():
        choose(page, "strategy", label)
        for name in ("temperature", "top-k", "top-p", "num-beams", "length-penalty", "early-stopping"):
            shown = name.replace("-", "_") in STRATEGIES[strategy]
            locator = page.locator(f"#{name}")
            expect(locator).to_be_visible() if shown else expect(locator).not_to_be_visible()


def test_stop_keeps_what_was_written(page):
    set_number(page, "max-new-tokens", 2000)
    choose(page, "strategy", "Temperature")
    page.locator("#write").click()
    page.wait_for_function("document.querySelector('#story textarea').value.length > 20")
    page.locator("#stop-button").click()
    expect(page.locator("#status")).to_contain_text("Stopped")
    expect(page.locator("#write")).to_be_enabled()
    kept = story(page)
    page.wait_for_timeout(500)
    assert story(page) == kept != ""
    page.locator("#write").click()  # and the model is free for the next story
    page.wait_for_function("document.querySelector('#story textarea').value.length > 20")
    page.locator("#stop-button").click()
    expect(page.locator("#status")).to_contain_text("Stopped")


def test_a_story_in_one_click_goes_on_from_what_was_edited_and_can_be_undone(page):
    page.locator("#write").click()
    expect(page.locator("#status")).to_contain_text("tokens in")
    assert story(page)
    expect(page.locator("#write")).to_be_enabled()
    expect(page.locator("#stop-button")).to_be_disabled()
    page.locator("#story textarea").fill("A bear sat down. Then")
    page.locator("#continue").click()
    page.wait_for_function("/^A bear sat down. Then[^]+/.test(document.querySelector('#story textarea').value)")
    expect(page.locator("#undo-story")).to_be_enabled()
    expect(page.locator("#status")).to_contain_text("tokens in")
    page.locator("#undo-story").click()
    expect(page.locator("#story textarea")).to_have_value("A bear sat down. Then")
    page.get_by_role("button", name="Drafts of this visit").click()
    expect(page.locator("#drafts article")).to_have_count(2)


def test_a_link_writes_the_same_story_for_somebody_else(page, app):
    page.locator("#title textarea, #title input").fill("The Fox & the Moon?")
    page.locator("#opening textarea").fill("Once upon a time")
    page.locator("#seed textarea, #seed input").fill("7")
    choose(page, "strategy", "Top-k")
    set_number(page, "top-k", 7)
    set_number(page, "max-new-tokens", 40)
    page.locator("#write").click()
    expect(page.locator("#status")).to_contain_text("seed 7")
    assert story(page).startswith("Once upon a time")
    written, link = story(page), page.locator("#status a").get_attribute("href")
    go(page, f"{app[0]}/{link}")
    expect(page.locator("#status")).to_contain_text("seed 7")
    assert story(page) == written
    assert page.locator("#title textarea, #title input").input_value() == "The Fox & the Moon?"
    go(page, f"{app[0]}/?seed=1&model=nobody")
    expect(page.locator("#status")).to_contain_text("asks for the model 'nobody'")


def test_surprise_me_writes_at_once(page):
    page.locator("#surprise").click()
    expect(page.locator("#status")).to_contain_text("tokens in")
    assert page.locator("#title textarea, #title input").input_value()


def test_a_bad_seed_is_a_warning_not_a_traceback(page):
    page.locator("#seed textarea, #seed input").fill("seven")
    page.locator("#write").click()
    expect(page.locator("#status")).to_contain_text("seed is 'seven'; it must be a whole number")
    expect(page.locator("#write")).to_be_enabled()


def test_html_in_a_prompt_is_text(page):
    open_tab(page, "Compare")
    page.locator("#compare-prompt textarea, #compare-prompt input").fill("<img src=x onerror=alert(1)> *bold*")
    page.locator("#round").click()
    expect(page.locator("#verdict-left")).to_be_enabled()
    expect(page.locator("#compare-status")).to_contain_text("<img src=x onerror=alert(1)> *bold*")


def test_blind_battle_verdict_and_reveal(page, app):
    """Nothing on the page may name the contestants before the verdict; the rating is on disk when it says thank you."""
    _, votes = app
    before = len(cast(votes))
    new_round(page)
    panel = page.locator("[role=tabpanel]:visible").first.inner_html()
    battle = "|".join(("transformer", "lstm", "top.?[kp]", "greedy", "beam", "temperature", "seed"))
    assert not re.search(battle, panel, re.IGNORECASE)
    assert page.locator("#left-story textarea").input_value()
    assert page.locator("#right-story textarea").input_value()
    page.locator("#verdict-right").click()
    expect(page.locator("#compare-status")).to_contain_text("Thank you")
    assert len(cast(votes)) == before + 1
    vote = cast(votes)[-1]
    assert vote["verdict"] == "right"
    assert printable(vote["left"]["text"]) == printable(page.locator("#left-story textarea").input_value())
    for side in ("left", "right"):
        expect(page.locator(f"#{side}-reveal")).to_contain_text(vote[side]["model"])
        expect(page.locator(f"#{side}-reveal")).to_contain_text(str(vote[side]["seed"]))
    expect(page.locator("#verdict-left")).to_be_disabled()
    page.locator("#round").click()  # the next round is one click away, and blind again
    expect(page.locator("#verdict-left")).to_be_enabled()
    expect(page.locator("#left-reveal")).to_have_text("")


def test_every_verdict_button_records_its_own(page, app):
    """All of them once recorded the last one's verdict: a closure over the loop variable."""
    for verdict in ("left", "tie", "both_bad", "skip"):
        new_round(page)
        page.locator(f"#verdict-{verdict}").click()
        expect(page.locator("#compare-status")).to_contain_text("Thank you")
        assert cast(app[1])[-1]["verdict"] == verdict


def test_two_clicks_in_the_same_instant_count_once(page, app):
    new_round(page)
    before = len(cast(app[1]))
    page.evaluate("['left', 'right', 'left'].forEach(v => document.querySelector('#verdict-' + v).click())")
    expect(page.locator("#compare-status")).to_contain_text("Thank you")
    page.wait_for_timeout(500)
    assert len(cast(app[1])) == before + 1
    assert page.locator("#left-story textarea").input_value()  # the refusal leaves the stories on screen


def test_a_rating_by_keys_with_tags_and_its_undo(page, app):
    new_round(page)
    page.locator("#tags").get_by_text("Creative").click()
    page.locator("#note textarea, #note input").fill("3 cheers")  # a digit that is typed is no verdict
    page.wait_for_timeout(300)
    expect(page.locator("#verdict-left")).to_be_enabled()
    page.locator("#compare-status").click()
    page.keyboard.press("3")
    expect(page.locator("#compare-status")).to_contain_text("Thank you")
    vote = cast(app[1])[-1]
    assert (vote["verdict"], vote["tags"], vote["note"]) == ("right", ["creative"], "3 cheers")
    page.keyboard.press("u")
    expect(page.locator("#compare-status")).to_contain_text("taken back")
    assert vote["id"] in {record.get("retracts") for record in read_votes(app[1])}
    expect(page.locator("#undo")).not_to_be_visible()


def test_one_browser_is_one_rater_and_another_is_another(page, browser, app):
    """A reload must not make a rater a new person, nor two people one."""
    raters = []
    with visit(browser, app[0]) as other:
        for visitor in (page, other, page):
            new_round(visitor)
            visitor.locator("#verdict-left").click()
            expect(visitor.locator("#compare-status")).to_contain_text("Thank you")
            raters.append(cast(app[1])[-1]["rater"])
            if visitor is other:
                go(page, app[0])
    assert raters[0] == raters[2] != raters[1]


def test_both_can_be_picked_by_name(page, app):
    open_tab(page, "Compare")
    choose(page, "mode", "Pick both")
    choose(page, "pick-left", "lstm, greedy")
    page.locator("#round").click()
    expect(page.locator("#verdict-left")).to_be_enabled()
    story = page.locator("#left-story textarea").input_value()
    choose(page, "pick-right", "lstm, greedy")
    page.locator("#round").click()
    expect(page.locator("#compare-status")).to_contain_text("choose two different contestants")
    assert page.locator("#left-story textarea").input_value() == story  # a refused round leaves the open one
    page.locator("#verdict-tie").click()
    expect(page.locator("#left-reveal")).to_contain_text("lstm, greedy")
    assert cast(app[1])[-1]["mode"] == "named"


def test_a_story_alone_gets_stars(page, app):
    page.locator("#write").click()
    expect(page.locator("#status")).to_contain_text("tokens in")
    page.get_by_role("button", name="Rate this story").click()
    choose(page, "stars-creative", "★★★★")
    page.locator("#save-stars").click()
    expect(page.locator("#stars-status")).to_contain_text("Thank you")
    assert [record["stars"] for record in read_votes(app[1]) if "stars" in record][-1] == {"creative": 4}


def test_the_leaderboard_shows_the_votes_and_gives_them_away(page, app):
    new_round(page)
    page.locator("#verdict-left").click()
    expect(page.locator("#compare-status")).to_contain_text("Thank you")
    open_tab(page, "Leaderboard")
    expect(page.locator("#board")).to_contain_text("not enough votes")
    expect(page.locator("#board-facts")).to_contain_text(f"of {len(cast(app[1]))} votes count")
    expect(page.locator("#board-facts")).to_contain_text("on this machine only")
    page.get_by_role("button", name="My ratings").click()
    expect(page.locator("#own-board")).to_contain_text("rated")
    page.get_by_role("button", name="Take the votes away").click()
    page.locator("#export").click()
    for name in ("votes.jsonl", "votes.parquet", "preferences.jsonl", "README.md"):
        expect(page.locator("#export-files")).to_contain_text(name.split(".")[0])
