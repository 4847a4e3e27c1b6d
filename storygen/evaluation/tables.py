"""Records of evaluations as Markdown tables, and texts whose tables are filled in from a record.

A text says where a table goes: between `<!-- evaluation: likelihood -->` and `<!-- /evaluation -->` stands what the
section of that name gives, and nothing there is typed by hand. It knows a record's JSON only (see `record`).
"""

import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from storygen.errors import StorygenError

STORIES = {
    "ended": "the story ends by itself before the limit",
    "repetition": "runs of four words that the story repeats",
    "asked_words": "content words of the prompt that are in the story",
    "asked_words_by_chance": "... in the story for another prompt",
    "true_prompt_wins": "a held-out text is likeliest after its own prompt, among ten",
}
"""Figures of `storygen.evaluation.stories` in words."""
_MARKED = re.compile(r"(<!-- evaluation: (\w+) -->\n).*?(<!-- /evaluation -->)", re.DOTALL)

Record = dict[str, Any]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table."""
    return ["| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)]


def likelihood(record: Record) -> list[str]:
    """Bits per byte: a row for each text, a column for each model, then one for each baseline."""
    entries = {name: entry["likelihood"]["texts"] for name, entry in record["models"].items() if "likelihood" in entry}
    baselines = {name: texts for name, texts in record.get("baselines", {}).get("texts", {}).items() if entries}
    texts = list(dict.fromkeys(text for figures in entries.values() for text in figures))
    rows = [
        [
            text,
            *(_with_interval(figures.get(text)) for figures in entries.values()),
            *(f"{figures[text]:.3f}" if text in figures else "" for figures in baselines.values()),
        ]
        for text in texts
    ]
    return table(["bits per byte", *(_flagged(record, name) for name in entries), *baselines], rows) if rows else []


def _with_interval(figures: dict[str, Any] | None) -> str:
    if figures is None:
        return ""
    between = " ({:.3f} to {:.3f})".format(*figures["interval"]) if figures["interval"] else ""
    return f"{figures['bits_per_byte']:.3f}{between}"


def _flagged(record: Record, name: str) -> str:
    """A model's name, with a word of warning if its tokenizer did not code the original bytes."""
    return name if record["models"][name]["tokenizer"]["lossless"] else f"{name} (lossy)"


def perplexity(record: Record) -> list[str]:
    """All figures of likelihood: a row for each text and model. With one model, its name is left out."""
    names = [name for name, entry in record["models"].items() if "likelihood" in entry]
    alone = len(record["models"]) == 1
    rows = []
    for text in dict.fromkeys(text for name in names for text in record["models"][name]["likelihood"]["texts"]):
        for name in names:
            figures = record["models"][name]["likelihood"]["texts"].get(text)
            if figures:
                model = [] if alone else [_flagged(record, name)]
                between = "{:.3f} to {:.3f}".format(*figures["interval"]) if figures["interval"] else ""
                perplexities = (f"{figures[f'{unit}_perplexity']:.2f}" for unit in ("word", "byte", "token"))
                rows.append([text, *model, f"{figures['bits_per_byte']:.3f}", between, *perplexities])
    head = ["text", *([] if alone else ["model"]), "bits per byte", "95 % interval"]
    return table([*head, *(f"perplexity per {unit}" for unit in ("word", "byte", "token"))], rows) if rows else []


def comparison(record: Record) -> list[str]:
    """Each two models on each text, and whether the difference is real."""
    rows = [
        [
            pair["text"],
            " - ".join(_flagged(record, pair[side]) for side in ("first", "second")),
            f"{pair['value']:+.3f}",
            f"{pair['low']:+.3f} to {pair['high']:+.3f}",
            f"{pair['p']:.3f}",
            "yes" if pair["is_real"] else "no",
        ]
        for pair in record.get("comparison", {}).get("pairs", [])
    ]
    return table(["text", "models", "difference", "95 % interval", "p", "real"], rows) if rows else []


def stories(record: Record) -> list[str]:
    """What readers notice of stories: a column for each model."""
    columns = {name: entry["stories"] for name, entry in record["models"].items() if "stories" in entry}
    if not columns:
        return []
    figures = list(columns.values())
    rows = [
        [label, *(f"{column[key]:.0%}" if key in column else "" for column in figures)]
        for key, label in STORIES.items()
        if any(key in column for column in figures)
    ]
    rows.append(["mean words", *(f"{column['words']:.0f}" for column in figures)])
    return table([f"{figures[0]['stories']} stories for held-out prompts", *columns], rows)


def people(record: Record) -> list[str]:
    """How far each figure agrees with people, if there are enough votes to tell."""
    if not (found := record.get("people")):
        return []
    told = (
        f"{found['votes']:,} votes that count, by {found['raters']:,} raters; "
        f"{found['contestants']} contestants with enough of them."
    )
    if found["simulated"]:
        told += f" {found['simulated']:,} of the votes are simulated: this says nothing about people."
    if not found["figures"]:
        return [f"{told} That is too little to say whether any figure agrees with people."]
    rows = [
        [each["figure"], str(each["contestants"]), *(f"{each[key]:+.2f}" for key in ("spearman", "kendall")),
         f"{each['p']:.3f}"]
        for each in found["figures"]
    ]  # fmt: skip
    return [told, "", *table(["figure, and which way is better", "contestants", "Spearman", "Kendall", "p"], rows)]


SECTIONS: dict[str, Callable[[Record], list[str]]] = {
    "likelihood": likelihood,
    "perplexity": perplexity,
    "comparison": comparison,
    "stories": stories,
    "people": people,
}
"""Name of a table, as texts mark the place for it -> what makes its lines; none where the record has nothing for it."""
METHOD_OF = {"perplexity": "likelihood"}
"""The section that tells how a table was measured, where it is not the one of the same name."""


def report(record: Record, names: Sequence[str] = tuple(SECTIONS)) -> list[str]:
    """The lines of all tables that the record has something for, each followed by how it was measured, told once."""
    lines: list[str] = []
    for name in names:
        if made := SECTIONS[name](record):
            told = [each for each in _methods(record, METHOD_OF.get(name, name)) if each not in lines]
            lines += [*([""] if lines else []), *made, *([""] if told else []), *told]
    return lines


def _methods(record: Record, section: str) -> Iterator[str]:
    """How a section was measured, and what to know of it, each statement once."""
    held = [record.get(section, {}), *(entry.get(section, {}) for entry in record["models"].values())]
    if section == "likelihood":
        held.append(record.get("baselines", {}))
    yield from dict.fromkeys(part[key] for key in ("method", "note") for part in held if key in part)


def card(record: Record) -> list[str]:
    """The lines of a model card: a record of one model, all but what compares it."""
    return report(record, [name for name in SECTIONS if name not in ("likelihood", "comparison")])


def fill(text: str, record: Record) -> str:
    """The text with its marked places filled in from a record; StorygenError for a table that the record lacks."""

    def made(match: re.Match[str]) -> str:
        begin, name, end = match.groups()
        known = {**SECTIONS, "card": card}
        if name not in known:
            raise StorygenError(f"there is no table {name!r} of an evaluation; there are {', '.join(known)}")
        lines = known[name](record)
        if not lines:
            raise StorygenError(f"the record of the evaluation has nothing for the table {name!r}")
        return begin + "\n".join(lines) + "\n" + end

    return _MARKED.sub(made, text)
