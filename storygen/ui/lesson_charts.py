"""Pictures of the How-it-works tab as HTML: text that a screen reader reads, in the page's colours, light or dark."""

import html
from collections.abc import Mapping, Sequence

from storygen.lesson.next_word import NextWord
from storygen.lesson.tokens import Cut
from storygen.ui.texts import number, say

HUES = 6
LETTER, LINE = 0.024, 0.045
"""Width of a letter and height of a line, as shares of the map on a phone."""
SHOWN_LOST = 12
"""Lost characters that are named; of more the number is told."""


def heading(place: int, step: str, language: str, formula: str = "", formula_says: str = "") -> str:
    """A numbered step: its title, what happens in it, and its formula (HTML) with what that means."""
    title, text = (html.escape(say(key, language)) for key in (step, f"{step}.says"))
    formula_says = html.escape(say(formula_says, language)) if formula else ""
    formula = f'<p class="formula"><span>{formula}</span> {formula_says}</p>' if formula else ""
    return f'<h2 class="step"><span>{place}</span>{title}</h2><p class="says">{text}</p>{formula}'


def token_cards(cuts: Sequence[Cut]) -> str:
    """A card for each tokenizer: the tokens as chips, figures, and what was lost."""
    return f'<div class="cuts">{"".join(_card(cut) for cut in cuts)}</div>'


def _card(cut: Cut) -> str:
    name, method = say(f"how.kind.{cut.kind}"), say(f"how.kind.{cut.kind}.says")
    used = say("how.kind.used_by", models=", ".join(cut.models)) if cut.models else say("how.kind.for_comparison")
    chips = "".join(
        f'<li style="--hue: var(--hue-{place % HUES + 1})"><b>{html.escape(label)}</b><small>{token}</small></li>'
        for place, (label, token) in enumerate(zip(cut.labels, cut.ids, strict=True))
    )
    figures = say("how.kind.count", count=len(cut.ids), size=cut.size)
    if cut.ids:
        figures += say("how.kind.rate", rate=f"{cut.bytes_per_token:.1f}")
    size, label = say("how.kind.size", count=number(cut.vocab_size)), say("how.kind.tokens_of", name=name)
    return (
        f"<section><h3>{name} <small>{size}, {html.escape(used)}</small></h3>"
        f'<p class="hint">{method}</p><ul class="chips" aria-label="{label}">{chips}</ul>'
        f"<p>{figures}. {_loss(cut)}</p></section>"
    )


def _loss(cut: Cut) -> str:
    back = say("how.back", text=html.escape(cut.read_back))
    if not cut.lost:
        return say("how.lossless") if cut.is_same else back
    named = " ".join(html.escape(repr(character)[1:-1]) for character in list(cut.lost)[:SHOWN_LOST])
    more = len(cut.lost) - SHOWN_LOST
    named += say("how.lost.more", count=more) if more > 0 else ""
    return f"{say('how.lost', named=named)} {back}"


def neighbour_bars(word: str, rows: Sequence[tuple[str, float]], note: str) -> str:
    """The nearest tokens with their cosines as bars."""
    body = "".join(
        f'<tr><th scope="row">{html.escape(label)}</th><td class="meter">{_bar("is", max(cosine, 0.0))}</td>'
        f"<td>{cosine:.2f}</td></tr>"
        for label, cosine in rows
    )
    note = f'<p class="hint">{html.escape(note)}</p>' if note else ""
    caption = f"<caption>{say('how.nearest', word=html.escape(word))}</caption>"
    return f'{note}<table class="bars">{caption}<tbody>{body}</tbody></table>'


def word_map(places: Mapping[str, Mapping[str, tuple[float, float]]], says: str) -> str:
    """Families of words at their places (0..1, 0..1), a colour for each family."""
    places = {say(f"family.{name}"): family for name, family in places.items()}
    rows = apart([(word, *place) for family in places.values() for word, place in family.items()])
    hues = [index % HUES + 1 for index, family in enumerate(places.values()) for _ in family]
    words = "".join(
        f'<span style="left: {x:.1%}; top: {1 - y:.1%}; --hue: var(--hue-{hue})">{html.escape(word)}</span>'
        for (word, x, y), hue in zip(rows, hues, strict=True)
    )
    legend = "".join(
        f'<li style="--hue: var(--hue-{index % HUES + 1})">{html.escape(name)}</li>'
        for index, name in enumerate(places)
    )
    listed = "; ".join(f"{name}: {', '.join(family)}" for name, family in places.items())
    return (
        f'<figure class="map"><figcaption>{html.escape(says)}</figcaption>'
        f'<div role="img" aria-label="{say("how.map")} {html.escape(listed)}">{words}</div>'
        f'<ul class="legend">{legend}</ul></figure>'
    )


def apart(words: Sequence[tuple[str, float, float]]) -> list[tuple[str, float, float]]:
    """The words with their places (x, y), of which the lower of two that would cover each other is moved down.

    If that takes one of them off the map, all are drawn together towards the highest.
    """
    placed: dict[int, tuple[float, float]] = {}
    for index in sorted(range(len(words)), key=lambda n: -words[n][2]):
        word, x, y = words[index]
        for other, (other_x, other_y) in sorted(placed.items(), key=lambda item: -item[1][1]):
            wide = LETTER * (len(word) + len(words[other][0]) + 1) / 2
            if abs(x - other_x) < wide and abs(y - other_y) < LINE:
                y = other_y - LINE
        placed[index] = (x, y)
    heights = [y for _, y in placed.values()]
    top, low = max(heights), min(heights)
    fit = min(1.0, (top - LINE) / (top - low)) if top > low else 1.0
    return [(word, placed[n][0], top - fit * (top - placed[n][1])) for n, (word, _, _) in enumerate(words)]


def attention_map(labels: Sequence[str], weights: Sequence[Sequence[float]], title: str, cut: bool) -> str:
    """One head's weights: the last token's as chips with numbers, all of them as a table of shades."""
    last = weights[-1]
    chips = "".join(
        f'<li style="--share: {share:.0%}"><b>{html.escape(label)}</b><small>{share:.0%}</small></li>'
        for label, share in zip(labels, last, strict=True)
    )
    head = "".join(f'<th scope="col"><span>{html.escape(label)}</span></th>' for label in labels)
    body = []
    for row, (label, shares) in enumerate(zip(labels, weights, strict=True)):
        cells = "".join(
            f'<td style="--share: {share:.0%}" '
            f'title="{html.escape(say("how.attention.cell", label=label, other=other, share=f"{share:.0%}"))}">'
            f"<span>{share:.0%}</span></td>"
            for other, share in zip(labels[: row + 1], shares, strict=False)
        )
        body.append(f'<tr><th scope="row">{html.escape(label)}</th>{cells}{"<td></td>" * (len(labels) - row - 1)}</tr>')
    says = [say("how.attention.cut", count=len(labels))] if cut else []
    says += [say("how.attention.mark")] if "⟨story⟩" in labels else []
    return (
        f'<p class="says">{html.escape(say("how.attention.shares", label=labels[-1]))}</p>'
        f'<ul class="chips shares">{chips}</ul>'
        f'<div class="wide" tabindex="0" role="group" aria-label="{html.escape(title)}"><table class="shades">'
        f"<caption>{html.escape(title)}</caption><thead><tr><td></td>{head}</tr></thead>"
        f'<tbody>{"".join(body)}</tbody></table></div><p class="hint">{html.escape(" ".join(says))}</p>'
    )


def next_word_bars(word: NextWord, labels: Sequence[str]) -> str:
    """The likeliest tokens, before the filters and after them; what was cut is grey."""
    most = max(max(each.before, each.after) for each in word.candidates) or 1.0
    rows = []
    for label, each in zip(labels, word.candidates, strict=True):
        style, after = ("kept", f"{each.after:.1%}") if each.after > 0 else ("cut", say("how.choice.cut"))
        rows.append(
            f'<tr class="{style}"><th scope="row">{html.escape(label)}</th>'
            f'<td class="meter">{_bar("was", each.before / most)}{_bar("is", each.after / most)}</td>'
            f"<td>{each.before:.1%}</td><td>{after}</td></tr>"
        )
    shown = [sum(each.before for each in word.candidates), sum(each.after for each in word.candidates)]
    others = word.vocab_size - len(word.candidates)
    if others:
        before, after = (max(0.0, 1 - share) for share in shown)
        rows.append(
            f'<tr class="others"><th scope="row" colspan="2">{say("how.choice.others", count=number(others))}</th>'
            f"<td>{before:.1%}</td><td>{after:.1%}</td></tr>"
        )
    token, model, drawn = (f'<th scope="col">{say(f"how.choice.{name}")}</th>' for name in ("token", "model", "drawn"))
    choices = {"before": _count(word.choices_before), "after": _count(word.choices_after)}
    count = say("how.choice.count", kept=number(word.kept), size=number(word.vocab_size), **choices)
    return (
        f'<p class="says">{count}</p><table class="bars choice"><caption>{say("how.choice.title")}</caption>'
        f"<thead><tr>{token}<td></td>{model}{drawn}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def model_table(columns: Mapping[str, Mapping[str, str]], caption: str) -> str:
    """Named rows, a column for each model; "–" where one of them lacks a figure. "" if there is none at all."""
    names = list(dict.fromkeys(name for column in columns.values() for name in column))
    if not names:
        return ""
    head = "".join(f'<th scope="col">{html.escape(name)}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row">{html.escape(name)}</th>'
        + "".join(f"<td>{html.escape(column.get(name, '–'))}</td>" for column in columns.values())
        + "</tr>"
        for name in names
    )
    return (
        f'<div class="wide" tabindex="0" role="group" aria-label="{html.escape(caption)}"><table class="board">'
        f"<caption>{html.escape(caption)}</caption><thead><tr><td></td>{head}</tr></thead>"
        f"<tbody>{body}</tbody></table></div>"
    )


def method_list(methods: Mapping[str, Sequence[str]]) -> str:
    """How was measured what, folded away; models with the same method are named together."""
    by_text: dict[str, list[str]] = {}
    for name, texts in methods.items():
        for text in texts:
            by_text.setdefault(text, []).append(name)
    if not by_text:
        return ""
    items = "".join(f"<li>{html.escape(', '.join(names))}: {_code(text)}</li>" for text, names in by_text.items())
    return f"<details><summary>{say('how.figures.method')}</summary><ul>{items}</ul></details>"


def reading_list(texts: Mapping[str, str]) -> str:
    """What each model read, and what none of them can do."""
    by_text: dict[str, list[str]] = {}
    for name, text in texts.items():
        by_text.setdefault(text or say("how.limits.unknown"), []).append(name)
    read = "".join(f"<p><b>{html.escape(', '.join(names))}</b>: {html.escape(t)}</p>" for t, names in by_text.items())
    limits = "".join(f"<li>{html.escape(say(f'how.limits.{place}'))}</li>" for place in (1, 2, 3, 4))
    return f'<div class="says">{read}<ul>{limits}</ul></div>'


def _bar(kind: str, share: float) -> str:
    return f'<span class="{kind}" style="width: {100 * share:.1f}%"></span>'


def _count(choices: float) -> str:
    return f"{choices:.1f}" if choices < 10 else number(choices)


def _code(text: str) -> str:
    """The text with what stands between backticks as code."""
    parts = html.escape(text).split("`")
    return "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
