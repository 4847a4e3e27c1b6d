import random
from collections import Counter

from storygen.data.prompts import Keywords, draw_continuation, draw_prompt
from storygen.data.story import Story


def learnt():
    return Keywords(
        ["the lantern glows over there", "the lantern and the otter over there", "an otter sleeps there", "there over"]
    )


def test_keywords_are_frequent_here_and_rare_elsewhere():
    """`there` is in every story: it tells nothing. `glows` is in one only: nobody would ask for it."""
    assert learnt().top("The otter saw another otter and a lantern there. It glows.", 2) == ["otter", "lantern"]


def test_every_form_of_prompt_turns_up_equally_often():
    """A model that sees titles only ignores keywords, and one that always has a prompt is lost without one."""
    story = Story("otter lantern otter", title="The Title", prompt="Write about it.")
    keywords, draw = learnt(), random.Random(0)
    forms = Counter(draw_prompt(story, keywords, draw) for _ in range(4000))
    shares = {form: count / 4000 for form, count in forms.items()}
    assert abs(shares["The Title"] - 0.25) < 0.03
    assert abs(shares["Write about it."] - 0.25) < 0.03
    assert abs(shares[""] - 0.25) < 0.03
    assert {"otter", "lantern", "otter, lantern", "lantern, otter"} <= shares.keys()


def test_a_story_without_title_or_words_has_no_prompt():
    assert draw_prompt(Story("a b c"), learnt(), random.Random(1)) == ""


def test_a_continuation_has_the_title_and_half_of_the_time_words_of_the_piece():
    draws = [draw_continuation("The Otter", "an otter sleeps there", learnt(), random.Random(n)) for n in range(100)]
    words = {draw.removeprefix("The Otter (continued)") for draw in draws}
    assert words == {"", ": otter", ": there", ": otter, there", ": there, otter"}
    assert 30 < draws.count("The Otter (continued)") < 70
    assert draw_continuation("", "over there", learnt(), random.Random(0)).startswith("(continued)")
