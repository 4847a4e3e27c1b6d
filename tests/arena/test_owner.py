"""What an owner does with the votes: the board, the audit, the export and their commands."""

import json
import random
import shutil
import threading

import pyarrow.parquet as pq
import pytest

from storygen.arena.__main__ import main
from storygen.arena.agreement import Share, mutual_agreement, opinions, self_agreement
from storygen.arena.audit import Suspect, audit, repeated_notes, write_rules
from storygen.arena.board import LiveBoard, make_board
from storygen.arena.export import LatestExport, export_votes, preferences
from storygen.arena.ledger import Entrant
from storygen.arena.personal import own_ranking, own_votes
from storygen.arena.rules import Rules, load_rules
from storygen.errors import StorygenError
from tests.arena.records import side, vote
from tests.arena.test_ledger import ledger_of, write

A, B = side(text="Ann slept. The end."), side("lstm", text="Bob ran. The end.")
CUT = {**B, "finish_reason": "length"}


def honest(count, rater, better=0.7, seed=0, **changes):
    """Votes of which a share is for the transformer, sides by coin flip."""
    rng = random.Random(f"{rater} {seed}")
    votes = []
    for number in range(count):
        left, right = (A, B) if rng.random() < 0.5 else (B, A)
        good = rng.random() < better
        votes.append(
            vote("left" if (left is A) == good else "right", rater, left, right, note=f"n {number} {rater}", **changes)
        )
    return votes


def test_agreement_is_about_the_texts_and_not_the_sides(tmp_path):
    """A rater who says left both times, when sides were swapped, contradicts himself."""
    ledger = ledger_of(
        tmp_path,
        vote("left", "ann", A, B),
        vote("right", "ann", B, A, repeat_of="x"),  # the same text again
        vote("left", "ben", A, B),
        vote("left", "ben", B, A, repeat_of="y"),  # the other text
        vote("left", "cem", side(text="else"), B),
    )
    # With oneself one of two; ann A A, ben A B: of the four pairs of their votes two agree.
    said = opinions(ledger, ledger.reasons())
    assert (self_agreement(said), mutual_agreement(said)) == (Share(1, 2), Share(2, 4))


def test_the_board_is_made_again_only_when_votes_have_come(tmp_path):
    board = LiveBoard(ledger_of(tmp_path, *honest(40, "ann")))
    assert board.form() == {}
    first = board.latest()
    assert board.latest() is first
    write(tmp_path, *honest(40, "ben"))
    assert board.latest().votes == 80
    [better, worse] = board.latest().models.standings
    assert (better.name, worse.name) == ("transformer", "lstm")
    votes, strength = board.form()[Entrant("transformer", "r1", "top p (temperature 0.8, top p 0.95)")]
    assert votes == 80 and strength > 0


def test_an_empty_board(tmp_path):
    board = make_board(ledger_of(tmp_path))
    assert (board.votes, board.contestants.standings, board.by_day, board.to_separate) == (0, (), {}, None)


def test_the_board_tells_how_far_the_first_two_are_from_each_other(tmp_path, monkeypatch):
    """It is a simulation of a second: made at each look at the page, it took the engine's core from the stories."""
    asked = []
    monkeypatch.setattr("storygen.arena.board.votes_to_separate", lambda *given: asked.append(given[1:]) or 70)
    board = LiveBoard(ledger_of(tmp_path, *honest(40, "ann")))
    assert [board.latest().to_separate, board.latest().to_separate] == [70, 70]
    pair = [board.latest().names.index(row.name) for row in board.latest().contestants.standings]
    assert asked == [tuple(pair)]


def test_the_audit_names_the_odd_and_not_the_honest(tmp_path):
    copied = "this is the best story ever"
    ledger = ledger_of(
        tmp_path,
        *(v for n in range(8) for v in honest(40, f"honest {n}")),
        *(vote("left", "lefty", *((A, B) if n % 2 else (B, A))) for n in range(40)),
        *honest(40, "hasty", dwell_ms=10),
        *(vote("tie", "shrug", A, B) for _ in range(40)),
        *honest(60, "contrary", better=0.1),
        *({**v, "note": copied} for n in range(3) for v in honest(4, f"farm {n}")),
        *honest(9, "new", better=0.0, dwell_ms=1),
    )
    found = {suspect.rater: "; ".join(suspect.oddities) for suspect in audit(ledger)}
    assert "said left every time" in found["lefty"] and "100% of the time" in found["lefty"]
    assert "faster than anybody reads" in found["hasty"]
    assert "said tie every time" in found["shrug"]
    assert "less than a coin" in found["contrary"]
    assert found.keys() == {"lefty", "hasty", "shrug", "contrary"}  # the farm has too few votes each to be named
    write(tmp_path, *({**v, "note": copied} for v in honest(10, "farm 0", seed=1)))
    ledger.refresh()
    assert [(note.text, note.times, len(note.raters)) for note in repeated_notes(ledger)] == [(copied, 22, 3)]
    [farm] = [suspect for suspect in audit(ledger) if suspect.rater == "farm 0"]
    assert f"wrote the note {copied!r} 22 times" in farm.oddities


def test_a_rater_of_any_name_can_be_excluded(tmp_path):
    """JSON writes a fox as a pair of escapes, which TOML refuses."""
    rules = tmp_path / "rules.toml"
    suspects = [Suspect("🦊\x7f\x01", 10, ("said 'ünd' every time",)), Suspect('a"\\', 10, ("x",))]
    assert write_rules(rules, suspects, "2026-01-01") == 2
    assert load_rules(rules).excluded == ("🦊\x7f\x01", 'a"\\')
    assert write_rules(rules, suspects, "2026-01-02") == 0


def test_repeats_by_those_who_do_not_count_tell_of_no_agreement(tmp_path):
    fast = vote("left", "ben", A, B, dwell_ms=1), vote("left", "ben", B, A, repeat_of="y", dwell_ms=1)
    bot = vote("left", "bot", A, B), vote("left", "bot", B, A, repeat_of="z")
    ledger = ledger_of(tmp_path, *fast, *bot, rules=Rules(excluded=("bot",)))
    assert self_agreement(opinions(ledger, ledger.reasons())).of == 0


def test_the_board_is_of_one_moment_while_votes_come_in(tmp_path):
    """Columns of different lengths, read while another thread added votes, broke the board until the next vote."""
    ledger = ledger_of(tmp_path, *honest(40, "ann"))
    board, stop = LiveBoard(ledger), threading.Event()

    def keep_voting():
        while not stop.is_set():
            write(tmp_path, vote("left", "ben", A, B))
            ledger.refresh()

    voting = threading.Thread(target=keep_voting)
    voting.start()
    try:
        seen = [board.latest().votes for _ in range(15)]
    finally:
        stop.set()
        voting.join()
    assert seen == sorted(seen) and seen[-1] > 40


def test_a_board_that_failed_is_made_again(tmp_path, monkeypatch):
    board = LiveBoard(ledger_of(tmp_path, *honest(40, "ann")))
    with monkeypatch.context() as now, pytest.raises(MemoryError):
        now.setattr("storygen.arena.board.make_board", lambda ledger: (_ for _ in ()).throw(MemoryError))
        board.latest()
    assert board.latest().votes == 40


def stars_for(rater, **stars):
    story = {name: value for name, value in side().items() if name in ("model", "revision", "config", "seed", "text")}
    given = {"stars": stars, "story": story, "prompt": {"title": "The Fox", "opening": ""}, "rater": rater, "note": ""}
    return {"schema": 1, "id": f"stars of {rater}", "ts": "2026-11-25T10:00", "app_version": "test", **given}


def test_stars_go_into_the_export_and_to_their_rater(tmp_path):
    """They were stored and never seen again."""
    folder = tmp_path / "votes"
    folder.mkdir()
    ledger = ledger_of(folder, vote(), stars_for("ann", grammar=5, prompt=1), stars_for("ben", grammar=9))
    assert ledger.refused.total() == 1
    assert [record["stars"] for record in ledger.stars("ann")] == [{"grammar": 5, "prompt": 1}]
    assert list(ledger.stars("ben")) == list(ledger.stars("nobody")) == []
    assert export_votes(ledger, tmp_path / "out")["stars"] == 1
    [row] = pq.read_table(tmp_path / "out" / "stars.parquet").to_pylist()
    assert (row["rater"], json.loads(row["stars"])) == ("ann", {"grammar": 5, "prompt": 1})
    assert "data_files: stars.parquet" in (tmp_path / "out" / "README.md").read_text()


def test_files_are_made_anew_only_when_they_are_old_and_votes_have_come(tmp_path, monkeypatch):
    """Each click wrote all votes into another folder, until the disk was full."""
    ledger = ledger_of(tmp_path, vote())
    latest = LatestExport(ledger)
    files = latest.files()
    before = [file.stat().st_mtime_ns for file in files]
    write(tmp_path, vote())
    ledger.refresh()
    assert latest.files() == files and [file.stat().st_mtime_ns for file in files] == before
    monkeypatch.setattr("storygen.arena.export.SECONDS_FRESH", 0.0)
    assert latest.files() == files
    assert len((files[0].parent / "votes.jsonl").read_text().splitlines()) == 2
    after = [file.stat().st_mtime_ns for file in files]
    assert latest.files() == files and [file.stat().st_mtime_ns for file in files] == after


def test_a_folder_that_is_gone_is_one_clear_line(tmp_path):
    folder = tmp_path / "mount"
    folder.mkdir()
    ledger = ledger_of(folder, vote())
    shutil.rmtree(folder)
    with pytest.raises(StorygenError, match="can't be read any more"):
        own_votes(ledger, "ann")


def test_excluded_by_a_rule_file_that_the_audit_wrote(tmp_path, capsys):
    folder, rules = tmp_path / "votes", tmp_path / "rules.toml"
    folder.mkdir()
    write(folder, *honest(40, "ann"), *(vote("left", "lefty", A, B) for _ in range(40)))
    rules.write_text("ms_per_word = 5\n")
    main(["audit", str(folder), "--write", str(rules)])
    main(["audit", str(folder), "--rules", str(rules), "--write", str(rules)])
    assert load_rules(rules).excluded == ("lefty",) and load_rules(rules).ms_per_word == 5
    assert "0 of them added" in capsys.readouterr().out
    main(["rank", str(folder), "--rules", str(rules)])
    printed = capsys.readouterr().out
    assert "40 of 80 votes count, by 1 raters" in printed
    assert "40 not counted: rater excluded" in printed
    assert "transformer, top p" in printed


def test_the_export_holds_all_votes_and_the_pairs_that_follow(tmp_path):
    folder = tmp_path / "votes"
    folder.mkdir()
    records = [
        vote("left", left=A, right=CUT, tags=["creative"]),
        vote("right", left=A, right=CUT),
        vote("tie", left=A, right=CUT),
        vote("left", left=A, right=CUT, dwell_ms=1),
    ]
    ledger = ledger_of(folder, *records)
    assert export_votes(ledger, tmp_path / "out") == {"votes": 4, "preferences": 2, "stars": 0}
    lines = [json.loads(line) for line in (tmp_path / "out" / "votes.jsonl").read_text().splitlines()]
    assert [line["id"] for line in lines] == [record["id"] for record in records]
    assert [line["not_counted"] for line in lines] == [None, None, None, "faster than reading"]
    pairs = pq.read_table(tmp_path / "out" / "preferences.parquet").to_pylist()
    assert [(pair["prompt"], pair["chosen"], pair["rejected"]) for pair in pairs] == [
        ("The Fox", A["text"], CUT["text"]),
        ("The Fox", CUT["text"], A["text"]),
    ]
    assert [(pair["chosen_ended"], pair["rejected_ended"]) for pair in pairs] == [(True, False), (False, True)]
    assert all(pair["reliability"] == pytest.approx(0.5) for pair in pairs)  # ann contradicts herself
    assert pairs == list(preferences(ledger))
    votes = pq.read_table(tmp_path / "out" / "votes.parquet").to_pylist()
    assert json.loads(votes[0]["left"]) == json.loads(json.dumps(A)) and json.loads(votes[0]["tags"]) == ["creative"]
    card = (tmp_path / "out" / "README.md").read_text()
    assert "4 verdicts by 1 raters" in card and "license: cc0-1.0" in card


def test_more_votes_than_a_batch_are_all_exported(tmp_path, monkeypatch):
    """The first vote of each later batch once fell between two batches."""
    monkeypatch.setattr("storygen.arena.export.BATCH", 3)
    (tmp_path / "votes").mkdir()
    ledger = ledger_of(tmp_path / "votes", *(vote() for _ in range(10)))
    assert export_votes(ledger, tmp_path / "out")["votes"] == 10
    assert pq.read_table(tmp_path / "out" / "votes.parquet").num_rows == 10


def test_ones_own_ratings(tmp_path):
    taken_back = vote("left", "ann", A, B)
    ledger = ledger_of(
        tmp_path, *honest(20, "ann", better=1.0), *honest(5, "ben"), taken_back,
        {"id": "r", "ts": "2026", "retracts": taken_back["id"]},
    )  # fmt: skip
    assert len(own_votes(ledger, "ann")) == 20
    assert own_votes(ledger, "ann")[0].prompt == "The Fox"
    assert own_ranking(ledger, "ann").standings[0].name.startswith("transformer")
    assert own_ranking(ledger, "ben") is None
    assert own_votes(ledger, "nobody") == []


def test_commands_that_are_refused(tmp_path):
    with pytest.raises(StorygenError, match="is no folder of votes"):
        main(["rank", str(tmp_path / "absent")])
    with pytest.raises(StorygenError, match="no vote in"):
        main(["rank", str(tmp_path)])
    write(tmp_path, vote())
    with pytest.raises(StorygenError, match="must not hold, be or lie in"):
        main(["export", str(tmp_path), "--out", str(tmp_path)])
    with pytest.raises(StorygenError, match="--raters is 0"):
        main(["simulate", "--raters", "0"])


@pytest.mark.parametrize("command", [[], ["rank"], ["audit"], ["export"], ["simulate"]])
def test_help_can_be_printed(command, capsys):
    """A percent sign in a help text once ended in a traceback."""
    with pytest.raises(SystemExit) as end:
        main([*command, "--help"])
    assert end.value.code == 0 and "usage: " in capsys.readouterr().out


def test_commands(tmp_path, capsys):
    folder = tmp_path / "votes"
    folder.mkdir()
    write(folder, *honest(60, "ann"), *honest(60, "ben"))
    main(["export", str(folder), "--out", str(tmp_path / "out")])
    assert "120 votes, 120 preferences" in capsys.readouterr().out
    main(["rank", str(folder), "--by-length"])
    assert "one twice as long wins" in capsys.readouterr().out
    main(["simulate", "--trials", "2", "--votes", "200"])
    assert "of 24 intervals hold the true rating" in capsys.readouterr().out
    main(["simulate", "--out", str(tmp_path / "made up"), "--votes", "50"])
    main(["rank", str(tmp_path / "made up")])
    assert "50 of 50 votes count" in capsys.readouterr().out
