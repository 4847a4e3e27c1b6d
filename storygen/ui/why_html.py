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
from storygen.writer import Candidate

SURPRISES = ((1 / 2, "expected"), (1 / 8, "likely"), (1 / 32, "possible"), (1 / 256, "unlikely"), (0.0, "surprising"))
"""The least probability of each shade of a word, and what it is called."""
FILTER_NAMES = {"top_k": "Top‑k {}", "top_p": "Top‑p {}", "min_p": "Min‑p {}", "typical_p": "Typical {}"}
CLOSE = '<button type="button" class="close" data-close="" aria-label="Close">×</button>'
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
    return "under 0.01 %"


def odds(p: float) -> str:
    """The same as "1 in 8"."""
    if p >= 0.95:
        return "nearly sure"
    if p >= 0.55:
        return f"{10 * p:.0f} in 10"
    return f"1 in {1 / p:,.0f}" if p > 1e-9 else "next to never"


def visible(text: str) -> str:
    """A token's text so that it can be seen: without the space before it, white space and half characters as signs."""
    shown = text.removeprefix(" ") if text.strip() else text
    return shown.replace("\n", "⏎").replace("\ufffd", "�").replace(" ", "␣" if not text.strip() else " ")


def token_name(tokenizer: Tokenizer, token: int, text: str) -> str:
    """A token as HTML: its visible text, or what a special one means."""
    special = {tokenizer.end_id: "the end", tokenizer.prompt_id: "title:", tokenizer.story_id: "story:"}
    if token in special:
        return f"<i>{special[token]}</i>"
    return html.escape(visible(text)) or "<i>part of a character</i>"


def shade(p: float) -> int:
    """Which of SURPRISES a word of this probability has."""
    return next(number for number, (least, _) in enumerate(SURPRISES) if p >= least)


def legend() -> str:
    """What the shades mean."""
    least = [f"at least 1 in {1 / p:.0f}" if p else "rarer" for p, _ in SURPRISES]
    marks = "".join(f'<span class="s{i}" title="{least[i]}">{name}</span>' for i, (_, name) in enumerate(SURPRISES))
    return f'<p class="why-legend"><span class="why-note">The model found a word</span> {marks}</p>'


def story_html(
    opening: str, words: Sequence[Word], steps: Sequence[Step], kept: int, selected: int | None, end_id: int
) -> str:
    """The story as words to click, shaded by surprise. `kept`: characters of the words' text that the story has.

    What comes after them was written and then cut off; `selected` is the token whose word is marked.
    """
    parts, length = [f'<span class="given">{html.escape(opening)}</span>' if opening else ""], 0
    tab = next((i for i, word in enumerate(words) if selected is not None and word.first <= selected < word.end), 0)
    for number, word in enumerate(words):
        own = steps[word.first : word.end]
        p = 2 ** -surprise(own)
        is_end = own[0].chosen.id == end_id
        label = "∎" if is_end else html.escape(visible(word.text.strip() or word.text))
        lead = word.text[: len(word.text) - len(word.text.lstrip())]
        trail = word.text[len(word.text.rstrip()) :] if word.text.strip() else ""
        is_marked = selected is not None and word.first <= selected < word.end
        style = f"s{shade(p)}" + (" cut" if length >= kept and not is_end else "")
        tip = f"{percent(p)}, {odds(p)}" + (" · cut off at the end" if "cut" in style else "")
        named = ' aria-label="the end"' if is_end else ""
        parts.append(
            f'{html.escape(lead)}<button type="button" class="{style}" data-token="{word.first}" title="{tip}"{named} '
            f'tabindex="{0 if number == tab else -1}" aria-pressed="{str(is_marked).lower()}">{label}</button>'
            f"{html.escape(trail)}"
        )
        length += len(word.text)
    label = "The story, word by word. Arrow keys go from word to word, Enter explains one."
    return f'{legend()}<div class="why-story" role="group" aria-label="{label}">{"".join(parts)}</div>'


def writing_html(opening: str, before: str, picked: str, text: str) -> str:
    """A branch while it is being written: what it shares, the picked token, and what has come so far."""
    given = f'<span class="given">{html.escape(opening)}</span>' if opening else ""
    mark = f"<mark>{html.escape(picked)}</mark>" if picked else ""
    return (
        f'{legend()}<div class="why-story" aria-busy="true">{given}{html.escape(before)}{mark}{html.escape(text)}'
        '<span class="caret"></span></div>'
    )


def waiting_html(name: str) -> str:
    """The place of a token's figures while a branch with another one is written; `name` as `token_name` gives it."""
    return (
        f'<section class="why-step"><h2>{name}</h2><p role="status">The story goes on from here ...</p>'
        '<button type="button" class="why-action" data-halt="">Stop</button></section>'
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
    parts = [CLOSE, f"<h2>{token_name(tokenizer, step.chosen.id, word.text.strip() or word.text)}</h2>"]
    if word.end - word.first > 1:
        chips = "".join(
            f'<button type="button" data-token="{i}" aria-pressed="{str(i == at).lower()}">'
            f"{token_name(tokenizer, steps[i].chosen.id, texts[i])}</button>"
            for i in range(word.first, word.end)
        )
        note = f"The model wrote this word in {word.end - word.first} pieces (tokens); these figures are for one."
        parts.append(f'<p class="why-note">{note}</p><div class="chips" role="group" aria-label="Pieces">{chips}</div>')
    parts.append(
        f'<dl><div><dt>Probability</dt><dd id="why-probability">{percent(step.chosen.before)}</dd>'
        f"<dd>{odds(step.chosen.before)}</dd></div>"
        f'<div><dt>Rank</dt><dd id="why-rank">{step.rank:,}</dd><dd>of {tokenizer.vocab_size:,} tokens</dd></div>'
        f'<div><dt>Entropy</dt><dd id="why-entropy">{step.entropy / math.log(2):.2f} bits</dd>'
        f"<dd>{_openness(step.entropy)}</dd></div></dl>"
        f'<p role="status">{_verdict(step, name)}{" You picked it." if is_picked else ""}</p>'
    )
    parts.append(_bars(tokenizer, config, step))
    parts.append(f'<p id="why-cut">{_cut(step, config)}</p>')
    return f'<section class="why-step" aria-label="Why this word">{"".join(parts)}</section>'


def _openness(entropy: float) -> str:
    like = math.exp(entropy)
    return "hardly a choice" if like < 1.5 else f"like {like:,.0f} equal choices"


def _verdict(step: Step, name: str) -> str:
    if step.rank == 1:
        return f"“{name}” was what the model expected most."
    likelier = step.rank - 1
    others = "One other token was" if likelier == 1 else f"{likelier:,} other tokens were"
    return f"{others} likelier than “{name}”."


def _bars(tokenizer: Tokenizer, config: GenerationConfig, step: Step) -> str:
    """The alternatives as bars, the likeliest first, and the chosen token last if it is not among them."""
    choices = [*step.choices, *([] if step.chosen.id in {choice.id for choice in step.choices} else [step.chosen])]
    two = not is_greedy(config) and any(abs(c.after - c.before) > 5e-4 for c in choices)
    most = max(max(c.before, c.after if two else 0.0) for c in choices)
    rows = "".join(_bar(tokenizer, choice, choice.id == step.chosen.id, two, most) for choice in choices)
    key = '<span class="key before">the model</span>' + ('<span class="key after">after the settings</span>' * two)
    return (
        '<h3>What could have come here</h3><p class="why-note">Pick one, and the story goes on from it.</p>'
        f'<p class="why-note">{key}</p><ol class="bars">{rows}</ol>'
    )


def _bar(tokenizer: Tokenizer, choice: Choice, is_chosen: bool, two: bool, most: float) -> str:
    name = token_name(tokenizer, choice.id, choice.text)
    figures = percent(choice.before)
    if choice.is_cut:
        figures += " <small>cut off</small>"
    elif two:
        figures += f" → {percent(choice.after)}"
    after = f'<span class="after" style="width:{100 * choice.after / most:.1f}%"></span>' if two else ""
    inside = (
        f'<span class="name">{name}</span><span class="tracks"><span class="before" '
        f'style="width:{100 * choice.before / most:.1f}%"></span>{after}</span><span class="figures">{figures}</span>'
    )
    style = "cut" if choice.is_cut else ""
    if is_chosen:
        return f'<li class="chosen {style}" aria-current="true"><div title="This was written">{inside}</div></li>'
    if not tokenizer.token_bytes[choice.id]:  # the story would end here, or a mark that is no text
        return f'<li class="{style}"><div>{inside}</div></li>'
    return (
        f'<li class="{style}"><button type="button" data-pick="{choice.id}" title="Continue the story with this">'
        f"{inside}</button></li>"
    )


def _cut(step: Step, config: GenerationConfig) -> str:
    """What the settings did at this token, in words."""
    names = [FILTER_NAMES[s].format(getattr(config, s)) for s in config.settings if s in FILTER_NAMES]
    said = []
    if config.is_beam:
        said.append(
            f"Beam search does not draw: it follows {config.num_beams} stories at once and keeps the one whose tokens "
            "are likeliest taken together, so a token may be here for the sake of what comes after it."
        )
    elif is_greedy(config):
        said.append("Nothing was drawn: these settings always take the likeliest token.")
    elif config.temperature != 1:
        does = "likely tokens likelier still" if config.temperature < 1 else "unlikely tokens likelier"
        said.append(f"Temperature {config.temperature} makes {does}.")
    if step.cut:
        who = " and ".join(names) or "The settings"
        rest = f"{step.cut:,} tokens" if step.cut > 1 else "one token"
        said.append(
            f"{who} cut off {rest} that had {percent(step.cut_mass)} of the probability"
            + (", what is forbidden by the repetition settings included." if is_modified(config) and names else ".")
        )
    elif names:
        said.append(f"{' and '.join(names)} cut nothing off here.")
    return " ".join(said)


def branches_html(branches: Branches, texts: Sequence[Sequence[str]]) -> str:
    """The tree of stories to walk; `texts` are the tokens' texts of each story."""

    def node(number: int) -> str:
        branch, said = branches.nodes[number], "The story as it was written"
        if branch.parent is not None:
            before = "".join(texts[number][max(0, branch.at - 6) : branch.at])
            after = "".join(texts[number][branch.at + 1 : branch.at + 10])
            picked, left = texts[number][branch.at], texts[branch.parent][branch.at]
            said = (
                f"… {html.escape(before)}<b>{html.escape(picked)}</b>{html.escape(after)} … "
                f"<small>instead of “{html.escape(visible(left)) or 'the end'}”</small>"
            )
        current = ' aria-current="true"' if number == branches.shown else ""
        below = "".join(node(child) for child in branches.children(number))
        below = f"<ul>{below}</ul>" if below else ""
        return f'<li><button type="button" data-branch="{number}"{current}>{said}</button>{below}</li>'

    return f'<ul class="why-tree" aria-label="Branches of the story">{node(0)}</ul>'


def beams_html(tree: Beam, candidates: Sequence[Candidate]) -> str:
    """The tree of the stories that a beam search has found."""

    def node(beam: Beam) -> str:
        ends = "".join(
            f' <span class="end">story {number + 1}, score {candidates[number].score:.4f}</span>'
            for number in beam.ends
        )
        below = f"<ul>{''.join(node(way) for way in beam.rest)}</ul>" if beam.rest else ""
        style = ' class="best"' if beam.best == 0 else ""
        text = _shortened(beam.text) if beam.tokens else "<i>Nothing is shared</i>"
        return f"<li{style}><span>{text}</span>{ends}{below}</li>"

    note = (
        f"The search ended with {len(candidates)} stories. What they share is written once; where the line forks, they "
        "part. The score is the log-probability, weighed by length: the nearest to 0 wins, and is marked."
    )
    return f'<p class="why-note">{note}</p><ul class="why-tree beams">{node(tree)}</ul>'


def _shortened(text: str) -> str:
    """The text, or its beginning and end, with all of it a click away."""
    text = " ".join(text.split())
    if len(text) <= 2 * SHORT + 20:
        return html.escape(text) or "<i>the end</i>"
    first, last = text[:SHORT].rsplit(" ", 1)[0], text[-SHORT:].split(" ", 1)[-1]
    return f"<details><summary>{html.escape(f'{first} … {last}')}</summary>{html.escape(text)}</details>"
