"""The report on a model's ways of decoding: a record as JSON, its tables as Markdown, its plots as pictures."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from storygen.arena.contestants import describe_decoding
from storygen.config import GenerationConfig, write_json
from storygen.errors import StorygenError
from storygen.evaluation.continuations import Continuation
from storygen.evaluation.memorisation import Copy, Index
from storygen.evaluation.strategies import COUNTED_WORDS, measure
from storygen.evaluation.tables import table
from storygen.folders import write_whole

PEOPLE = "people"
COLUMNS = {
    "perplexity": "perplexity",
    "repetition": "repeated 4-word runs",
    "loops": "end in a loop",
    "self_bleu": "self-BLEU-4",
    "like_people": "BLEU-4 to other people",
    "bleu": "BLEU",
    "distinct_1": "distinct-1",
    "distinct_2": "distinct-2",
    "distinct_3": "distinct-3",
    "zipf": "Zipf",
    "words": "words",
    "ended": "ended",
    "unseen_words": "unseen words",
    "grade": "grade",
    "seen_runs": "8-word runs seen",
    "copied": "longest copy",
}
SHARES = {
    "repetition": 1, "loops": 0, "ended": 0, "unseen_words": 2, "seen_runs": 2,
}  # fmt: skip
"""Columns told in per cent, with this many decimals."""
DECIMALS = {"perplexity": 2, "bleu": 1, "words": 0, "grade": 1, "copied": 0}
PUBLISHED = {
    "human": (12.38, 0.31, 0.28),
    "greedy": (1.50, None, 73.66),
    "beam 16": (1.48, None, 28.94),
    "sampling": (22.73, None, 0.22),
    "top k 40": (6.88, 0.39, 0.78),
    "top k 40, temperature 0.7": (3.48, None, 8.86),
    "top p 0.95": (13.13, 0.32, 0.36),
}
"""Perplexity, self-BLEU-4 and per cent of stories in a loop of GPT-2 large (Holtzman et al. 2020, Table 1)."""
COLOURS = {
    PEOPLE: "black", "greedy": "tab:red", "beam": "tab:orange", "diverse_beam": "gold", "sample": "tab:green",
    "top_k": "tab:blue", "top_p": "tab:purple", "top_k_top_p": "tab:pink", "min_p": "tab:cyan", "typical": "tab:brown",
}  # fmt: skip
"""Of people and of each strategy in the plots."""


@dataclass(frozen=True)
class Plot:
    """Which two figures are drawn against each other."""

    title: str
    x: str
    x_label: str
    y: str
    y_label: str
    is_log: bool = False


LIKELIHOOD = Plot(
    "likelihood against repetition",
    "perplexity",
    "perplexity of the continuations under the model",
    "repetition",
    "four-word runs that repeat an earlier one",
    is_log=True,
)
QUALITY = Plot(
    "quality against diversity",
    "self_bleu",
    "self-BLEU-4 (to the right: less diverse)",
    "like_people",
    "BLEU-4 to other people (upwards: more like them)",
)


def row(
    config: GenerationConfig | None,
    written: Sequence[Continuation],
    people: Sequence[Continuation],
    index: Index,
    copies: Sequence[Copy | None],
) -> dict[str, Any]:
    """One line of the record, as plain JSON values: a way of decoding, or people (no config), with its figures."""
    figures = measure(written, people, index, copies)
    values = {key: value for key, value in asdict(figures).items() if key != "distinct"}
    distinct = figures.distinct or (None, None, None)
    values |= {f"distinct_{length}": value for length, value in enumerate(distinct, 1)}
    longest = max((copy for copy in copies if copy), key=lambda copy: copy.length, default=None)
    return {
        "name": describe_decoding(config) if config else PEOPLE,
        "strategy": config.strategy if config else PEOPLE,
        "settings": config.to_dict() if config else None,
        "figures": {**values, "perplexity": figures.perplexity},
        "longest_copy": asdict(longest) if longest else None,
    }


def save(record: dict[str, Any], folder: Path) -> list[Path]:
    """Writes NAME.json, NAME.md and two pictures, NAME-likelihood.png and NAME-quality.png, whose paths it gives."""
    name = record["model"].replace("/", "--")  # a Hub repository's has a slash
    write_json(folder / f"{name}.json", record)
    write_whole(folder / f"{name}.md", "\n".join(report(record)) + "\n")
    pictures = {folder / f"{name}-likelihood.png": LIKELIHOOD, folder / f"{name}-quality.png": QUALITY}
    for path, plot in pictures.items():
        draw(record, path, plot)
    return list(pictures)


def fill(text: str, record: dict[str, Any]) -> str:
    """The text with the report between `<!-- strategies: NAME -->` and `<!-- /strategies -->`.

    Where copies come from is left out: it quotes the training text.
    """
    begin, end = f"<!-- strategies: {record['model']} -->\n", "<!-- /strategies -->"
    before, mark, after = text.partition(begin)
    _, is_closed, after = after.partition(end)
    if not mark or not is_closed:
        raise StorygenError(f"the page has no {begin.strip()} and {end} between which to put the report")
    return "\n".join([before + mark + "\n".join(_method(record)), "", *_table(record["rows"]), end + after])


def report(record: dict[str, Any]) -> list[str]:
    """The record as lines of Markdown: what was done, the table, where the longest copies are, published figures."""
    rows = record["rows"]
    return [*_method(record), "", *_table(rows), "", *_copies(rows), "", *_published()]


def draw(record: dict[str, Any], path: Path, plot: Plot) -> None:
    """Draws one figure of each row against another, with the rows' numbers in the table."""
    from matplotlib.figure import Figure  # slow to import

    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    for number, each in enumerate(record["rows"]):
        colour, is_people = COLOURS[each["strategy"]], each["strategy"] == PEOPLE
        x, y = each["figures"][plot.x], each["figures"][plot.y]
        look = {"marker": "*", "s": 160} if is_people else {"marker": "o", "s": 36}
        label = PEOPLE if is_people else f"{number}  {each['name']}"
        axes.scatter(x, y, color=colour, label=label, **look)
        beside = (5, -11 if number % 2 else 4)  # neighbours in the grid are often neighbours in the plot
        axes.annotate(label.split()[0], (x, y), xytext=beside, textcoords="offset points", fontsize=8)
    axes.set(title=f"{record['model']}: {plot.title}", xlabel=plot.x_label, ylabel=plot.y_label)
    if plot.is_log:
        axes.set_xscale("log")
        axes.set_yscale("symlog", linthresh=0.01)  # down to 0, which most ways of sampling come near
        axes.set_ylim(-0.004, 1)
        for axis, shown in ((axes.xaxis, "{x:g}"), (axes.yaxis, "{x:.0%}")):
            axis.set_major_formatter(shown)
            axis.set_minor_formatter("{x:g}" if axis is axes.xaxis else "")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside right center", fontsize=7, frameon=False)
    figure.savefig(path, dpi=100)


def _method(record: dict[str, Any]) -> Iterator[str]:
    training = record["training"]
    yield (
        f"{record['stories']} held-out stories, cut after {record['opening_words']} words. The model goes on for at "
        f"most {record['max_new_tokens']} tokens, with seeds from 0; people's continuations are cut at the same limit. "
        f"Distinct and Zipf are over the first {COUNTED_WORDS:,} words. BLEU is `{record['bleu_signature']}`. Unseen "
        f"words and 8-word runs are looked up in an index of {training['stories']:,} training stories "
        f"({training['characters'] / 1e6:.1f} million characters) that takes {training['false_positives']:.3%} of "
        "unseen runs for seen ones; the longest copy is exact."
    )
    if (share := record["true_prompt_wins"]) is not None:
        yield f"Prompt ranking: a held-out text is likeliest after its own prompt, among ten, in {share:.0%} of cases."


def _table(rows: Sequence[dict[str, Any]]) -> list[str]:
    cells = (
        [str(number or ""), each["name"], *(_cell(key, each["figures"][key]) for key in COLUMNS)]
        for number, each in enumerate(rows)
    )
    return table(["", "decoding", *COLUMNS.values()], list(cells))


def _cell(key: str, value: float | None) -> str:
    if value is None:
        return "–"
    if key in SHARES:
        return f"{100 * value:.{SHARES[key]}f} %"
    return f"{value:,.{DECIMALS.get(key, 2)}f}"


def _copies(rows: Sequence[dict[str, Any]]) -> list[str]:
    found = [(each["name"], each["longest_copy"]) for each in rows if each["longest_copy"]]
    cells = [
        [name, f"{copy['length']}: {copy['words']}", f"{copy['title'] or copy['number']} ({copy['source']})"]
        for name, copy in found
    ]
    return (
        table(["longest copy of", "words", "first found in"], cells) if cells else ["Nothing of eight words is copied."]
    )


def _published() -> list[str]:
    cells = [
        [name, f"{perplexity:.2f}", "–" if self_bleu is None else f"{self_bleu:.2f}", f"{loops:.2f} %"]
        for name, (perplexity, self_bleu, loops) in PUBLISHED.items()
    ]
    said = (
        "For context only, another model on other text: GPT-2 large, 5,000 passages of 200 tokens (Holtzman et al. "
        "2020, Table 1, as others quote it)."
    )
    return [said, "", *table(["decoding", "perplexity", "self-BLEU-4", "end in a loop"], cells)]
