import random
from collections import Counter

import pytest

import storygen
from storygen.arena.battle import Arena
from storygen.arena.board import LiveBoard
from storygen.arena.contestants import Catalogue, Contestant
from storygen.arena.export import preferences
from storygen.arena.ledger import REASONS, Ledger
from storygen.arena.match import Side
from storygen.arena.rules import Rules
from storygen.arena.simulated_readers import Readers, Taste, cast_votes
from storygen.arena.votes import VoteReader, VoteStore
from storygen.config import GenerationConfig


def test_the_taste_counts_what_it_says():
    taste = Taste(ends=2.0, repeats=-10.0, title=4.0)
    assert taste.score("The Singing Fish", "It rained.", False) == 0.0
    assert taste.score("The Singing Fish", "It rained.", True) == 2.0
    assert taste.score("The Singing Fish", "A fish swam.", False) == 2.0  # one of the two words
    again = "one two three four one two three four"
    assert taste.score("The Singing Fish", again, False) == pytest.approx(-10 / 5)  # one run of five


def test_readers_vote_by_their_taste_and_the_careless_by_a_coin():
    readers, draw = Readers(Taste(ends=1.0), count=10, careless=0.2), random.Random(0)
    sides = [Side(None, "It rained.", None, 10, reason) for reason in ("end", "length")]
    for reader, expected in ((0, 0.5), (1, 0.5), (2, 0.731), (9, 0.731)):
        said = Counter(readers.verdict(reader, "The Fish", sides, draw) for _ in range(2000))
        assert said["left"] / 2000 == pytest.approx(expected, abs=0.03)
    assert readers.verdict(9, "The Fish", [sides[0]] * 2, draw) == "tie"


def test_votes_go_the_way_of_real_ones(tmp_path):
    """Battles, ledger and export take them; each match has up to three readers, and none has two votes of one."""
    writer = storygen.load("checkpoints/char-lstm")
    strategies = (GenerationConfig(strategy="top_k", top_k=5), GenerationConfig(strategy="sample", temperature=0.7))
    catalogue = Catalogue(tuple(Contestant(writer.name, config) for config in strategies), 300)
    board = LiveBoard(Ledger(VoteReader(tmp_path), Rules(ms_per_word=0)))
    titles = ["The Singing Fish", "The Lost Bell", "A Paper Boat"]
    arena = Arena({writer.name: writer}, catalogue, VoteStore(tmp_path), board, b"secret", suggestions=titles)
    cast_votes(arena, Readers(count=5), 9)
    ledger = board.ledger
    ledger.refresh()
    assert len(ledger) == 9 and len(ledger.raters) == 5
    records = [ledger.record(row) for row in range(9)]
    assert {record["prompt"]["title"] for record in records} <= set(titles)
    assert {record["note"] for record in records} == {"simulated"}
    assert {REASONS[reason] for reason in ledger.reasons()} <= {"counted", "shown again to test the rater"}
    fresh = [r for r in records if "repeat_of" not in r]
    seen = Counter((r["rater"], r["left"]["text"], r["right"]["text"]) for r in fresh)
    assert max(seen.values()) == 1
    decided = [r for r in fresh if r["verdict"] != "tie"]
    assert len(list(preferences(ledger))) == len(decided)
