import numpy as np
import pytest

from storygen.arena.match import Match, Prompt, Side
from storygen.arena.simulated_readers import Readers
from train.demonstrate_preferences import compare, interval, titles


def side(text, reason="length"):
    return Side(None, text, None, len(text), reason)


def test_no_title_is_learned_from_and_judged_on():
    """A win rate on titles that the votes were about would not be one on unseen prompts."""
    learned, unseen = titles()
    assert len(learned) > 1000 and len(unseen) == 90
    assert not set(learned) & set(unseen)


def test_what_is_preferred_and_what_is_voted():
    """The tuned model is on the right; equal stories are half a win."""
    good, bad = side("A fish sang to the bell.", "end"), side("It rained and")
    matches = [
        Match(Prompt("The Singing Fish"), sides) for sides in ((bad, good), (bad, good), (good, bad), (bad, bad))
    ]
    found = compare(matches, Readers(careless=0.0))
    assert found["preferred"][0] == 2.5 / 4
    assert found["meetings"] == 4
    assert found["tuned"] == {"ended": 0.5, "repetition": 0.0, "title_words": 0.25, "words": 4.5}
    assert found["start"]["ended"] == 0.25
    assert found["samples"][0] == {"title": "The Singing Fish", "start": bad.text, "tuned": good.text}


def test_stories_on_one_title_hang_together():
    """Ten stories on each of nine titles that always come out alike are worth nine, not ninety."""
    won = np.repeat([0.0, 1.0, 1.0, 0.0, 1.0, 1.0, 0.0, 1.0, 1.0], 10)
    mean, low, high = interval(won.tolist(), [f"title {number // 10}" for number in range(90)])
    assert mean == pytest.approx(2 / 3, abs=1e-4)
    assert high - low == pytest.approx(2 * 1.96 * (2 / 9 / 9) ** 0.5, rel=0.15)
