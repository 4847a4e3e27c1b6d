"""The record of an evaluation: all figures of some models as plain JSON values, each with how it was measured.

    {"models": {NAME: {"revision", "lossless", "likelihood": {"method", "texts": {TEXT: figures}},
                       "stories": {"method", ...}, ...}},
     "baselines": {"method", NAME: {TEXT: bits per byte}},
     "comparison": {"method", "pairs": [...]}}

What is said of one model, its entry, also goes into its training.json (`metrics.evaluation`) and onto its card. Tables
are made from this by `tables`, and from nothing else.
"""

from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from typing import Any

from storygen.artifact import CARD, TRAINING, WEIGHTS, hashes, locate, read_training
from storygen.config import read_json, write_json
from storygen.errors import StorygenError
from storygen.evaluation.baselines import COMPRESSORS
from storygen.evaluation.bootstrap import REPLICATES, difference, interval
from storygen.evaluation.likelihood import Likelihood, LikelihoodConfig
from storygen.evaluation.tables import fill
from storygen.folders import write_whole
from storygen.tokenizers import Tokenizer

FILE, REPORT = "evaluation.json", "evaluation.md"
LOSSY = (
    "A lossy tokenizer leaves out what it can't represent, capitals for instance, and the bytes of the original are "
    "counted: the figure is lower than that of a model which had to tell them."
)
COMPARED = (
    f"Difference of bits per byte on the same stories, with the 95 % interval of a paired bootstrap over stories "
    f"({REPLICATES} resamples, seed 0); p is twice the share of resamples on the other side of 0."
)


def model_entry(revision: str, tokenizer: Tokenizer) -> dict[str, Any]:
    """What every figure of a model belongs to: its weights and its tokenizer. Sections of figures are added to it."""
    kind = {"kind": tokenizer.kind, "vocab_size": tokenizer.vocab_size, "lossless": tokenizer.lossless}
    return {"revision": revision, "tokenizer": {**kind, "fingerprint": tokenizer.fingerprint}}


def likelihood_section(
    measured: Mapping[str, Likelihood], config: LikelihoodConfig, lossless: bool = True
) -> dict[str, Any]:
    """The section `likelihood` of an entry: figures of each text."""
    method = (
        "Bits per byte over the UTF-8 bytes of the stories' text: sum over all tokens and end tokens, no prompt, "
        f"float16 weights run in float32, each token scored once; {config.describe()}. Intervals: 95 %, bootstrap over "
        f"stories ({REPLICATES} resamples, seed 0)."
    )
    texts = {name: likelihood_figures(each) for name, each in measured.items()}
    note = {} if lossless else {"note": LOSSY}
    return {"method": method, **note, "settings": config.to_dict(), "texts": texts}


def likelihood_figures(measured: Likelihood) -> dict[str, Any]:
    """The figures of one text, rounded so that another machine finds the same."""
    between = interval(measured)
    return {
        "bits_per_byte": round(measured.bits_per_byte, 4),
        "interval": between and [round(end, 4) for end in between],
        "word_perplexity": round(measured.word_perplexity, 2),
        "byte_perplexity": round(measured.byte_perplexity, 4),
        "token_perplexity": round(measured.token_perplexity, 3),
        "nats": round(measured.nats, 1),
        "stories": len(measured.story_nats),
        "tokens": measured.tokens,
        "words": measured.words,
        "bytes": measured.bytes,
    }


def comparison_section(measured: Mapping[str, Mapping[str, Likelihood]]) -> dict[str, Any]:
    """The section `comparison` of a record: each two models on each text. `measured` is by model, then by text."""
    pairs = []
    texts = dict.fromkeys(text for figures in measured.values() for text in figures)
    for text, (first, second) in product(texts, combinations(measured, 2)):
        found = difference(measured[first][text], measured[second][text])
        if found:
            figures = {name: round(getattr(found, name), 4) for name in ("value", "low", "high", "p")}
            pairs.append({"text": text, "first": first, "second": second, **figures, "is_real": found.is_real})
    return {"method": COMPARED, "pairs": pairs}


def baselines_section(
    found: Iterable[tuple[str, str, float]], training: Sequence[str], files: Sequence[str], tokenizer: str
) -> dict[str, Any]:
    """The section `baselines` of a record, from what `measure_baselines` finds."""
    texts: dict[str, dict[str, float]] = {}
    for baseline, text, value in found:
        texts.setdefault(baseline, {})[text] = round(value, 4)
    size = sum(len(text.encode(errors="replace")) for text in training)
    told = [f"Baselines have seen {size / 1e6:.1f} MB of training text ({', '.join(files)})."]
    if set(texts) & set(COMPRESSORS):
        told.append("xz -9e and zstd --ultra -22: what the text adds to the compressed training text when it follows.")
    told.append(
        f"n-grams: interpolated modified Kneser-Ney over the tokens of {tokenizer}, counted in the training text, end "
        "tokens included."
    )
    return {"method": " ".join(told), "texts": texts}


def merged(old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """The new record, and of the old one what was not measured anew and belongs to the same weights.

    StorygenError if models would stand side by side that were read in different ways.
    """
    models = dict(old["models"])
    changed = set()
    for name, entry in new["models"].items():
        same = name in models and models[name]["revision"] == entry["revision"]
        models[name] = {**models[name], **entry} if same else entry
        changed |= set() if same else {name}
    ways = {name: entry["likelihood"]["settings"] for name, entry in models.items() if "likelihood" in entry}
    if any(settings != way for settings in ways.values() for way in ways.values()):
        told = "; ".join(f"{name}: {settings}" for name, settings in ways.items())
        raise StorygenError(f"the models were read in different ways, measure all of them anew ({told})")
    record = {**old, **new, "models": models}
    if "comparison" in old and "comparison" not in new:
        pairs = [pair for pair in old["comparison"]["pairs"] if not changed & {pair["first"], pair["second"]}]
        record["comparison"] = {**old["comparison"], "pairs": pairs}
    return record


def read_record(path: Path) -> dict[str, Any]:
    """The record in a file."""
    record = read_json(path)
    if not isinstance(record, dict) or not isinstance(record.get("models"), dict):
        raise StorygenError(f"{path} is no record of an evaluation: it has no models")
    return record


def write_entry(folder: Path, record: dict[str, Any]) -> None:
    """Puts a model's figures into its training.json and, where it has the place for them, onto its card.

    StorygenError if the record has none of the weights in this folder.
    """
    if not folder.is_dir():
        raise StorygenError(f"figures are written into a model's folder, and {folder} is none")
    revision = hashes(locate(folder)[0])[WEIGHTS][:12]
    name = next((name for name, entry in record["models"].items() if entry["revision"] == revision), None)
    if name is None:
        raise StorygenError(f"the record has no figures of the weights in {folder} ({revision}); measure them again")
    entry = record["models"][name]
    training = read_training(folder)
    metrics = training.get("metrics")
    training["metrics"] = {**(metrics if isinstance(metrics, dict) else {}), "evaluation": entry}
    write_json(folder / TRAINING, training)
    card = folder / CARD
    if card.exists():
        write_whole(card, fill(card.read_text(encoding="utf-8"), {"models": {name: entry}}))
