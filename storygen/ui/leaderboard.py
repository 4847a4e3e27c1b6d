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
from storygen.ui.events import QUIET, warn
from storygen.ui.rater import RaterWidgets, rater_of
from storygen.ui.texts import fixed, number, say

SECONDS_BETWEEN_LOOKS = 30


def build_leaderboard_tab(arena: Arena, rater: RaterWidgets, tab: gr.Tab) -> None:
    """Places the tab's widgets and wires them."""
    gr.Markdown(fixed("board.method"), elem_classes="hint")
    table = gr.HTML(elem_id="board")
    with gr.Accordion(fixed("board.plots"), open=False):
        plots = gr.HTML(elem_id="board-plots")
    facts = gr.HTML(elem_id="board-facts")
    with gr.Accordion(fixed("board.own"), open=False):
        own = gr.HTML(elem_id="own-board")
    with gr.Accordion(fixed("board.export"), open=False):
        gr.Markdown(fixed("board.export.says"), elem_classes="hint")
        prepare = gr.Button(fixed("board.prepare"), elem_id="export")
        files = gr.Files(label=fixed("board.files"), visible=False, elem_id="export-files")
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
        _by_group(contestants, say("board.contestants"))
        + _by_group(models, say("board.models"))
        + _by_group(decodings, say("board.decodings"))
        + heat_map(board.names, board.wins, board.games, say("board.wins"))
        + votes_by_day(board.by_day, say("board.days"))
        + scatter(points, say("board.likelihood"), say("board.likelihood.across"), say("board.likelihood.up"))
    )
    return standings_table(contestants.standings, say("board.contestant")), plots, _facts(board, arena)


def _by_group(ranking: Ranking, title: str) -> str:
    """Whiskers, a chart for each group of those who have met."""
    groups = sorted({row.group for row in ranking.standings if row.rank})
    several = len(groups) > 1
    titles = [f"{title}. {say('board.group', number=group + 1)}" if several else title for group in groups]
    return "".join(
        whiskers([row for row in ranking.standings if row.group == group], title)
        for group, title in zip(groups, titles, strict=True)
    )


def _facts(board: Board, arena: Arena) -> str:
    counted, (left, low, high) = board.contestants.votes, board.contestants.left_side
    facts = [
        say("board.count", counted=number(counted), votes=number(board.votes), raters=number(board.contestants.raters))
        + "".join(f"; {number(count)} {reason}" for reason, count in board.reasons.items()),
        say("board.side", share=f"{left:.1%}", low=f"{low:.1%}", high=f"{high:.1%}"),
        _agreement(say("board.itself"), board.with_itself),
        _agreement(say("board.others"), board.with_others),
        _distance(board),
        say("board.kept", status=arena.status()),
    ]
    if board.damaged:
        facts.append(say("board.damaged", count=number(board.damaged)))
    return '<ul class="hint">' + "".join(f"<li>{html.escape(fact)}</li>" for fact in facts if fact) + "</ul>"


def _agreement(what: str, share: Share) -> str:
    return say("board.share", what=what, share=f"{share.value:.0%}", cases=number(share.of)) if share.of else ""


def _distance(board: Board) -> str:
    """How far the first two are from being told apart."""
    pair = leaders(board.contestants)
    if not pair or pair[0].low > pair[1].high or not board.to_separate:
        return ""
    return say("board.separate", count=number(board.to_separate))


def own_html(arena: Arena, rater: str) -> str:
    """A rater's own votes, newest first, and ranking."""
    ledger = arena.board.ledger
    try:
        votes, stars = own_votes(ledger, rater), list(ledger.stars(rater))
    except StorygenError as error:
        return f'<p class="hint">{html.escape(str(error))}</p>'
    if not votes:
        return _own_stars(stars) or f'<p class="hint">{say("board.own.none")}</p>'
    missing = ENOUGH_OF_ONES_OWN - len(votes)
    ranking = own_ranking(ledger, rater)
    head = (
        f'<p class="hint">{say("rated.more", rated=len(votes), missing=missing)}</p>'
        if missing > 0 or ranking is None
        else standings_table(ranking.standings, say("board.own.ranking"))
    )
    rows = "".join(
        f"<tr><td>{html.escape(vote.prompt)}</td><td>{html.escape(vote.left)}</td>"
        f"<td>{html.escape(vote.right)}</td><td>{say(f'verdict.{vote.verdict}')}</td></tr>"
        for vote in votes[:50]
    )
    names = ("board.own.prompt", "compare.left", "compare.right", "board.own.verdict")
    columns = f"<tr>{''.join(f'<th>{say(name)}</th>' for name in names)}</tr>"
    return f'{head}<table class="board"><thead>{columns}</thead><tbody>{rows}</tbody></table>{_own_stars(stars)}'


def _own_stars(records: Sequence[dict[str, Any]]) -> str:
    """The single stories that a rater gave stars, newest first."""
    rows = ""
    for record in records[:-51:-1]:
        given = ", ".join(f"{say(f'tag.{tag}').lower()} {count}" for tag, count in record["stars"].items())
        cells = (record["prompt"]["title"] or record["story"]["text"][:60], record["story"]["model"], given)
        rows += f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"
    columns = "".join(f"<th>{say(f'board.stars.{name}')}</th>" for name in ("story", "model", "given"))
    return f'<table class="board"><thead><tr>{columns}</tr></thead><tbody>{rows}</tbody></table>' if rows else ""
