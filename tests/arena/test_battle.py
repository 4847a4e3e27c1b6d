import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from storygen.arena import battle as battles
from storygen.arena.battle import KEPT_BATTLES, ROUNDS_A_MINUTE, Arena
from storygen.arena.board import LiveBoard
from storygen.arena.contestants import Catalogue, Contestant
from storygen.arena.ledger import Ledger
from storygen.arena.match import Match, Prompt, Unfit
from storygen.arena.opening import kept_secret, open_arena
from storygen.arena.pool import SHOWN, Pool
from storygen.arena.suggestions import SUGGESTIONS
from storygen.arena.votes import VoteReader, VoteStore, read_votes
from storygen.config import GenerationConfig
from storygen.errors import StorygenError
from tests.arena.records import side

STRATEGIES = ("greedy", "sample", "top_k")
CONTESTANTS = tuple(Contestant(m, GenerationConfig(strategy=s)) for m in ("transformer", "lstm") for s in STRATEGIES)


class Told:
    """A side that writes without a model: its text tells nothing of its contestant."""

    def __init__(self, contestant, text):
        self.contestant, self.text = contestant, text

    def record(self):
        return side(self.contestant.model, self.contestant.config.strategy, self.text)


class Idle:
    is_busy = False
    revision = "r1"

    def can(self, config):
        return True


@pytest.fixture
def arena(tmp_path, monkeypatch):
    """An arena whose stories are made up; `monkeypatch` takes the models out."""
    numbers = iter(range(10_000))

    def write(writers, prompt, pair, characters):
        return Match(prompt, tuple(Told(contestant, f"Story {next(numbers)}.") for contestant in pair))

    monkeypatch.setattr(battles, "write_match", write)
    monkeypatch.setattr(battles, "ROUNDS_A_MINUTE", 10_000)
    store = VoteStore(tmp_path)
    board = LiveBoard(Ledger(VoteReader(tmp_path)))
    writers = {"transformer": Idle(), "lstm": Idle()}
    arena = Arena(writers, Catalogue(CONTESTANTS, 500), store, board, b"secret", rng=random.Random(0))
    arena._limit.count = 10_000
    return arena


def shown(arena, session="ann", rater="ann", prompt=None, **choices):
    """A battle whose stories are on the screen."""
    battle = arena.begin(session, rater, prompt, **choices)
    list(arena.show(battle))
    return battle


def votes(arena):
    return [record for record in read_votes(arena.store.path.parent) if "verdict" in record]


def test_a_vote_has_all_that_the_format_asks_for(arena):
    battle = shown(arena, prompt=Prompt("The Fox", "Once"))
    left, right = arena.judge("ann", battle.id, "left", ["creative", "creative", "prompt"], "  so it is ")
    [vote] = votes(arena)
    assert (vote["schema"], vote["battle_id"], vote["verdict"], vote["mode"]) == (1, battle.id, "left", "blind")
    assert (vote["prompt"], vote["prompt_source"]) == ({"title": "The Fox", "opening": "Once"}, "user")
    assert (vote["tags"], vote["note"], vote["rater"]) == (["creative", "prompt"], "  so it is ", "ann")
    assert [vote["left"], vote["right"]] == json.loads(json.dumps([left.record(), right.record()]))
    assert vote["dwell_ms"] >= 0
    arena.board.latest()
    assert len(arena.board.ledger) == 1 and not arena.board.ledger.refused


def test_raters_are_pseudonymous_and_the_same_after_a_restart(arena, tmp_path):
    """A rater was once somebody else after each restart, and an address could be guessed from an unsalted hash."""
    assert arena.rater("ann") == arena.rater("ann") != arena.rater("ben")
    assert "ann" not in arena.rater("ann")
    secret = kept_secret(tmp_path / "votes")
    assert kept_secret(tmp_path / "votes") == secret and len(secret) == 32
    assert (tmp_path / "votes" / "secret").stat().st_mode & 0o077 == 0
    assert kept_secret(tmp_path / "other") != secret


@pytest.mark.parametrize("verdict", ["left", "right", "tie", "both_bad", "skip"])
def test_all_verdicts(arena, verdict):
    arena.judge("ann", shown(arena).id, verdict)
    assert [vote["verdict"] for vote in votes(arena)] == [verdict]


def test_a_battle_takes_exactly_one_verdict(arena):
    """A double click must not count twice."""
    battle = shown(arena)
    arena.judge("ann", battle.id, "left")
    with pytest.raises(StorygenError, match="rated already"):
        arena.judge("ann", battle.id, "right")
    assert [vote["verdict"] for vote in votes(arena)] == ["left"]


@pytest.mark.parametrize(
    ("session", "battle_id", "verdict", "extra", "message"),
    [
        ("ben", None, "left", {}, "rated already or has expired"),
        ("ann", "made-up", "left", {}, "rated already or has expired"),
        ("ann", None, "best", {}, "unknown verdict 'best'"),
        ("ann", None, "left", {"tags": ["cheap"]}, "unknown tag 'cheap'"),
        ("ann", None, "left", {"note": "x" * 1_000_000}, "longer than 500 characters"),
        ("ann", None, "left", {"note": 5}, "longer than 500 characters"),
    ],
)
def test_votes_that_are_refused(arena, session, battle_id, verdict, extra, message):
    battle = shown(arena)
    with pytest.raises(StorygenError, match=message):
        arena.judge(session, battle_id or battle.id, verdict, **extra)
    assert votes(arena) == []
    arena.judge("ann", battle.id, "left")  # the right vote is still welcome


def test_unfinished_stories_cannot_be_rated(arena):
    battle = arena.begin("ann", "ann")
    stories = arena.show(battle)
    next(stories)
    for _ in range(2):
        with pytest.raises(StorygenError, match="must be finished"):
            arena.judge("ann", battle.id, "left")
        stories.close()


def test_a_vote_that_could_not_be_saved_can_be_cast_again(arena, monkeypatch):
    """The battle must not be used up by a full disk."""
    battle = shown(arena)

    def full(record):
        raise StorygenError("the vote could not be saved: No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(arena.store, "append", full)
        with pytest.raises(StorygenError, match="No space left"):
            arena.judge("ann", battle.id, "left")
    arena.judge("ann", battle.id, "left")
    assert len(votes(arena)) == 1


def test_old_battles_expire(arena, monkeypatch):
    first, second = shown(arena), shown(arena, "ben", "ben")
    clock = time.monotonic
    with monkeypatch.context() as later, pytest.raises(StorygenError, match="expired"):
        later.setattr(time, "monotonic", lambda: clock() + 3601)
        arena.judge("ben", second.id, "left")
    arena._battles.update({f"visitor {number}": first for number in range(KEPT_BATTLES)})
    shown(arena, "new", "new")
    with pytest.raises(StorygenError, match="expired"):
        arena.judge("ann", first.id, "left")
    assert len(arena._battles) == KEPT_BATTLES


def test_a_vote_that_cannot_be_taken_back_now_can_be_a_moment_later(arena, monkeypatch):
    """With a full disk the vote stayed and could not be taken back any more."""
    battle = shown(arena)
    arena.judge("ann", battle.id, "left")

    def full(record):
        raise StorygenError("the vote could not be saved")

    with monkeypatch.context() as now, pytest.raises(StorygenError, match="could not be saved"):
        now.setattr(arena.store, "append", full)
        arena.undo("ann", battle.id)
    arena.undo("ann", battle.id)
    assert arena.board.latest().reasons == {"taken back": 1}


def test_an_unforeseen_failure_leaves_the_battle_open(arena, monkeypatch):
    battle = shown(arena)
    with monkeypatch.context() as now, pytest.raises(MemoryError):
        now.setattr(arena.store, "append", lambda record: (_ for _ in ()).throw(MemoryError))
        arena.judge("ann", battle.id, "left")
    assert arena.can_judge("ann", battle.id)
    arena.judge("ann", battle.id, "left")
    assert not arena.can_judge("ann", battle.id)


def test_a_new_round_ends_the_one_before(arena):
    """A late click on the old round would put its reveal under the new, still blind stories."""
    battle = shown(arena)
    shown(arena)
    with pytest.raises(StorygenError, match="expired"):
        arena.judge("ann", battle.id, "left")
    assert votes(arena) == []


def test_a_vote_can_be_taken_back_for_a_while_and_not_cast_again(arena, monkeypatch):
    """After the reveal a second verdict would not be blind."""
    battle = shown(arena)
    with pytest.raises(StorygenError, match="no rating of yours"):
        arena.undo("ann", battle.id)
    arena.judge("ann", battle.id, "left")
    with pytest.raises(StorygenError, match="no rating of yours"):
        arena.undo("ben", battle.id)
    arena.undo("ann", battle.id)
    with pytest.raises(StorygenError, match="no rating of yours"):
        arena.undo("ann", battle.id)
    with pytest.raises(StorygenError, match="rated already"):
        arena.judge("ann", battle.id, "right")
    board = arena.board.latest()
    assert (board.votes, board.reasons) == (1, {"taken back": 1})

    late = shown(arena)
    arena.judge("ann", late.id, "left")
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 21)
    with pytest.raises(StorygenError, match="for 20 seconds only"):
        arena.undo("ann", late.id)


def test_who_asks_too_often_has_to_wait(arena, monkeypatch):
    arena._limit.count = ROUNDS_A_MINUTE
    for _ in range(ROUNDS_A_MINUTE):
        arena.begin("ann", "ann")
    with pytest.raises(StorygenError, match=r"more than 20 rounds a minute; go on in \d+ seconds"):
        arena.begin("ann", "ann")
    arena.begin("ben", "ben")
    clock = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: clock() + 61)
    arena.begin("ann", "ann")


def test_unfit_stories_are_drawn_again_before_anybody_sees_them(arena, monkeypatch):
    write, tries = battles.write_match, []

    def unfit_twice(*arguments):
        tries.append(arguments)
        if len(tries) <= 2:
            raise Unfit("nothing")
        return write(*arguments)

    monkeypatch.setattr(battles, "write_match", unfit_twice)
    arena.begin("ann", "ann")
    assert len(tries) == 3
    monkeypatch.setattr(battles, "write_match", lambda *_: (_ for _ in ()).throw(Unfit("lstm wrote nothing")))
    with pytest.raises(StorygenError, match="please try another") as error:
        arena.begin("ann", "ann")
    assert "lstm" not in str(error.value)


def test_the_modes_draw_whom_they_say(arena):
    for _ in range(20):
        battle = arena.begin("ann", "ann", mode="strategies", chosen=["lstm"])
        first, second = (each.contestant for each in battle.match.sides)
        assert first.model == second.model == "lstm" and first != second
    names = [str(CONTESTANTS[4]), str(CONTESTANTS[0])]
    battle = shown(arena, mode="named", chosen=names)
    assert [str(each.contestant) for each in battle.match.sides] == names
    arena.judge("ann", battle.id, "left")
    assert arena.board.latest().reasons == {"contestants were named": 1}


@pytest.mark.parametrize(
    ("mode", "chosen", "message"),
    [
        ("loud", (), "unknown mode 'loud'"),
        ("strategies", ["gpt"], "unknown model 'gpt'"),
        ("named", ["lstm, greedy", "gpt"], "unknown contestant 'gpt'"),
        ("named", ["lstm, greedy", "lstm, greedy"], "choose two different"),
        ("named", [], "choose two different"),
    ],
)
def test_bad_choices_are_refused(arena, mode, chosen, message):
    with pytest.raises(StorygenError, match=message):
        arena.begin("ann", "ann", mode=mode, chosen=chosen)


def test_some_rounds_repeat_an_earlier_pair_with_sides_swapped(arena):
    """And a repeat is neither repeated nor counted again."""
    rounds = []
    for _ in range(400):
        battle = shown(arena)
        arena.judge("ann", battle.id, "left")
        rounds.append(battle)
    repeats = [battle for battle in rounds if battle.match.repeat_of]
    assert 8 <= len(repeats) <= 40
    by_id = {battle.id: (number, battle) for number, battle in enumerate(rounds)}
    for battle in repeats:
        number, original = by_id[battle.match.repeat_of]
        assert battle.match.sides == original.match.sides[::-1]
        assert not original.match.repeat_of
        assert by_id[battle.id][0] - number > battles.ROUNDS_BEFORE_REPEAT
    assert len({battle.match.repeat_of for battle in repeats}) == len(repeats)


def test_a_story_alone_gets_stars(arena, model_folders):
    import storygen

    result = storygen.load(model_folders / "lstm").generate("Once", "Fox", GenerationConfig(max_new_tokens=5, seed=1))
    arena.rate("ann", "ann", result, {"grammar": 5, "sense": None, "prompt": 1}, "nice")
    [record] = read_votes(arena.store.path.parent)
    assert record["stars"] == {"grammar": 5, "prompt": 1}
    assert (record["story"]["seed"], record["story"]["text"]) == (1, result.story)
    assert arena.board.latest().votes == 0
    for stars, message in (({"grammar": 6}, "must be 1 to 5"), ({"style": 3}, "unknown aspect"), ({}, "at least one")):
        with pytest.raises(StorygenError, match=message):
            arena.rate("ann", "ann", result, stars)


def test_the_arena_of_an_app(tmp_path):
    catalogue = tmp_path / "c.toml"
    catalogue.write_text('characters = 500\n[[decoding]]\nstrategy = "greedy"\n[[decoding]]\nstrategy = "sample"\n')
    environment = {
        "STORYGEN_VOTES": str(tmp_path / "votes"),
        "STORYGEN_RATINGS": str(tmp_path / "mount"),
        "STORYGEN_CONTESTANTS": str(catalogue),
        "STORYGEN_SECRET": "s",
    }
    arena = open_arena({"lstm": Idle()}, environment)
    assert [str(each) for each in arena.contestants] == ["lstm, greedy", "lstm, sample (temperature 0.8)"]
    assert arena.rater("ann") == open_arena({"lstm": Idle()}, environment).rater("ann")
    assert arena.status().startswith("0 saved, 0 copied to ")
    alone = open_arena({"lstm": Idle()}, {**environment, "STORYGEN_RATINGS": ""})
    assert alone.status() == "0 saved, on this machine only"
    (tmp_path / "file").write_text("")
    with pytest.raises(StorygenError, match="name another folder in STORYGEN_VOTES"):
        open_arena({"lstm": Idle()}, {"STORYGEN_VOTES": str(tmp_path / "file")})


def filled(suggestions=("a", "b")):
    written = []

    def write(suggestion):
        written.append(suggestion)
        return Match(Prompt(suggestion, source="suggestion"), (Told(None, f"{len(written)}"), Told(None, "x")))

    pool = Pool(suggestions, write, lambda: True)
    while pool.fill():
        pass
    return pool, written


def test_the_pool_has_a_match_for_each_suggestion():
    pool, written = filled("abc")
    assert written == ["a", "b", "c"]
    rng = random.Random(0)
    seen = [pool.take("ann", rng).prompt.title for _ in range(3)]
    assert sorted(seen) == ["a", "b", "c"]
    assert pool.take("ann", rng) is None  # nobody sees a match twice by chance
    assert pool.take("ben", rng) is not None


def test_one_rater_never_runs_out_of_matches():
    """A match was replaced only after three raters, so a single one waited from the thirteenth round on."""
    pool, _ = filled("abcd")
    rng = random.Random(0)
    texts = set()
    for _ in range(40):
        texts.add(frozenset(side.text for side in pool.take("ann", rng).sides))
        while pool.fill():
            pass
    assert len(texts) == 40


def test_sides_are_drawn_anew_for_each_rater():
    """What the left side gains would look like agreement between raters."""
    pool, _ = filled("abcde")
    rng = random.Random(0)
    sides = {(match.prompt.title, match.sides[0].text) for n in range(12) if (match := pool.take(f"rater {n}", rng))}
    assert len(sides) > len({title for title, _ in sides})


def test_a_match_is_shown_to_several_raters_and_then_replaced():
    """So that their agreement can be measured, and the pool does not go stale."""
    pool, written = filled("abcd")
    rng = random.Random(0)
    while len(written) == 4:
        for number in range(SHOWN):
            assert pool.take(f"rater {number} of {rng.random()}", rng)
        pool.fill()
    assert pool.take("another", rng)
    seen = [ready.seen for ready in pool._ready.values()]
    assert max(map(len, seen)) < SHOWN


def test_a_failure_does_not_end_the_filling():
    calls = []

    def write(suggestion):
        calls.append(suggestion)
        raise StorygenError("too many requests wait")

    pool = Pool(("a", "b"), write, lambda: True)
    assert not pool.fill() and not pool.fill() and not pool.fill()
    assert calls == ["a", "b", "a"]  # one that never fits does not keep the others from being written


def test_whatever_goes_wrong_the_pool_is_filled_on(monkeypatch):
    monkeypatch.setattr("storygen.arena.pool.SECONDS_BETWEEN_LOOKS", 0.001)
    calls, went_on = [], threading.Event()

    def write(suggestion):
        calls.append(suggestion)
        if len(calls) == 3:
            went_on.set()
        raise RuntimeError("out of memory")

    pool = Pool(("a",), write, lambda: True)
    pool.start()
    assert went_on.wait(10)
    pool.close()


def test_pairs_are_drawn_by_what_the_votes_say_by_now(arena):
    """Nobody but the Leaderboard tab made the board, so without a visitor there all contestants stayed equal."""
    battle = shown(arena)
    arena.judge("ann", battle.id, "left")
    assert not arena.board.form()
    assert arena.pool.fill()
    assert len(arena.board.form()) == 2


def test_the_pool_fills_only_while_the_models_are_idle(arena, monkeypatch):
    monkeypatch.setattr("storygen.arena.pool.SECONDS_BETWEEN_LOOKS", 0.01)
    arena.writers["lstm"].is_busy = True
    arena.pool.start()
    time.sleep(0.1)
    assert not arena.pool._ready
    arena.writers["lstm"].is_busy = False
    end = time.monotonic() + 10
    while len(arena.pool._ready) < len(SUGGESTIONS):
        assert time.monotonic() < end
        time.sleep(0.01)
    arena.pool.close()
    battle = arena.begin("ann", "ann")
    assert battle.match.prompt.source == "suggestion"
    assert "ann" in arena.pool._ready[battle.match.prompt.title].seen


def test_several_threads_write_different_matches():
    """Two threads on the same suggestion would throw one match away."""
    both, written = threading.Barrier(2, timeout=10), []

    def write(name):
        both.wait()
        written.append(name)
        return name

    pool = Pool(("a", "b"), write, lambda: True)
    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(lambda _: pool.fill(), range(2))) == [True, True]
    assert sorted(written) == ["a", "b"]
    assert not pool.fill()
