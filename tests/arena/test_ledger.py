import json

import pytest

from storygen.arena.export import export_votes
from storygen.arena.ledger import REASONS, Ledger
from storygen.arena.rules import Rules, load_rules
from storygen.arena.votes import VoteReader
from storygen.errors import StorygenError
from tests.arena.records import side, vote


def write(folder, *records, name="votes.jsonl"):
    with (folder / name).open("a") as file:
        file.writelines(json.dumps(record) + "\n" for record in records)


def ledger_of(folder, *records, rules=None):
    write(folder, *records)
    ledger = Ledger(VoteReader(folder), rules)
    ledger.refresh()
    return ledger


def test_contestants_are_model_revision_and_decoding(tmp_path):
    """Seed and length say nothing about who wrote; a retrained model is somebody else."""
    ledger = ledger_of(
        tmp_path,
        vote(left=side(max_new_tokens=50), right=side(max_new_tokens=90, full_sentence=True, strategy="greedy")),
        vote(left=side("lstm"), right=side("lstm", revision="r2")),
    )
    assert ledger.names() == [
        "transformer, top p (temperature 0.8, top p 0.95)",
        "transformer, greedy",
        "lstm@r1, top p (temperature 0.8, top p 0.95)",
        "lstm@r2, top p (temperature 0.8, top p 0.95)",
    ]


def test_outcomes(tmp_path):
    ledger = ledger_of(tmp_path, *(vote(verdict) for verdict in ("left", "right", "tie", "both_bad", "skip")))
    ballots = ledger.ballots()
    assert ballots.outcome.tolist() == [1, 0, 0.5, 0.5]
    assert (ballots.left.tolist(), ballots.right.tolist()) == ([0] * 4, [1] * 4)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, "counted"),
        ({"verdict": "skip"}, "skipped"),
        ({"mode": "named"}, "contestants were named"),
        ({"mode": "strategies"}, "counted"),
        ({"repeat_of": "battle-0"}, "shown again to test the rater"),
        ({"dwell_ms": 100}, "faster than reading"),
        ({"rater": "bot"}, "rater excluded"),
        ({"right": side()}, "a contestant against itself"),
    ],
)
def test_rules_are_applied_when_ranking_and_drop_nothing(tmp_path, changes, reason):
    ledger = ledger_of(tmp_path, vote(**changes), rules=Rules(excluded=("bot",)))
    assert [REASONS[number] for number in ledger.reasons()] == [reason]
    assert len(ledger) == 1
    assert len(ledger.ballots()) == (reason == "counted")


def test_a_retraction_takes_its_vote_out_wherever_it_stands(tmp_path):
    """Shards are read in the order of their names: the retraction may come before the vote."""
    first, second = vote(), vote()
    write(tmp_path, {"schema": 1, "id": "r", "ts": "x", "retracts": second["id"]}, name="a.jsonl")
    ledger = ledger_of(tmp_path, first, second)
    assert [REASONS[number] for number in ledger.reasons()] == ["counted", "taken back"]


def test_a_second_verdict_on_a_battle_does_not_count(tmp_path):
    """The server takes one only; a forged line in a shard must not add another."""
    ledger = ledger_of(tmp_path, vote(battle_id="b"), vote("right", battle_id="b"))
    assert [REASONS[number] for number in ledger.reasons()] == ["counted", "battle had a verdict already"]


def test_new_votes_are_added_without_reading_the_old_ones_again(tmp_path):
    ledger = ledger_of(tmp_path, vote(), vote())
    read = []
    ledger._add, add = (lambda record, place: (read.append(record["id"]), add(record, place))), ledger._add
    fresh = vote("right")
    write(tmp_path, fresh)
    assert ledger.refresh() == 1
    assert read == [fresh["id"]]
    assert ledger.ballots().outcome.tolist() == [1, 1, 0]
    assert ledger.refresh() == 0


@pytest.mark.parametrize(
    "damage",
    [
        {"verdict": "best"},
        {"left": None},
        {"left": {**side(), "config": {"strategy": "magic"}}},
        {"left": {**side(), "config": {**side()["config"], "no_repeat_ngram": False}}},  # not the 0 seen before
        {"left": {**side(), "logprob": "much"}},
        {"right": {**side(), "text": 5}},
        {"dwell_ms": "long"},
        {"ts": "yesterday"},
        {"rater": ["ann"]},
        {"note": 7},
        {"mode": "loud"},
        {"battle_id": None},
        {"prompt": None},
        {"prompt": {"title": "x"}},
        {"app_version": 5},
        {"schema": "1"},
        {"note": "\ud800"},
        {"tags": "grammar"},
        {"dwell_ms": 3.5},
        {"left": {**side(), "logprob": float("nan")}},
        {"right": {**side("newcomer"), "bytes": -1}},
        {"right": side("newcomer"), "dwell_ms": None},
    ],
)
def test_records_that_are_no_votes_are_refused_and_counted(tmp_path, damage):
    """One odd record shifted the columns against each other, put a contestant on the board, or broke the export."""
    ledger = ledger_of(tmp_path, vote(), {**vote(), **damage}, vote("right"))
    assert ledger.refused.total() + ledger.reader.damaged.total() == 1
    assert ledger.ballots().outcome.tolist() == [1, 0]
    assert [entrant.model for entrant in ledger.entrants] == ["transformer", "lstm"]
    assert all(value < 0 for value in ledger.likelihood())
    assert export_votes(ledger, tmp_path / "out")["votes"] == 2


def test_a_record_can_be_read_again(tmp_path):
    votes = [vote(note="naïve 🦊"), vote()]
    ledger = ledger_of(tmp_path, *votes)
    assert [ledger.record(0), ledger.record(1)] == json.loads(json.dumps(votes))


def test_likelihood_is_per_byte(tmp_path):
    left = {**side(), "logprob": -30.0, "bytes": 10}
    ledger = ledger_of(tmp_path, vote(left=left), vote(left={**left, "logprob": -10.0, "bytes": 10}))
    assert ledger.likelihood()[0] == pytest.approx(-2.0)


def test_a_rule_file(tmp_path):
    path = tmp_path / "rules.toml"
    path.write_text('ms_per_word = 5\n[[exclude]]\nrater = "abc"\nreason = "a bot"\n')
    assert load_rules(path) == Rules(ms_per_word=5.0, excluded=("abc",))
    assert load_rules(None) == Rules()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ms_per_words = 5", "did you mean 'ms_per_word'"),
        ("ms_per_word = -1", "must be a number from 0"),
        ('[[exclude]]\nrater = "abc"', "needs a rater and a reason"),
        ("= 5", "is not TOML"),
        (None, "cannot be read"),
    ],
)
def test_bad_rule_files_are_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "rules.toml"
    if text is not None:
        path.write_text(text)
    with pytest.raises(StorygenError, match=message):
        load_rules(path)
