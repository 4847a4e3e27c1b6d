"""What a model's training.json tells of how it was made. A file may lack anything: then there is less to show."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from storygen.models import LSTM, LanguageModel


@dataclass(frozen=True)
class Curve:
    """How a run went: (millions of tokens read, value) pairs, in order."""

    loss: tuple[tuple[float, float], ...]
    """Training loss in nats per token."""
    valid: tuple[tuple[float, float], ...]
    """Bits per byte on stories that the model never trained on."""


def curve_of(training: Mapping[str, Any]) -> Curve | None:
    """The curve in a training.json, as `train.publish` writes it; None if it has none."""
    kept = training.get("curve")
    if not isinstance(kept, dict):
        return None
    curve = Curve(_points(kept.get("loss")), _points(kept.get("valid_bits_per_byte")))
    return curve if curve.loss or curve.valid else None


def _points(pairs: Any) -> tuple[tuple[float, float], ...]:
    if not isinstance(pairs, list):
        return ()
    pairs = [pair for pair in pairs if isinstance(pair, list) and len(pair) == 2 and all(map(_is_number, pair))]
    return tuple((tokens / 1e6, float(value)) for tokens, value in pairs)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def making(model: LanguageModel, training: Mapping[str, Any]) -> dict[str, str]:
    """How the model is made and how long it learnt, in words."""
    config = model.config
    rows = {"kind": "LSTM" if isinstance(model, LSTM) else "Transformer"}
    rows["numbers that it has learnt"] = f"{model.num_parameters:,}"
    rows["layers"] = f"{config.num_layers}"
    recipe = _mapping(_mapping(training.get("recipe")).get("train"))
    figures = {
        "tokens read in training": (training.get("tokens"), "{:,}"),
        "tokens in each step": (recipe.get("batch_tokens"), "{:,}"),
        "steps": (training.get("steps"), "{:,}"),
        "minutes of training": (training.get("minutes"), "{:,.0f}"),
    }
    rows |= {name: form.format(value) for name, (value, form) in figures.items() if _is_number(value)}
    if isinstance(training.get("device"), str):
        rows["trained on"] = training["device"].upper()
    return rows


NOTICED = {
    "ended": "stories that end by themselves",
    "repetition": "runs of four words that a story repeats",
    "asked_words": "words of the prompt that come up in its story",
    "asked_words_by_chance": "… in the story for another prompt",
    "true_prompt_wins": "a text's own prompt recognised among ten",
}
"""Figures of stories in training.json, all of them shares, in words."""


def measured(training: Mapping[str, Any]) -> dict[str, str]:
    """What was measured of the model: bits per byte of each text, then what readers notice."""
    evaluation = _evaluation(training)
    texts, stories = _mapping(_mapping(evaluation.get("likelihood")).get("texts")), _mapping(evaluation.get("stories"))
    bits = {name: _mapping(figures).get("bits_per_byte") for name, figures in texts.items()}
    rows = {f"bits per byte: {_plain(name)}": f"{value:.3f}" for name, value in bits.items() if _is_number(value)}
    return rows | {words: f"{stories[key]:.0%}" for key, words in NOTICED.items() if _is_number(stories.get(key))}


def methods(training: Mapping[str, Any]) -> list[str]:
    """How it was measured, as it is recorded."""
    evaluation = _evaluation(training)
    told = (_mapping(evaluation.get(name)).get("method") for name in ("likelihood", "stories"))
    return [method for method in told if isinstance(method, str)]


def _evaluation(training: Mapping[str, Any]) -> Mapping[str, Any]:
    """The model's entry in the record of an evaluation (`storygen.evaluation.record`)."""
    return _mapping(_mapping(training.get("metrics")).get("evaluation"))


def text_read(training: Mapping[str, Any]) -> str:
    """What the training text was, as it was told when the model was published; "" if it is not known."""
    about = _mapping(training.get("corpus")).get("about")
    return about if isinstance(about, str) else ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _plain(name: str) -> str:
    return str(name).removesuffix(".gz").removesuffix(".jsonl").removesuffix(".valid")
