"""What the Leaderboard tab shows, without a browser."""

import re
import xml.etree.ElementTree as ET
from datetime import date
from types import SimpleNamespace

import numpy as np
import pytest

from storygen.arena.board import LiveBoard
from storygen.arena.ranking import Standing
from storygen.ui.charts import heat_map, scatter, standings_table, votes_by_day, whiskers
from storygen.ui.leaderboard import board_html, own_html
from tests.arena.records import side, vote
from tests.arena.test_ledger import ledger_of
from tests.arena.test_owner import honest

ROWS = (
    Standing("a", 1600, 1550, 1650, 100, 0.6, 0, 1),
    Standing("<b>", 1400, 1300, 1500, 100, 0.4, 0, 2),
    Standing("new", 1500, 1000, 2000, 3, 0.5, 0, None),
)


def well_formed(text):
    return ET.fromstring(f"<div>{text}</div>")


def test_the_table_tells_who_has_not_enough_votes():
    table = standings_table(ROWS, "Contestant")
    cells = [[cell.text for cell in row] for row in well_formed(table).iter("tr")][1:]
    assert cells[0] == ["1", "a", "1600", "1550 – 1650", "100"]
    assert cells[1][1] == "<b>"  # a model's name is text
    assert cells[2] == ["–", "new", "–", "not enough votes", "3"]
    assert standings_table((), "Contestant") == '<p class="hint">No votes yet.</p>'


def test_groups_have_headings():
    other = Standing("c", 1500, 1400, 1600, 50, 0.5, 1, 1)
    assert "Group 2: met only each other" in standings_table((*ROWS, other), "Contestant")


def test_dots_stand_within_their_intervals_and_in_order():
    figure = well_formed(whiskers(ROWS, "Contestants"))
    bars = [line for line in figure.iter("line") if line.get("class") == "bar"]
    dots = list(figure.iter("circle"))
    assert len(bars) == len(dots) == 2  # who has no rank has no dot
    for bar, dot in zip(bars, dots, strict=True):
        assert float(bar.get("x1")) < float(dot.get("cx")) < float(bar.get("x2"))
    assert float(dots[0].get("cx")) > float(dots[1].get("cx"))


@pytest.mark.parametrize("spread", [0, 1, 3, 4000, 1e6])
def test_any_range_of_ratings_can_be_drawn(spread):
    rows = [Standing("a", 1500 + spread, 1500, 1500 + 2 * spread, 50, 0.5, 0, 1)]
    figure = well_formed(whiskers(rows, "x"))
    assert 1 <= len([line for line in figure.iter("line") if line.get("class") == "grid"]) < 12


def test_other_charts_are_well_formed():
    wins, games = np.array([[np.nan, 0.75], [0.25, np.nan]]), np.array([[0, 4], [4, 0]])
    matrix = heat_map(["<a>", "b"], wins, games, "Wins")
    assert "75%" in matrix and "25%" in matrix
    well_formed(matrix)
    days = well_formed(votes_by_day({date(2026, 11, 1): 3, date(2026, 11, 20): 9}, "Votes"))
    assert len(list(days.iter("rect"))) == 2
    points = [(-1.0, 1500.0, "a"), (-0.5, 1600.0, "<b>")]
    assert len(list(well_formed(scatter(points, "t", "x", "y")).iter("circle"))) == 2
    assert scatter(points[:1], "t", "x", "y") == votes_by_day({}, "t") == heat_map([], wins, games, "t") == ""


def test_the_whole_board_is_html_in_which_text_of_others_is_text(tmp_path):
    evil = "<script>alert(1)</script>"
    records = [vote("left", "ann", side(evil), side("lstm", text="x")) for _ in range(40)]
    ledger = ledger_of(tmp_path, *records, *honest(40, "ann"), vote(rater="ann", prompt={"title": evil, "opening": ""}))
    board = LiveBoard(ledger)
    arena = SimpleNamespace(board=board, status=lambda: "3 saved, on this machine only")
    pages = [*board_html(board.latest(), arena), own_html(arena, "ann")]
    for page in pages:
        well_formed(page)
        assert "<script" not in page
    assert "3 saved, on this machine only" in pages[2]
    assert re.search("of two equal stories the left one wins", pages[2])
    assert "&lt;script&gt;" in pages[0] and "&lt;script&gt;" in pages[3]
    assert "You have rated nothing yet" in own_html(arena, "ben")
