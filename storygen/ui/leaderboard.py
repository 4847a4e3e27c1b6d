"""The Leaderboard tab: who writes better, how sure that is, what the raters are like, and the votes to take away."""

import html
from collections.abc import Sequence
from typing import Any

import gradio as gr

from storygen.arena.agreement import Share
from storygen.arena.battle import Arena
from storygen.arena.board import Board, leaders
from storygen.arena.export import LatestExport
from storygen.arena.personal import ENOUGH_OF_ONES_OWN, own_ranking, own_votes
from storygen.arena.ranking import Ranking
from storygen.errors import StorygenError
from storygen.ui.charts import heat_map, scatter, standings_table, votes_by_day, whiskers
from storygen.ui.compare import TAG_LABELS
from storygen.ui.events import QUIET, warn
from storygen.ui.rater import RaterWidgets, rater_of

SECONDS_BETWEEN_LOOKS = 30
METHOD = (
    "Ratings by the Bradley-Terry model: 400 points are odds of ten to one, the average is 1500. Intervals come from a "
    "bootstrap over raters; the order is that of the lower bounds, so nobody leads by luck. Only blind votes count "
    "(those on two strategies of one model too), and none that came faster than anybody reads."
)


def build_leaderboard_tab(arena: Arena, rater: RaterWidgets, tab: gr.Tab) -> None:
    """Places the tab's widgets and wires them."""
    gr.Markdown(METHOD, elem_classes="hint")
    table = gr.HTML(elem_id="board")
    with gr.Accordion("Plots, win matrix, votes over time", open=False):
        plots = gr.HTML(elem_id="board-plots")
    facts = gr.HTML(elem_id="board-facts")
    with gr.Accordion("My ratings", open=False):
        own = gr.HTML(elem_id="own-board")
    with gr.Accordion("Take the votes away", open=False):
        gr.Markdown(
            "All votes with both stories, preference pairs for training, and stars, as JSON lines and Parquet, with a "
            "card. They are made anew every ten minutes at most.",
            elem_classes="hint",
        )
        prepare = gr.Button("Prepare the files", elem_id="export")
        files = gr.Files(label="Files", visible=False, elem_id="export-files")
    latest = LatestExport(arena.board.ledger)
    timer = gr.Timer(SECONDS_BETWEEN_LOOKS, active=False)

    def show(kept: str, profile: gr.OAuthProfile | None, request: gr.Request) -> tuple[str, str, str, str]:
        board = arena.board.latest()
        return (*board_html(board, arena), own_html(arena, rater_of(arena, kept, profile, request)))

    def export() -> Any:
        try:
            return gr.update(value=[str(path) for path in latest.files()], visible=True)
        except StorygenError as error:
            warn(error)
            return gr.skip()

    outputs = [table, plots, facts, own]
    tab.select(show, rater.browser, outputs, **QUIET)
    tab.select(lambda: gr.Timer(active=True), None, timer, queue=False, **QUIET)
    timer.tick(show, rater.browser, outputs, **QUIET)
    prepare.click(export, None, files, **QUIET)


def board_html(board: Board, arena: Arena) -> tuple[str, str, str]:
    """Table, plots and facts."""
    contestants, models, decodings = board.contestants, board.models, board.decodings
    # Ratings of groups that have not met do not compare, so only the largest is in a plot with axes.
    rating = {row.name: row.rating for row in contestants.standings if row.rank and row.group == 0}
    points = [(board.likelihood[name], rating[name], name) for name in board.names if name in rating]
    plots = (
        _by_group(contestants, "Contestants")
        + _by_group(models, "Models, ways of decoding held equal")
        + _by_group(decodings, "Ways of decoding, models held equal")
        + heat_map(board.names, board.wins, board.games, "Share that the row's contestant won against the column's")
        + votes_by_day(board.by_day, "Votes by day")
        + scatter(
            points, "Does more likely mean better liked?", "mean log-probability per byte of its stories", "rating"
        )
    )
    return standings_table(contestants.standings, "Contestant"), plots, _facts(board, arena)


def _by_group(ranking: Ranking, title: str) -> str:
    """Whiskers, a chart for each group of those who have met."""
    groups = sorted({row.group for row in ranking.standings if row.rank})
    titles = [title if len(groups) == 1 else f"{title}, group {group + 1}" for group in groups]
    return "".join(
        whiskers([row for row in ranking.standings if row.group == group], title)
        for group, title in zip(groups, titles, strict=True)
    )


def _facts(board: Board, arena: Arena) -> str:
    left, low, high = board.contestants.left_side
    facts = [
        f"{board.contestants.votes:,} of {board.votes:,} votes count, by {board.contestants.raters:,} raters"
        + "".join(f"; {count:,} {reason}" for reason, count in board.reasons.items()),
        f"of two equal stories the left one wins {left:.1%} ({low:.1%} to {high:.1%})",
        _agreement("who saw two stories again, sides changed, said the same", board.with_itself),
        _agreement("two raters of the same stories said the same", board.with_others),
        _distance(board),
        f"votes: {arena.status()}",
    ]
    if board.damaged:
        facts.append(f"{board.damaged:,} lines in the files of votes could not be read")
    return '<ul class="hint">' + "".join(f"<li>{html.escape(fact)}</li>" for fact in facts if fact) + "</ul>"


def _agreement(what: str, share: Share) -> str:
    return f"{what}: {share.value:.0%} of {share.of:,}" if share.of else ""


def _distance(board: Board) -> str:
    """How far the first two are from being told apart."""
    pair = leaders(board.contestants)
    if not pair or pair[0].low > pair[1].high or not board.to_separate:
        return ""
    return f"about {board.to_separate:,} more votes on the first two would tell them apart"


def own_html(arena: Arena, rater: str) -> str:
    """A rater's own votes, newest first, and ranking."""
    ledger = arena.board.ledger
    try:
        votes, stars = own_votes(ledger, rater), list(ledger.stars(rater))
    except StorygenError as error:
        return f'<p class="hint">{html.escape(str(error))}</p>'
    if not votes:
        return _own_stars(stars) or '<p class="hint">You have rated nothing yet.</p>'
    missing = ENOUGH_OF_ONES_OWN - len(votes)
    ranking = own_ranking(ledger, rater)
    head = (
        f'<p class="hint">{len(votes)} rated; {missing} more unlock your own ranking.</p>'
        if missing > 0 or ranking is None
        else standings_table(ranking.standings, "My ranking")
    )
    rows = "".join(
        f"<tr><td>{html.escape(vote.prompt)}</td><td>{html.escape(vote.left)}</td>"
        f"<td>{html.escape(vote.right)}</td><td>{html.escape(vote.verdict)}</td></tr>"
        for vote in votes[:50]
    )
    columns = "<tr><th>Prompt</th><th>Left</th><th>Right</th><th>You said</th></tr>"
    return f'{head}<table class="board"><thead>{columns}</thead><tbody>{rows}</tbody></table>{_own_stars(stars)}'


def _own_stars(records: Sequence[dict[str, Any]]) -> str:
    """The single stories that a rater gave stars, newest first."""
    rows = "".join(
        f"<tr><td>{html.escape(record['prompt']['title'] or record['story']['text'][:60])}</td>"
        f"<td>{html.escape(record['story']['model'])}</td>"
        f"<td>{html.escape(', '.join(f'{TAG_LABELS[tag].lower()} {count}' for tag, count in record['stars'].items()))}"
        "</td></tr>"
        for record in records[:-51:-1]
    )
    columns = "<tr><th>Story</th><th>Model</th><th>Stars</th></tr>"
    return f'<table class="board"><thead>{columns}</thead><tbody>{rows}</tbody></table>' if rows else ""
