"""What a model had before it, as HTML: a Transformer's attention as shaded text, an LSTM's memory as a strip."""

import html
from collections.abc import Sequence

from storygen.explain import Attention, Memory, token_texts
from storygen.tokenizers import Tokenizer
from storygen.ui.texts import say
from storygen.ui.why_html import percent, token_name, visible

COLUMNS, UNITS = 56, 16
"""Tokens and units of the strip."""
CELL, BAR, LABELS = 16, 44, 78
"""Pixels: a cell's side, the height of the bars above the strip, that of the texts below it."""


def attention_html(tokenizer: Tokenizer, seen: Attention, layer: int | None, head: int | None, name: str) -> str:
    """The text that the model had read, each token shaded by its share of the attention."""
    shares = seen.shares(layer, head).tolist()
    texts = token_texts(tokenizer, seen.tokens)
    is_text = [bool(tokenizer.token_bytes[token]) for token in seen.tokens]
    most = max((share for share, is_one in zip(shares, is_text, strict=True) if is_one), default=0.0) or 1.0
    marks = 1 - sum(share for share, is_one in zip(shares, is_text, strict=True) if is_one)
    parts = []
    for token, text, share, is_one in zip(seen.tokens, texts, shares, is_text, strict=True):
        shown = html.escape(text) if is_one else f" {token_name(tokenizer, token, '')} "
        strength = min(1.0, share / most)
        shaded = f' style="--w:{100 * strength:.0f}%" title="{percent(share)}"' if strength > 0.02 else ""
        parts.append(f"<span{shaded}>{shown}</span>")
    best = sorted(range(len(shares)), key=lambda i: -shares[i] if is_text[i] else 1.0)[:3]
    named = ", ".join(f"“{html.escape(visible(texts[i]))}” ({percent(shares[i])})" for i in best if is_text[i])
    said = say("why.attention", name=name)
    said += say("why.attention.most", names=named) if named else ""
    said += say("why.attention.marks", share=percent(marks)) if marks > 0.005 else ""
    return f'<p class="why-note">{said}</p><div class="why-attention" tabindex="0">{"".join(parts)}</div>'


def memory_html(tokenizer: Tokenizer, memory: Memory, name: str) -> str:
    """The last tokens that the model had read, and what each did to its memory."""
    first = max(0, len(memory.tokens) - COLUMNS)
    tokens = memory.tokens[first:]
    texts, states = token_texts(tokenizer, memory.tokens)[first:], memory.states[first:]
    lively = states.var(dim=0, correction=0).topk(min(UNITS, states.shape[1])).indices
    rows, changes = states[:, lively].T.tolist(), memory.changes[first:].tolist()
    marks, most = [], max(changes)
    for column, (token, text, change) in enumerate(zip(tokens, texts, changes, strict=True)):
        x, tall = column * CELL, (BAR - 6) * change / most
        label = token_name(tokenizer, token, text).replace("<i>", "").replace("</i>", "")
        marks.append(
            f'<rect class="fill" x="{x}" y="{BAR - 4 - tall:.1f}" width="{CELL - 2}" height="{tall:.1f}">'
            f"<title>{say('why.memory.moved', name=label, change=f'{change:.2f}')}</title></rect>"
            f'<text transform="translate({x + 11} {BAR + CELL * len(rows) + 6}) rotate(90)">{label}</text>'
        )
    for row, values in enumerate(rows):
        for column, value in enumerate(values):
            style, at = ("pos" if value > 0 else "neg"), f'x="{column * CELL}" y="{BAR + row * CELL}"'
            marks.append(
                f'<rect class="{style}" {at} width="{CELL - 1}" height="{CELL - 1}" fill-opacity="{abs(value):.2f}"/>'
            )
    size = memory.states.shape[1]
    said = say("why.memory", size=size, name=name, rows=len(rows), tokens=len(tokens))
    return (
        f'<p class="why-note">{said}</p><p class="why-note"><span class="key pos">{say("why.above")}</span>'
        f'<span class="key neg">{say("why.below")}</span></p>{_strip(marks, len(tokens), len(rows))}'
    )


def _strip(marks: Sequence[str], columns: int, rows: int) -> str:
    width, height = (columns + 1) * CELL, BAR + rows * CELL + LABELS
    label = say("why.memory.strip")
    return (
        f'<figure class="why-strip" tabindex="0"><svg viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'role="img" aria-label="{label}">{"".join(marks)}</svg></figure>'
    )
