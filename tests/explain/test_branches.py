import math

import pytest

import storygen
from storygen.config import GenerationConfig
from storygen.decoding import Token
from storygen.errors import StorygenError
from storygen.explain import Branches, branch_off, explain
from storygen.explain.branches import MAX_BRANCHES
from storygen.writer import Result

CONFIG = GenerationConfig(max_new_tokens=20, min_new_tokens=20, seed=7)


def story(*tokens):
    return Result("", "", "", "length", 1, CONFIG, "m", "", tokens, (0.0,) * len(tokens))


@pytest.fixture
def grown():
    """A story 1 2 3 4 5; a branch with 9 at place 2; from it one with 8 at place 4; all are numbered as they came."""
    branches = Branches.of(story(1, 2, 3, 4, 5)).grow(story(1, 2, 9, 9, 9), 2)
    return branches.grow(story(1, 2, 9, 9, 8), 4)


def test_a_branch_of_a_branch(grown):
    assert grown.shown == 2
    assert [node.parent for node in grown.nodes] == [None, 0, 1]
    assert (grown.children(0), grown.children(1), grown.children(2)) == ([1], [2], [])
    assert grown.root.tokens == (1, 2, 3, 4, 5)
    assert grown.result.tokens == (1, 2, 9, 9, 8)
    assert [grown.is_picked(at) for at in range(5)] == [False, False, True, False, True]


def test_a_branch_belongs_to_the_story_that_it_really_leaves(grown):
    """Read on the third story, its first tokens are the first story's: a branch there leaves that one."""
    assert [grown.owner(at) for at in range(5)] == [0, 0, 0, 1, 1]
    earlier = grown.grow(story(1, 7, 7, 7, 7), 1)
    assert earlier.nodes[3].parent == 0
    assert earlier.children(0) == [3, 1]  # in the order of their places
    beside = grown.grow(story(1, 2, 6, 6, 6), 2)  # another token in the place of the picked one
    assert beside.nodes[3].parent == 0


def test_what_is_there_already_is_found(grown):
    assert grown.find(2, 3) == 0  # the picked token taken back
    assert grown.find(2, 9) == 1
    assert grown.find(4, 9) == 1
    assert grown.find(4, 8) == 2
    assert grown.find(2, 5) is None
    assert grown.show(0).find(4, 8) is None  # place 4 of the first story is not place 4 of the second


def test_walking_changes_nothing(grown):
    assert grown.show(1).result.tokens == (1, 2, 9, 9, 9)
    assert grown.show(1).nodes == grown.nodes
    assert grown.shown == 2
    for number in (3, -1):
        with pytest.raises(StorygenError, match="there is no branch"):
            grown.show(number)


def test_there_is_an_end_to_branches():
    branches = Branches.of(story(1, 2))
    for token in range(MAX_BRANCHES):
        branches = branches.show(0).grow(story(1, 10 + token), 1)
    with pytest.raises(StorygenError, match="branches already"):
        branches.grow(story(1, 3), 1)


@pytest.mark.parametrize("name", ["transformer", "lstm"])
def test_a_branch_goes_on_from_the_picked_token(name, model_folders):
    writer = storygen.load(model_folders / name)
    result = writer.generate("Once", "The Fox", CONFIG)
    at = 6
    choice = next(
        c
        for c in explain(writer, result)[at].choices
        if writer.tokenizer.token_bytes[c.id] and c.id != result.tokens[at]
    )
    stream = branch_off(writer, Branches.of(result), at, Token(choice.id, math.log(choice.before)))
    text = "".join(stream)
    branch = stream.result
    assert branch.tokens[: at + 1] == (*result.tokens[:at], choice.id)
    assert text == branch.text
    assert branch.config.max_new_tokens == at + 1 + 20  # as many more as the story was allowed
    assert (branch.opening, branch.title, branch.seed) == (result.opening, result.title, result.seed)
    found = [math.log(step.chosen.before) for step in explain(writer, branch)]
    assert found == pytest.approx(branch.logprobs, abs=1e-4)
    again = branch_off(writer, Branches.of(result), at, Token(choice.id, math.log(choice.before)))
    assert "".join(again) == text
    last = branch_off(writer, Branches.of(result).grow(branch, at), 26, Token(choice.id, -1.0))
    list(last)
    assert last.result.config.max_new_tokens == 27 + 20  # the root's limit, not that of the branch, which is longer


def test_a_branch_from_a_full_story_is_refused(model_folders):
    writer = storygen.load(model_folders / "lstm")
    full = story(*[5] * 2000)
    with pytest.raises(StorygenError, match="2000 tokens already"):
        branch_off(writer, Branches.of(full), 1999, Token(6, -1.0))
