import json

import pytest

from storygen.errors import StorygenError
from storygen.tuning.preferences import FEWEST, make_pairs, read_preferences, split_by_prompt


def row(number=0, **changes):
    return {
        "prompt": f"The Fox {number}",
        "opening": "",
        "chosen": "A fox slept. The end.",
        "rejected": "A dog ran and",
        "chosen_ended": True,
        "rejected_ended": False,
        "reliability": 0.75,
        **changes,
    }


def test_a_pair_is_told_as_the_model_tells_it(tokenizer):
    """A story that was cut has no end token: with one the model would learn that stories break off there, or, as the
    rejected one, not to end at all.
    """
    [pair] = make_pairs([row(opening="A ")], tokenizer, 512)
    ended, cut = sorted((pair.first, pair.second), key=lambda told: told.tokens[-1] != tokenizer.end_id)
    for told, rest, end in ((ended, " fox slept. The end.", [tokenizer.end_id]), (cut, " dog ran and", [])):
        written = [*tokenizer.encode(rest), *end]
        head = [*tokenizer.head(tokenizer.encode("The Fox 0")), *tokenizer.encode("A")]
        assert list(told.tokens) == [*head, *written]
        assert told.scored == len(written)


def test_without_a_prompt_only_the_story_is_told(tokenizer):
    [pair] = make_pairs([row(prompt="")], tokenizer, 512)
    assert {told.tokens[0] for told in (pair.first, pair.second)} == {tokenizer.story_id}


def test_votes_on_the_same_two_stories_are_one_pair(tokenizer):
    """Each vote as a pair of its own would have the model read the same stories again and again."""
    other = row(chosen="A dog ran and", rejected="A fox slept. The end.", chosen_ended=False, rejected_ended=True)
    [pair] = make_pairs([row(), row(), other], tokenizer, 512, weighted=False)
    fox_first = pair.first.tokens[-1] == tokenizer.end_id
    assert sorted((pair.for_first, pair.for_second)) == [1.0, 2.0]
    assert (pair.for_first == 2.0) == fox_first
    assert len(make_pairs([row(1), row(2)], tokenizer, 512)) == 2  # other prompts, other pairs


def test_a_rater_who_tosses_a_coin_counts_nothing(tokenizer):
    pairs = make_pairs([row(1, reliability=0.5), row(2, reliability=0.75), row(3, reliability=1.0)], tokenizer, 512)
    assert [pair.weight for pair in pairs] == pytest.approx([1.0, 2.0])  # 0, 0.5 and 1 with a mean of 1
    with pytest.raises(StorygenError, match="every rater of the export votes as by a coin"):
        make_pairs([row(reliability=0.5)], tokenizer, 512)


def test_long_stories_are_cut_to_the_context(tokenizer):
    """What does not fit must not be scored, nor push the prompt out."""
    [pair] = make_pairs([row(chosen="word " * 500)], tokenizer, 64)
    longest = max(pair.first, pair.second, key=lambda told: len(told.tokens))
    assert len(longest.tokens) == 65
    assert longest.tokens[0] == tokenizer.prompt_id and longest.tokens[-1] != tokenizer.end_id


def test_no_prompt_is_on_both_sides_of_the_split(tokenizer):
    """A model tested on prompts that it was tuned on looks better than it is."""
    rows = [row(number % 40, chosen=f"Fox {number}.") for number in range(200)]
    pairs = make_pairs(rows, tokenizer, 64)
    train, valid = split_by_prompt(pairs, 0.25, seed=1)
    assert len(train) + len(valid) == len(pairs)
    assert len({pair.prompt for pair in valid}) == 10
    assert not {pair.prompt for pair in train} & {pair.prompt for pair in valid}
    assert split_by_prompt(pairs[::-1], 0.25, seed=1)[1] == valid[::-1]  # whatever the order
    assert split_by_prompt(pairs, 0.25, seed=2)[1] != valid
    with pytest.raises(StorygenError, match="the pairs have 1 different prompts; some to learn from and some to hold"):
        split_by_prompt(pairs[:1], 0.25)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("{", "is not JSON lines"),
        (json.dumps({**row(), "chosen_ended": None}), ":1 has no chosen_ended that is a bool; make it with python -m"),
        (json.dumps([1]), ":1 has no prompt that is a str"),
        (json.dumps(row()), f"has 1 preference pairs; {FEWEST} or more are needed"),
    ],
)
def test_what_is_no_export_is_refused_in_a_line(tmp_path, lines, message):
    (tmp_path / "preferences.jsonl").write_text(lines + "\n")
    with pytest.raises(StorygenError, match=message):
        read_preferences(tmp_path)
    with pytest.raises(StorygenError, match="nowhere cannot be read: No such file or directory; name an export"):
        read_preferences(tmp_path / "nowhere")
