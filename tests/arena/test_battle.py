import random
from collections import Counter

import pytest

import storygen
from storygen.arena.battle import KEPT_BATTLES, Arena, in_step
from storygen.arena.votes import VoteStore, read_votes
from storygen.config import GenerationConfig
from storygen.errors import StorygenError


@pytest.fixture(scope="module")
def writers(model_folders):
    return {name: storygen.load(model_folders / name) for name in ("transformer", "lstm")}


@pytest.fixture
def arena(writers, tmp_path):
    return Arena(writers, VoteStore(tmp_path), max_new_tokens=20, draw=random.Random(0))


def fought(arena, session="ann", title="The Fox"):
    battle = arena.begin(session, title)
    return battle, list(arena.fight(battle))


def test_a_vote_is_complete_enough_to_write_both_stories_again(arena, writers, tmp_path):
    battle, texts = fought(arena)
    reveal = arena.judge("ann", battle.id, "left")
    [vote] = read_votes(tmp_path)
    assert (vote["battle_id"], vote["verdict"], vote["prompt"]["title"]) == (battle.id, "left", "The Fox")
    assert (reveal.left, reveal.right) == battle.sides
    for side, text in zip((vote["left"], vote["right"]), texts[-1], strict=True):
        config = GenerationConfig.from_dict(side["config"])
        again = writers[side["model"]].generate("", "The Fox", config)
        assert again.text == side["text"] == text
        assert side["seed"] == config.seed == again.seed
        assert side["logprob"] == pytest.approx(sum(again.logprobs))
        assert (side["bytes"], side["finish_reason"]) == (len(text.encode()), again.finish_reason)
    assert vote["dwell_ms"] >= 0
    assert vote["prompt_source"] == "user"


def test_the_rater_is_pseudonymous(arena, tmp_path):
    for session in ("ann", "ann", "ben"):
        arena.judge(session, fought(arena, session)[0].id, "tie")
    raters = [vote["rater"] for vote in read_votes(tmp_path)]
    assert raters[0] == raters[1] != raters[2]
    assert "ann" not in (tmp_path / arena.store.path.name).read_text()


@pytest.mark.parametrize("verdict", ["left", "right", "tie", "both_bad"])
def test_all_verdicts(arena, tmp_path, verdict):
    arena.judge("ann", fought(arena)[0].id, verdict)
    assert next(read_votes(tmp_path))["verdict"] == verdict


def test_a_battle_takes_exactly_one_verdict(arena, tmp_path):
    """A double click must not count twice."""
    battle, _ = fought(arena)
    arena.judge("ann", battle.id, "left")
    with pytest.raises(StorygenError, match="rated already"):
        arena.judge("ann", battle.id, "right")
    assert [vote["verdict"] for vote in read_votes(tmp_path)] == ["left"]


@pytest.mark.parametrize(
    ("session", "battle_id", "verdict", "message"),
    [
        ("ben", None, "left", "rated already or has expired"),
        ("ann", "made-up", "left", "rated already or has expired"),
        ("ann", None, "best", "unknown verdict 'best'"),
    ],
)
def test_votes_that_are_refused(arena, tmp_path, session, battle_id, verdict, message):
    battle, _ = fought(arena)
    with pytest.raises(StorygenError, match=message):
        arena.judge(session, battle_id or battle.id, verdict)
    assert list(read_votes(tmp_path)) == []
    arena.judge("ann", battle.id, "left")  # the right vote is still welcome


def test_unfinished_stories_cannot_be_rated(arena):
    battle = arena.begin("ann", "The Fox")
    stories = arena.fight(battle)
    next(stories)
    with pytest.raises(StorygenError, match="must be finished"):
        arena.judge("ann", battle.id, "left")
    stories.close()
    with pytest.raises(StorygenError, match="must be finished"):
        arena.judge("ann", battle.id, "left")


def test_a_vote_that_could_not_be_saved_can_be_cast_again(arena, tmp_path, monkeypatch):
    """The battle must not be used up by a full disk."""
    battle, _ = fought(arena)

    def full(record):
        raise StorygenError("the vote could not be saved: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(arena.store, "append", full)
        with pytest.raises(StorygenError, match="No space left"):
            arena.judge("ann", battle.id, "left")
    arena.judge("ann", battle.id, "left")
    assert len(list(read_votes(tmp_path))) == 1


def test_contestants_differ_and_sides_are_random(arena):
    """A model that always stands on the left wins or loses by its place."""
    pairs = [arena.begin("ann").sides for _ in range(400)]
    assert all(left != right for left, right in pairs)
    left = Counter(pair[0].model for pair in pairs)
    assert min(left.values()) > 160
    assert len({pair[0] for pair in pairs}) == len(arena.contestants)


def test_old_battles_expire(arena):
    first = arena.begin("ann")
    for number in range(KEPT_BATTLES):
        arena.begin(f"visitor {number}")
    with pytest.raises(StorygenError, match="expired"):
        arena.judge("ann", first.id, "left")


def test_an_empty_story_never_becomes_a_vote(arena, tmp_path):
    battle = arena.begin("ann", "The Fox")
    arena.writers = {name: EmptyWriter() for name in arena.writers}
    with pytest.raises(StorygenError, match="came out empty"):
        list(arena.fight(battle))
    with pytest.raises(StorygenError, match="must be finished"):
        arena.judge("ann", battle.id, "left")


def test_a_new_round_ends_the_one_before(arena, tmp_path):
    """A late click on the old round would put its reveal under the new, still blind stories."""
    battle, _ = fought(arena)
    arena.begin("ann")
    with pytest.raises(StorygenError, match="expired"):
        arena.judge("ann", battle.id, "left")
    assert list(read_votes(tmp_path)) == []


def test_a_title_that_is_too_long_is_refused(arena):
    """The page's own limit does not hold for those who call the API."""
    with pytest.raises(StorygenError, match="the title has 501 characters; at most 500"):
        arena.begin("ann", "x" * 501)


class EmptyWriter:
    def stream(self, *_):
        return EmptyStream()


class EmptyStream:
    opening = ""

    class result:
        text = "  \n"

    def __iter__(self):
        return iter(())

    def close(self):
        pass


def test_stories_grow_in_step():
    """The faster model must not give itself away by its pace."""
    streams = [iter(["a", "", "b", "c"]), iter(["", "", "x"])]
    assert list(in_step(streams)) == [("a", "x"), ("b", ""), ("c", "")]
