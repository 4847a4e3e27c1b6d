"""What the Why tab shows, without a browser."""

import re
from contextlib import ExitStack, closing

import pytest

import storygen
from storygen.config import GenerationConfig
from storygen.decoding.engine import MAX_ROWS
from storygen.errors import StorygenError
from storygen.explain import Branches, beam_tree
from storygen.explain.beams import Beam
from storygen.ui.why_html import SURPRISES, beams_html, branches_html, odds, percent, shade, visible
from storygen.ui.why_look import CSS
from storygen.ui.why_view import hint_html, pick, shown_inside, shown_step, shown_story, view_of
from storygen.writer import Candidate

CONFIG = GenerationConfig(max_new_tokens=15, min_new_tokens=15, seed=7)


@pytest.fixture(scope="module", params=["transformer", "lstm"])
def writer(request, model_folders):
    return storygen.load(model_folders / request.param)


@pytest.fixture
def view(writer):
    return view_of(writer, Branches.of(writer.generate("<b>Once</b>", "<i>", CONFIG)), 4)


def text_of(html):
    """What a browser would show."""
    import html as library

    return library.unescape(re.sub("<[^>]*>", "", html))


@pytest.mark.parametrize(
    ("p", "shown", "chance"),
    [
        (1.0, "100 %", "nearly sure"),
        (0.996, "99.6 %", "nearly sure"),
        (0.74, "74 %", "7 in 10"),
        (0.5, "50 %", "1 in 2"),
        (0.0449, "4.5 %", "1 in 22"),
        (0.00034, "0.03 %", "1 in 2,941"),
        (0.00001, "under 0.01 %", "1 in 100,000"),
        (0.0, "under 0.01 %", "next to never"),
    ],
)
def test_probabilities_for_readers(p, shown, chance):
    assert (percent(p), odds(p)) == (shown, chance)


def test_every_probability_has_a_shade():
    assert [shade(p) for p in (1.0, 0.5, 0.2, 0.1, 0.01, 1e-9, 0.0)] == [0, 0, 1, 2, 3, 4, 4]
    assert len(SURPRISES) == 5


@pytest.mark.parametrize(
    ("text", "seen"), [(" fox", "fox"), ("fox", "fox"), ("\n\n", "⏎⏎"), (" ", "␣"), ("  ", "␣␣"), ("a b", "a b")]
)
def test_white_space_can_be_seen(text, seen):
    assert visible(text) == seen


def test_the_words_are_the_story(writer, view):
    page = shown_story(writer, view)
    story = page[page.index('<div class="why-story"') :]
    plain = text_of(story).replace("∎", "")
    assert "".join(plain.split()).replace("⏎", "").replace("␣", "") == "".join(view.result.story.split())
    assert page.count('tabindex="0"') == page.count('aria-pressed="true"') == 1
    assert "<b>" not in page


def test_what_was_cut_off_is_told(writer):
    """Tokens after the last sentence are in the result but not in the story."""
    result = writer.generate("Once", config=CONFIG)
    shorter = storygen.writer.Result(**{**result.__dict__, "text": ""})
    assert 'cut"' not in shown_story(writer, view_of(writer, Branches.of(result)))
    assert 'cut"' in shown_story(writer, view_of(writer, Branches.of(shorter)))


def test_nothing_of_people_or_models_is_html(writer, view):
    for page in (shown_story(writer, view), shown_step(writer, view), shown_inside(writer, view, 0, 0)):
        assert "<b>" not in page
        assert not re.search(r"<i>(?!title:|story:|the end|part of)", page)


def test_an_alternative_becomes_a_branch_and_is_not_written_twice(writer, view):
    own = view.result.tokens[4]
    choice = next(c for c in view.steps[4].choices if writer.tokenizer.token_bytes[c.id] and c.id != own)
    *pages, (_, grown) = pick(writer, view, choice.id)
    assert pages and all(view is None for _, view in pages)
    assert grown.result.tokens[:5] == (*view.result.tokens[:4], choice.id)
    assert grown.selected == 4
    assert "You picked it" in shown_step(writer, grown)
    assert 'data-branch="1" aria-current="true"' in branches_html(grown.branches, grown.texts)
    back = view_of(writer, grown.branches.show(0), 4)
    assert back.result == view.result
    [(_, again)] = pick(writer, back, choice.id)
    assert again.branches == grown.branches


def test_who_waits_for_a_branch_is_told_the_place(writer, view):
    """A full engine looked as if the click had done nothing."""
    own = view.result.tokens[4]
    choice = next(c for c in view.steps[4].choices if writer.tokenizer.token_bytes[c.id] and c.id != own)
    endless = GenerationConfig(strategy="greedy", max_new_tokens=2000, min_new_tokens=2000)
    with ExitStack() as others:
        for _ in range(MAX_ROWS + 1):
            others.enter_context(closing(writer.stream("Once", config=endless)))
        with closing(pick(writer, view, choice.id)) as pages:
            page, _ = next(pages)
    assert re.search(r"(\d+ stories are|One story is) written before yours", text_of(page))


def test_only_an_alternative_can_be_picked(writer, view):
    """The browser could send any number."""
    strange = next(i for i in range(400) if i not in {c.id for c in view.steps[4].choices})
    for token in (strange, None):
        with pytest.raises(StorygenError, match="not among the alternatives"):
            next(pick(writer, view, token))


def test_nothing_selected_is_a_hint(writer):
    view = view_of(writer, Branches.of(writer.generate("Once", config=CONFIG)))
    assert shown_step(writer, view) == shown_inside(writer, view, 0, 0) == hint_html()


@pytest.mark.parametrize("layer, head", [(0, 0), (1, 0), (0, 4), (2, 1), (99, -5)])
def test_any_layer_and_head(writer, view, layer, head):
    assert "when it chose" in shown_inside(writer, view, layer, head).lower()


@pytest.mark.parametrize("strategy", ["greedy", "sample", "top_k", "typical", "beam"])
def test_what_the_settings_did_is_said(writer, strategy):
    result = writer.generate("Once", config=CONFIG.replace(strategy=strategy, top_k=3, no_repeat_ngram=1))
    said = text_of(shown_step(writer, view_of(writer, Branches.of(result), 3)))
    assert {
        "greedy": "always take the likeliest",
        "sample": "Temperature 0.8 makes likely tokens likelier",
        "top_k": "Top‑k 3 cut off",
        "typical": "Typical 0.95 cut off",
        "beam": "follows 4 stories",
    }[strategy] in said


def test_beams_as_a_tree(tokenizer):
    tokens = [tuple(tokenizer.encode(text)) for text in ("Once <b>upon</b>", "Once <b>more")]
    found = [Candidate("", -1.0 - number, "end", each) for number, each in enumerate(tokens)]
    page = beams_html(beam_tree(found, tokenizer), found)
    assert "story 1, score -1.0000" in page and "story 2, score -2.0000" in page
    assert "<b>" not in page
    assert "Nothing is shared" in beams_html(Beam("", (), (), (Beam("a", (1,), (0,), ()),)), found)


def luminance(colour):
    """Relative luminance of #rrggbb (WCAG 2.2)."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))


def test_words_can_be_read_on_every_shade():
    """Contrast AA, 4.5 to 1, in the light and the dark look."""
    looks = re.findall(r"\{([^}]*--why-ink: #[^}]*)\}", CSS)
    assert len(looks) == 2
    for look in looks:
        colours = dict(re.findall(r"--why-(\w+): (#\w{6})", look))
        assert {"1", "2", "3", "4", "ink"} <= colours.keys()
        for name in "1234":
            high, low = sorted((luminance(colours[name]), luminance(colours["ink"])), reverse=True)
            assert (high + 0.05) / (low + 0.05) >= 4.5, (name, colours)
