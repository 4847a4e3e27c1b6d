"""Charts as SVG inside HTML: they take the page's colours, light or dark, and are text to a screen reader."""

import html
import math
from collections.abc import Mapping, Sequence
from datetime import date

import numpy as np

from storygen.arena.ranking import Standing
from storygen.ui.texts import number, say

WIDTH, ROW = 640, 26
NAMES = 300
"""Pixels of the names at the left of a chart."""


def standings_table(rows: Sequence[Standing], heading: str) -> str:
    """The leaderboard; contestants that have not met are under headings of their own."""
    if not rows:
        return f'<p class="hint">{say("board.none")}</p>'
    several = len({row.group for row in rows if row.votes}) > 1
    parts, group = [], None
    for row in rows:
        if several and row.group != group and row.votes:
            named = say("board.group", number=row.group + 1)
            parts.append(f'<tr><th colspan="5" scope="rowgroup">{named}</th></tr>')
            group = row.group
        place = row.rank or "–"
        interval = f"{row.low:.0f} – {row.high:.0f}" if row.rank else say("board.few")
        rating = f"{row.rating:.0f}" if row.rank else "–"
        parts.append(
            f"<tr><td>{place}</td><td>{html.escape(row.name)}</td><td>{rating}</td><td>{interval}</td>"
            f"<td>{number(row.votes)}</td></tr>"
        )
    columns = (say("board.rank"), heading, *(say(f"board.{name}") for name in ("rating", "interval", "votes")))
    head = f"<tr>{''.join(f'<th>{html.escape(column)}</th>' for column in columns)}</tr>"
    return f'<table class="board"><thead>{head}</thead><tbody>{"".join(parts)}</tbody></table>'


def whiskers(rows: Sequence[Standing], title: str) -> str:
    """Ratings as dots with their 95 % intervals, a row each, in the order of the table."""
    rows = [row for row in rows if row.rank]
    if not rows:
        return ""
    low, high = min(row.low for row in rows), max(row.high for row in rows)
    step = next(m * 10**k for k in range(1, 300) for m in (1, 2, 5) if (high - low) / (m * 10**k) <= 8)
    low, high = math.floor(low / step) * step, math.ceil(high / step) * step

    def x(rating: float) -> float:
        return NAMES + 10 + (WIDTH - NAMES - 30) * (rating - low) / max(high - low, 1)

    height = ROW * (len(rows) + 1)
    marks = [
        f'<line x1="{x(t):.0f}" x2="{x(t):.0f}" y1="0" y2="{height - ROW + 4}" class="grid"/>'
        f'<text x="{x(t):.0f}" y="{height - 6}" text-anchor="middle">{t:.0f}</text>'
        for t in range(low, high + 1, step)
    ]
    for i, row in enumerate(rows):
        y = ROW * i + ROW / 2
        low_and_high = {"low": f"{row.low:.0f}", "high": f"{row.high:.0f}"}
        tip = say("board.tip", name=row.name, rating=f"{row.rating:.0f}", votes=number(row.votes), **low_and_high)
        marks.append(
            f"<g><title>{html.escape(tip)}</title>"
            f'<text x="{NAMES}" y="{y + 4}" text-anchor="end">{html.escape(_short(row.name))}</text>'
            f'<line x1="{x(row.low):.1f}" x2="{x(row.high):.1f}" y1="{y}" y2="{y}" class="bar"/>'
            f'<circle cx="{x(row.rating):.1f}" cy="{y}" r="5" class="dot"/></g>'
        )
    return _svg(title, height, marks)


def heat_map(names: Sequence[str], wins: np.ndarray, games: np.ndarray, title: str) -> str:
    """Who won against whom: the share that the row's contestant won, coloured, with the number of games."""
    if not len(names):
        return ""
    head = "".join(f'<th scope="col" title="{html.escape(name)}">{i + 1}</th>' for i, name in enumerate(names))
    body = []
    for i, name in enumerate(names):
        cells = []
        for j, other in enumerate(names):
            if not games[i, j]:
                cells.append("<td></td>")
                continue
            share = wins[i, j]
            met = number(games[i, j])
            tip = html.escape(say("board.won", name=name, share=f"{share:.0%}", games=met, other=other))
            colour, much = "--good" if share > 0.5 else "--bad", abs(share - 0.5) * 140
            tint = f"color-mix(in srgb, var({colour}) {much:.0f}%, transparent)"
            cells.append(f'<td style="background:{tint}" title="{tip}">{share:.0%}</td>')
        body.append(f'<tr><th scope="row">{i + 1} · {html.escape(name)}</th>{"".join(cells)}</tr>')
    caption = f"<caption>{html.escape(title)}</caption>"
    head = f"<thead><tr><th></th>{head}</tr></thead>"
    return f'<table class="board matrix">{caption}{head}<tbody>{"".join(body)}</tbody></table>'


def votes_by_day(by_day: Mapping[date, int], title: str) -> str:
    """Votes of each day as bars."""
    if not by_day:
        return ""
    first, last = min(by_day), max(by_day)
    days, most = (last - first).days + 1, max(by_day.values())
    height, left = 120, 40
    width = min(24.0, (WIDTH - left - 10) / days)
    marks = [f'<text x="{left - 6}" y="14" text-anchor="end">{number(most)}</text>']
    for day, count in by_day.items():
        tall = 80 * count / most
        place = left + width * (day - first).days
        marks.append(
            f'<rect x="{place:.1f}" y="{90 - tall:.1f}" width="{max(width - 1, 0.5):.1f}" height="{tall:.1f}" '
            f'class="fill"><title>{say("board.day", day=day.isoformat(), count=number(count))}</title></rect>'
        )
    marks.append(f'<text x="{left}" y="{height - 12}">{first.isoformat()}</text>')
    if days > 1:
        marks.append(f'<text x="{WIDTH - 10}" y="{height - 12}" text-anchor="end">{last.isoformat()}</text>')
    return _svg(title, height, marks)


def scatter(points: Sequence[tuple[float, float, str]], title: str, across: str, up: str) -> str:
    """Named points (x, y, name) with axes of their own range."""
    if len(points) < 2:
        return ""
    height, left, bottom = 260, 60, 220
    xs, ys = [p[0] for p in points], [p[1] for p in points]

    def x(value: float) -> float:
        return left + 20 + (WIDTH - left - 50) * (value - min(xs)) / ((max(xs) - min(xs)) or 1.0)

    def y(value: float) -> float:
        return bottom - 15 - (bottom - 40) * (value - min(ys)) / ((max(ys) - min(ys)) or 1.0)

    marks = [
        f'<text x="{(left + WIDTH) / 2}" y="{height - 4}" text-anchor="middle">{html.escape(across)}</text>',
        f'<text transform="translate(14 {height / 2}) rotate(-90)" text-anchor="middle">{html.escape(up)}</text>',
        f'<line x1="{left}" x2="{WIDTH - 10}" y1="{bottom}" y2="{bottom}" class="grid"/>',
        f'<line x1="{left}" x2="{left}" y1="10" y2="{bottom}" class="grid"/>',
    ]
    for value in (min(xs), max(xs)):
        marks.append(f'<text x="{x(value):.0f}" y="{bottom + 16}" text-anchor="middle">{value:.2f}</text>')
    for value in (min(ys), max(ys)):
        marks.append(f'<text x="{left - 6}" y="{y(value) + 4:.0f}" text-anchor="end">{value:.0f}</text>')
    for across_value, up_value, name in points:
        tip = html.escape(f"{name}: {across_value:.2f}, {up_value:.0f}")
        place = f'cx="{x(across_value):.1f}" cy="{y(up_value):.1f}"'
        marks.append(f'<circle {place} r="6" class="dot"><title>{tip}</title></circle>')
    return _svg(title, height, marks)


def lines(series: Mapping[str, Sequence[tuple[float, float]]], title: str, across: str, up: str) -> str:
    """Named curves of (x, y) points with a legend; no two look alike without colours either."""
    series = {name: points for name, points in series.items() if points}
    if not series:
        return ""
    height, left, bottom = 280, 64, 226
    xs, ys = ([point[axis] for points in series.values() for point in points] for axis in (0, 1))
    right, marks = _ticks(0.0, max(xs)), []
    upwards = _ticks(min(ys), max(ys))

    def x(value: float) -> float:
        return left + (WIDTH - left - 24) * value / right[-1]

    def y(value: float) -> float:
        return bottom - (bottom - 16) * (value - upwards[0]) / (upwards[-1] - upwards[0])

    for tick in upwards:
        marks.append(
            f'<line x1="{left}" x2="{WIDTH - 24}" y1="{y(tick):.1f}" y2="{y(tick):.1f}" class="grid"/>'
            f'<text x="{left - 8}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:g}</text>'
        )
    marks += [f'<text x="{x(tick):.1f}" y="{bottom + 20}" text-anchor="middle">{tick:g}</text>' for tick in right]
    marks.append(f'<text x="{(left + WIDTH) / 2}" y="{height - 6}" text-anchor="middle">{html.escape(across)}</text>')
    legend = []
    for place, (name, points) in enumerate(series.items()):
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in points)
        style = f'class="line line-{place % 4 + 1}"'
        ends = {"first": f"{points[0][1]:.2f}", "from_": f"{points[0][0]:.1f}", "to": f"{points[-1][0]:.1f}"}
        last = f"{points[-1][1]:.2f}"
        tip = say("chart.line", name=name, last=last, across=across, **ends)
        marks.append(f'<polyline points="{path}" {style}><title>{html.escape(tip)}</title></polyline>')
        sample = f'<svg viewBox="0 0 34 8" aria-hidden="true"><line x1="1" x2="33" y1="4" y2="4" {style}/></svg>'
        legend.append(f"<li>{sample}{html.escape(say('chart.at_end', name=name, value=last))}</li>")
    return _svg(f"{title} ({up})", height, marks) + f'<ul class="legend">{"".join(legend)}</ul>'


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers, at most seven, from below `low` to above `high`."""
    span = (high - low) or 1.0
    step = next(m * 10.0**k for k in range(-12, 300) for m in (1, 2, 5) if span / (m * 10.0**k) <= 5)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(step * count, 12) for count in range(first, max(last, first + 1) + 1)]


def _short(text: str, most: int = 46) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _svg(title: str, height: float, marks: Sequence[str]) -> str:
    label = html.escape(title)
    return (
        f'<figure class="chart"><figcaption>{label}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{label}">{"".join(marks)}</svg></figure>'
    )
