"""Finished stories as HTML: the line below a story, and the drafts of a visit side by side."""

import html
from collections.abc import Sequence
from pathlib import Path

from storygen.arena.contestants import describe_decoding
from storygen.evaluation.copied import look_for_copies
from storygen.permalink import to_query
from storygen.ui.texts import fixed, number, say
from storygen.writer import Result


def message_html(said: str) -> str:
    """A plain message below a story, or nothing."""
    return f"<p>{html.escape(said)}</p>" if said else ""


def status_html(said: Result, folder: Path | None = None) -> str:
    """What is told below a story: how it ended, its link, and figures for who wants them.

    With the model's folder they have what was copied from its training text, if an index of that is there.
    """
    query = to_query(said)
    link = f' · <a href="?{html.escape(query)}" target="_blank">{say("write.link")}</a>' if query else ""
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in said.notes)
    figures = say(
        "write.figures",
        tokens=len(said.tokens),
        seconds=f"{said.seconds:.1f}",
        speed=number(said.tokens_per_second),
        first=f"{said.seconds_to_first_token:.2f}",
        model=said.model,
        revision=said.revision[:12],
        decoding=describe_decoding(said.config),
    )
    return (
        f"<p>{say(f'ending.{said.finish_reason}')} · {say('seed')} {said.seed}{link}</p>{notes}"
        f"<details><summary>{say('figures')}</summary><p>{html.escape(figures)}</p>"
        f"{_copied_html(said.text, folder) if folder else ''}</details>"
    )


def _copied_html(story: str, folder: Path) -> str:
    told = look_for_copies(story, folder)
    if told is None:
        return ""
    found, source = told
    if not found.longest:
        return f"<p>{say('copied.none')}</p>"
    stretch = say("copied", share=f"{found.share:.1%}", count=found.longest, stretch=found.stretch)
    where = say("copied.from", title=source.title) if source else say("copied.elsewhere")
    return f"<p>{html.escape(stretch)} {html.escape(where)}</p>"


def draft_name(place: int, draft: Result) -> str:
    """A draft in a list of them."""
    begins = " ".join(draft.story.split())[:40]
    return f"{place + 1} · {draft.model}, {draft.config.strategy.replace('_', ' ')} · {begins}"


def draft_cards(drafts: Sequence[Result]) -> str:
    """The drafts side by side, the newest first."""
    if not drafts:
        return f'<p class="hint">{fixed("write.no_drafts")}</p>'
    cards = [
        f"<article><h4>{place + 1} · {html.escape(draft.model)}, {html.escape(describe_decoding(draft.config))}, "
        f"{say('seed')} {draft.seed}</h4><p>{html.escape(draft.story)}</p></article>"
        for place, draft in reversed(list(enumerate(drafts)))
    ]
    return f'<div class="cards" tabindex="0">{"".join(cards)}</div>'
