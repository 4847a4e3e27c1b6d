import pytest
import torch

import storygen
from storygen.config import GenerationConfig
from storygen.errors import StorygenError
from storygen.evaluation.stories import content_words, judge, true_prompt_wins, write_for
from storygen.models import LanguageModel

PROMPTS = ["A story about a fox", "Two bears bake bread", "The moon falls into a well"]


class Told:
    """What `judge` reads of a result."""

    def __init__(self, story, finish_reason="end"):
        self.story, self.finish_reason = story, finish_reason


def test_content_words():
    assert content_words("A story about the Foxes, who want bread and 12 bears.") == {"foxe", "bread", "bear"}


def test_figures_of_known_stories():
    stories = [
        Told("The fox ran."), Told("A bear baked. A bear baked. A bear baked.", "length"), Told("Nothing of the moon."),
    ]  # fmt: skip
    figures = judge(["A fox", "Two bears bake bread", "The moon falls"], stories)
    # Asked: (fox is too short), bear bake bread, moon fall; told of them: bear, moon; by chance, in the next: none.
    assert figures.asked_words == pytest.approx(2 / 5)
    assert figures.asked_words_by_chance == 0
    assert figures.ended == pytest.approx(2 / 3)
    assert figures.repetition == pytest.approx(3 / (6 + 1))
    assert figures.words == pytest.approx((3 + 9 + 4) / 3)
    with pytest.raises(StorygenError, match="no story to judge"):
        judge([], [])


def test_many_at_once_write_what_each_writes_alone(model_folders):
    """The seed goes with the prompt, so the figures don't depend on what is in the batch."""
    writer = storygen.load(model_folders / "transformer")
    config = GenerationConfig(strategy="top_p", max_new_tokens=12)
    together = list(write_for(writer, PROMPTS * 7, config))  # more than are written at once
    assert [result.title for result in together] == PROMPTS * 7
    for number in (0, 17):
        alone = writer.generate(title=(PROMPTS * 7)[number], config=config.replace(seed=number))
        assert together[number].text == alone.text


class Follower(LanguageModel):
    """Likes tokens that it has seen before, so a text that repeats its prompt is likelier after it."""

    def __init__(self, vocab_size):
        super().__init__()
        self.config = storygen.config.TransformerConfig(vocab_size=vocab_size, context_length=64)
        self.unused = torch.nn.Parameter(torch.zeros(1))

    def forward(self, tokens, state=None):
        seen = torch.nn.functional.one_hot(tokens, self.config.vocab_size).cumsum(dim=1) > 0
        return 2.0 * seen, None


def test_a_model_that_follows_ranks_the_true_prompt_first(tokenizer):
    prompts = [f"the {name} and the {name}" for name in ("moon", "bear", "king", "bread", "hat", "sea")]
    stories = [(prompt, prompt) for prompt in prompts]
    model = Follower(tokenizer.vocab_size)
    assert all(true_prompt_wins(model, tokenizer, stories, others=5))
    crossed = [(prompt, text) for prompt, text in zip(prompts, prompts[1:] + prompts[:1], strict=True)]
    assert not any(true_prompt_wins(model, tokenizer, crossed, others=5))


def test_ranking_does_not_depend_on_the_prompts_length(tokenizer):
    """Only the text is scored: a short prompt must not win for being short."""
    model = Follower(tokenizer.vocab_size)
    model.forward = lambda tokens, state=None: (torch.zeros(*tokens.shape, tokenizer.vocab_size), None)
    stories = [("x " * number + "end", "a text") for number in range(1, 12)]
    assert not any(true_prompt_wins(model, tokenizer, stories, others=9))  # all are equally likely: nobody wins


def test_ranking_needs_other_prompts(tokenizer):
    with pytest.raises(StorygenError, match="more than 9 different prompts, and there are 1"):
        list(true_prompt_wins(Follower(400), tokenizer, [("a", "b")]))
