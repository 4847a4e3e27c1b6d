"""Finished stories as HTML: the line below a story, and the drafts of a visit side by side."""

import html
from collections.abc import Sequence

from storygen.arena.contestants import describe_decoding
from storygen.permalink import to_query
from storygen.writer import Result

ENDINGS = {
    "end": "The story came to its end",
    "stop": "Ended before a stop text",
    "length": "Stopped at the chosen length",
    "context": "Stopped where the model can read no further",
    "exhausted": "Stopped where the settings left no word to choose from",
}


def status_html(said: Result | str) -> str:
    """What is told below a story, or a plain message: how it ended, its link, and figures for who wants them."""
    if isinstance(said, str):
        return f"<p>{html.escape(said)}</p>" if said else ""
    query = to_query(said)
    link = f' · <a href="?{html.escape(query)}" target="_blank">link to this story</a>' if query else ""
    notes = "".join(f"<p>{html.escape(note)}</p>" for note in said.notes)
    figures = (
        f"{len(said.tokens)} tokens in {said.seconds:.1f} s ({said.tokens_per_second:.0f} a second), the first after "
        f"{said.seconds_to_first_token:.2f} s; {html.escape(said.model)} {html.escape(said.revision[:12])}, "
        f"{html.escape(describe_decoding(said.config))}"
    )
    return (
        f"<p>{ENDINGS[said.finish_reason]} · seed {said.seed}{link}</p>{notes}"
        f"<details><summary>Figures</summary><p>{figures}</p></details>"
    )


def draft_name(number: int, draft: Result) -> str:
    """A draft in a list of them."""
    begins = " ".join(draft.story.split())[:40]
    return f"{number + 1} · {draft.model}, {draft.config.strategy.replace('_', ' ')} · {begins}"


def draft_cards(drafts: Sequence[Result]) -> str:
    """The drafts side by side, the newest first."""
    if not drafts:
        return '<p class="hint">Stories that you write appear here, to be read side by side.</p>'
    cards = [
        f"<article><h4>{number + 1} · {html.escape(draft.model)}, {html.escape(describe_decoding(draft.config))}, "
        f"seed {draft.seed}</h4><p>{html.escape(draft.story)}</p></article>"
        for number, draft in reversed(list(enumerate(drafts)))
    ]
    return f'<div class="cards" tabindex="0">{"".join(cards)}</div>'
