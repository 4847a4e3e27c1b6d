"""The Why tab's story, explanation, branches and beams as HTML. All text of models and people is escaped."""

import html
import math
from collections.abc import Sequence

from storygen.config import GenerationConfig
from storygen.decoding.modifiers import is_modified
from storygen.decoding.sampling import is_greedy
from storygen.explain import Beam, Branches, Choice, Step, Word
from storygen.explain.steps import surprise
from storygen.tokenizers import Tokenizer
from storygen.ui.stream import progress
from storygen.ui.texts import number, say
from storygen.writer import Candidate

SURPRISES = (1 / 2, 1 / 8, 1 / 32, 1 / 256, 0.0)
"""The least probability of each shade of a word."""
FILTERS = ("top_k", "top_p", "min_p", "typical_p")
"""Settings that cut tokens off."""
SHORT = 34
"""Characters of a longer text that are shown at its beginning and at its end."""


def percent(p: float) -> str:
    """A probability for readers, with two digits that count."""
    share = 100 * p
    if share >= 99.95:
        return "100 %"
    if share >= 10:
        return f"{share:.0f} %" if share < 99 else f"{share:.1f} %"
    if share >= 0.01:
        return f"{share:.{1 if share >= 1 else 2}f} %"
    return say("why.under")


def odds(p: float) -> str:
    """The same as "1 in 8"."""
    if p >= 0.95:
        return say("why.sure")
    if p >= 0.55:
        return say("why.in_ten", count=f"{10 * p:.0f}")
    return say("why.one_in", count=number(1 / p)) if p > 1e-9 else say("why.never")


def visible(text: str) -> str:
    """A token's text so that it can be seen: without the space before it, white space and half characters as signs."""
    shown = text.removeprefix(" ") if text.strip() else text
    return shown.replace("\n", "⏎").replace("\ufffd", "�").replace(" ", "␣" if not text.strip() else " ")


def token_name(tokenizer: Tokenizer, token: int, text: str) -> str:
    """A token as HTML: its visible text, or what a special one means."""
    special = {tokenizer.end_id: "end", tokenizer.prompt_id: "prompt", tokenizer.story_id: "story"}
    if token in special:
        return f"<i>{say(f'why.token.{special[token]}')}</i>"
    return html.escape(visible(text)) or f"<i>{say('why.token.part')}</i>"


def shade(p: float) -> int:
    """Which of SURPRISES a word of this probability has."""
    return next(place for place, least in enumerate(SURPRISES) if p >= least)


def legend() -> str:
    """What the shades mean."""
    least = [say("why.shade.least", count=f"{1 / p:.0f}") if p else say("why.shade.rarer") for p in SURPRISES]
    marks = "".join(f'<span class="s{i}" title="{tip}">{say(f"why.shade.{i}")}</span>' for i, tip in enumerate(least))
    return f'<p class="why-legend"><span class="why-note">{say("why.legend")}</span> {marks}</p>'


def empty_html() -> str:
    """What stands in a story's place before one is written."""
    return (
        f'<div class="why-empty"><p>{say("why.empty")}</p>'
        f'<button type="button" class="why-action" data-begin="">{say("why.begin")}</button></div>'
    )


def story_html(
    opening: str, words: Sequence[Word], steps: Sequence[Step], kept: int, selected: int | None, end_id: int
) -> str:
    """The story as words to click, shaded by surprise. `kept`: characters of the words' text that the story has.

    What comes after them was written and then cut off; `selected` is the token whose word is marked.
    """
    parts, length = [f'<span class="given">{html.escape(opening)}</span>' if opening else ""], 0
    tab = next((i for i, word in enumerate(words) if selected is not None and word.first <= selected < word.end), 0)
    for place, word in enumerate(words):
        own = steps[word.first : word.end]
        p = 2 ** -surprise(own)
        is_end = own[0].chosen.id == end_id
        label = "∎" if is_end else html.escape(visible(word.text.strip() or word.text))
        lead = word.text[: len(word.text) - len(word.text.lstrip())]
        trail = word.text[len(word.text.rstrip()) :] if word.text.strip() else ""
        is_marked = selected is not None and word.first <= selected < word.end
        style = f"s{shade(p)}" + (" cut" if length >= kept and not is_end else "")
        tip = f"{percent(p)}, {odds(p)}" + (f" · {say('why.cut_at_end')}" if "cut" in style else "")
        named = f' aria-label="{say("why.token.end")}"' if is_end else ""
        parts.append(
            f'{html.escape(lead)}<button type="button" class="{style}" data-token="{word.first}" title="{tip}"{named} '
            f'tabindex="{0 if place == tab else -1}" aria-pressed="{str(is_marked).lower()}">{label}</button>'
            f"{html.escape(trail)}"
        )
        length += len(word.text)
    label = say("why.story")
    return f'{legend()}<div class="why-story" role="group" aria-label="{label}">{"".join(parts)}</div>'


def writing_html(opening: str, before: str, picked: str, text: str, ahead: int | None) -> str:
    """A branch while it is being written: what it shares, the picked token, and what has come so far.

    `ahead` is how many other stories come before it; None: it is its turn.
    """
    given = f'<span class="given">{html.escape(opening)}</span>' if opening else ""
    mark = f"<mark>{html.escape(picked)}</mark>" if picked else ""
    place = f'<p role="status">{progress(ahead)}</p>' if ahead is not None else ""
    return (
        f'{legend()}<div class="why-story" aria-busy="true">{given}{html.escape(before)}{mark}{html.escape(text)}'
        f'<span class="caret"></span></div>{place}'
    )


def waiting_html(name: str) -> str:
    """The place of a token's figures while a branch with another one is written; `name` as `token_name` gives it."""
    return (
        f'<section class="why-step"><h2>{name}</h2><p role="status">{say("why.goes_on")}</p>'
        f'<button type="button" class="why-action" data-halt="">{say("write.stop")}</button></section>'
    )


def step_html(
    tokenizer: Tokenizer,
    config: GenerationConfig,
    word: Word,
    steps: Sequence[Step],
    texts: Sequence[str],
    at: int,
    is_picked: bool,
) -> str:
    """All about token `at` of a story: the word it is part of, figures, alternatives, and what was cut off.

    `is_picked` if it stands there because somebody wanted it.
    """
    step, name = steps[at], token_name(tokenizer, steps[at].chosen.id, texts[at])
    close = f'<button type="button" class="close" data-close="" aria-label="{say("why.close")}">×</button>'
    parts = [close, f"<h2>{token_name(tokenizer, step.chosen.id, word.text.strip() or word.text)}</h2>"]
    if word.end - word.first > 1:
        chips = "".join(
            f'<button type="button" data-token="{i}" aria-pressed="{str(i == at).lower()}">'
            f"{token_name(tokenizer, steps[i].chosen.id, texts[i])}</button>"
            for i in range(word.first, word.end)
        )
        note, pieces = say("why.in_pieces", count=word.end - word.first), say("why.pieces")
        parts.append(
            f'<p class="why-note">{note}</p><div class="chips" role="group" aria-label="{pieces}">{chips}</div>'
        )
    bits = f"{step.entropy / math.log(2):.2f}"
    parts.append(
        f'<dl><div><dt>{say("why.probability")}</dt><dd id="why-probability">{percent(step.chosen.before)}</dd>'
        f"<dd>{odds(step.chosen.before)}</dd></div>"
        f'<div><dt>{say("why.rank")}</dt><dd id="why-rank">{number(step.rank)}</dd>'
        f"<dd>{say('why.of_tokens', count=number(tokenizer.vocab_size))}</dd></div>"
        f'<div><dt>{say("why.entropy")}</dt><dd id="why-entropy">{say("why.bits", count=bits)}</dd>'
        f"<dd>{_openness(step.entropy)}</dd></div></dl>"
        f'<p role="status">{_verdict(step, name)}{" " + say("why.picked") if is_picked else ""}</p>'
    )
    parts.append(_bars(tokenizer, config, step))
    parts.append(f'<p id="why-cut">{_cut(step, config)}</p>')
    return f'<section class="why-step" aria-label="{say("why.step")}">{"".join(parts)}</section>'


def _openness(entropy: float) -> str:
    like = math.exp(entropy)
    return say("why.no_choice") if like < 1.5 else say("why.choices", count=number(like))


def _verdict(step: Step, name: str) -> str:
    if step.rank == 1:
        return say("why.first", name=name)
    return say("why.second", name=name) if step.rank == 2 else say("why.later", name=name, count=number(step.rank - 1))


def _bars(tokenizer: Tokenizer, config: GenerationConfig, step: Step) -> str:
    """The alternatives as bars, the likeliest first, and the chosen token last if it is not among them."""
    choices = [*step.choices, *([] if step.chosen.id in {choice.id for choice in step.choices} else [step.chosen])]
    two = not is_greedy(config) and any(abs(c.after - c.before) > 5e-4 for c in choices)
    most = max(max(c.before, c.after if two else 0.0) for c in choices)
    rows = "".join(_bar(tokenizer, choice, choice.id == step.chosen.id, two, most) for choice in choices)
    key = f'<span class="key before">{say("why.by_model")}</span>'
    key += f'<span class="key after">{say("why.by_settings")}</span>' * two
    return (
        f'<h3>{say("why.alternatives")}</h3><p class="why-note">{say("why.pick")}</p>'
        f'<p class="why-note">{key}</p><ol class="bars">{rows}</ol>'
    )


def _bar(tokenizer: Tokenizer, choice: Choice, is_chosen: bool, two: bool, most: float) -> str:
    name = token_name(tokenizer, choice.id, choice.text)
    figures = percent(choice.before)
    if choice.is_cut:
        figures += f" <small>{say('why.cut')}</small>"
    elif two:
        figures += f" → {percent(choice.after)}"
    after = f'<span class="after" style="width:{100 * choice.after / most:.1f}%"></span>' if two else ""
    inside = (
        f'<span class="name">{name}</span><span class="tracks"><span class="before" '
        f'style="width:{100 * choice.before / most:.1f}%"></span>{after}</span><span class="figures">{figures}</span>'
    )
    style = "cut" if choice.is_cut else ""
    if is_chosen:
        return f'<li class="chosen {style}" aria-current="true"><div title="{say("why.written")}">{inside}</div></li>'
    if not tokenizer.token_bytes[choice.id]:  # the story would end here, or a mark that is no text
        return f'<li class="{style}"><div>{inside}</div></li>'
    return (
        f'<li class="{style}"><button type="button" data-pick="{choice.id}" title="{say("why.continue")}">'
        f"{inside}</button></li>"
    )


def _cut(step: Step, config: GenerationConfig) -> str:
    """What the settings did at this token, in words."""
    names = [say(f"why.filter.{name}", value=getattr(config, name)) for name in config.settings if name in FILTERS]
    said, who = [], say("why.and").join(names)
    if config.is_beam:
        said.append(say("why.beam", count=config.num_beams))
    elif is_greedy(config):
        said.append(say("why.greedy"))
    elif config.temperature != 1:
        said.append(say("why.cool" if config.temperature < 1 else "why.warm", value=config.temperature))
    if step.cut:
        facts = {"who": who or say("why.settings"), "share": percent(step.cut_mass)}
        cut = say("why.cut_many", count=number(step.cut), **facts) if step.cut > 1 else say("why.cut_one", **facts)
        said.append(cut + (say("why.cut_forbidden") if is_modified(config) and names else "."))
    elif names:
        said.append(say("why.cut_none", who=who))
    return " ".join(said)


def branches_html(branches: Branches, texts: Sequence[Sequence[str]]) -> str:
    """The tree of stories to walk; `texts` are the tokens' texts of each story."""

    def node(place: int) -> str:
        branch, said = branches.nodes[place], say("why.original")
        if branch.parent is not None:
            before = "".join(texts[place][max(0, branch.at - 6) : branch.at])
            after = "".join(texts[place][branch.at + 1 : branch.at + 10])
            picked, left = texts[place][branch.at], texts[branch.parent][branch.at]
            said = (
                f"… {html.escape(before)}<b>{html.escape(picked)}</b>{html.escape(after)} … "
                f"<small>{say('why.instead', text=html.escape(visible(left)) or say('why.token.end'))}</small>"
            )
        current = ' aria-current="true"' if place == branches.shown else ""
        below = "".join(node(child) for child in branches.children(place))
        below = f"<ul>{below}</ul>" if below else ""
        return f'<li><button type="button" data-branch="{place}"{current}>{said}</button>{below}</li>'

    return f'<ul class="why-tree" aria-label="{say("why.tree")}">{node(0)}</ul>'


def beams_html(tree: Beam, candidates: Sequence[Candidate]) -> str:
    """The tree of the stories that a beam search has found."""

    def node(beam: Beam) -> str:
        ends = "".join(
            f' <span class="end">{say("why.beam_end", number=end + 1, score=f"{candidates[end].score:.4f}")}</span>'
            for end in beam.ends
        )
        below = f"<ul>{''.join(node(way) for way in beam.rest)}</ul>" if beam.rest else ""
        style = ' class="best"' if beam.best == 0 else ""
        text = _shortened(beam.text) if beam.tokens else f"<i>{say('why.beam_nothing')}</i>"
        return f"<li{style}><span>{text}</span>{ends}{below}</li>"

    note = say("why.beam_note", count=len(candidates))
    return f'<p class="why-note">{note}</p><ul class="why-tree beams">{node(tree)}</ul>'


def _shortened(text: str) -> str:
    """The text, or its beginning and end, with all of it a click away."""
    text = " ".join(text.split())
    if len(text) <= 2 * SHORT + 20:
        return html.escape(text) or f"<i>{say('why.token.end')}</i>"
    first, last = text[:SHORT].rsplit(" ", 1)[0], text[-SHORT:].split(" ", 1)[-1]
    return f"<details><summary>{html.escape(f'{first} … {last}')}</summary>{html.escape(text)}</details>"
