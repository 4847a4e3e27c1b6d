"""The decoding settings as widgets: a strategy, and only the sliders that it uses. All bounds come from the config."""

import typing
from dataclasses import dataclass
from typing import Any

import gradio as gr

from storygen.config import MODIFIERS, STRATEGIES, GenerationConfig, field_of
from storygen.ui.events import QUIET

EXPLANATIONS = {
    "greedy": ("Greedy", "Always takes the most likely token. Safe, and soon repeats itself."),
    "sample": ("Temperature", "Draws from all tokens by their probability. Lively, with a slip now and then."),
    "top_k": ("Top-k", "Draws from the k most likely tokens only, whatever they add up to."),
    "top_p": ("Top-p (nucleus)", "Draws from the fewest tokens that reach probability p: few when sure, many if not."),
    "top_k_top_p": ("Top-k and top-p", "First the k most likely, then the nucleus among them."),
    "min_p": ("Min-p", "Draws from the tokens that are at least a share as likely as the likeliest one."),
    "typical": ("Typical", "Draws from the tokens about as surprising as the model expects: neither dull nor odd."),
    "beam": ("Beam search", "Follows several stories at once and keeps the most probable. Fluent and cautious."),
    "diverse_beam": ("Diverse beams", "Beam search in groups that keep away from each other's words."),
    "best_of_n": ("Best of n", "Draws several stories and keeps the one that a model of readers' taste likes best."),
}  # fmt: skip
LABELS = {
    "max_new_tokens": "Length, at most (tokens)",
    "top_p": "Top-p: probability kept",
    "top_k": "Top-k: words kept",
    "min_p": "Min-p: share of the likeliest",
    "typical_p": "Typical: probability kept",
    "num_beams": "Beams",
    "num_groups": "Groups of beams",
    "num_stories": "Stories to pick from",
    "no_repeat_ngram": "Never repeat runs of (tokens)",
    "min_new_tokens": "Length, at least (tokens)",
    "stop": "Stop texts",
    "full_sentence": "End with a whole sentence",
}
"""What a setting is called on the page, where its name in the code would not do."""
PRESETS = {
    "Safe": GenerationConfig(strategy="top_p", temperature=0.6, top_p=0.9),
    "Balanced": GenerationConfig(),
    "Wild": GenerationConfig(strategy="min_p", temperature=1.3, min_p=0.05),
}
TUNABLE = tuple(dict.fromkeys(name for names in STRATEGIES.values() for name in names))
"""Every setting that some strategy uses."""


@dataclass(frozen=True)
class Settings:
    """The widgets, and the way from their values to a GenerationConfig."""

    strategy: gr.Dropdown
    tunable: list[Any]
    modifiers: list[Any]
    max_new_tokens: gr.Slider
    seed: gr.Textbox

    @property
    def inputs(self) -> list[Any]:
        """The widgets in the order that `config_of` takes their values."""
        return [self.strategy, *self.tunable, *self.modifiers, self.max_new_tokens, self.seed]


def config_of(strategy: str, *values: Any) -> GenerationConfig:
    """The settings that the values of `Settings.inputs` describe; StorygenError says which value is out of bounds."""
    *shared, max_new_tokens, seed = values
    fields = dict(zip((*TUNABLE, *MODIFIERS), shared, strict=True))
    seed = str(seed or "").strip()
    return GenerationConfig(
        strategy=strategy,
        **{**fields, "stop": tuple(line for line in (fields["stop"] or "").splitlines() if line.strip())},
        max_new_tokens=max_new_tokens,
        seed=int(seed) if seed.isdecimal() and len(seed) < 20 else seed or None,  # the config refuses what is no number
    )


def values_of(config: GenerationConfig) -> list[Any]:
    """The other way round: the values of `Settings.inputs` that describe these settings."""
    values = [getattr(config, name) for name in (*TUNABLE, *MODIFIERS)]
    values = ["\n".join(value) if isinstance(value, tuple) else value for value in values]
    return [config.strategy, *values, config.max_new_tokens, "" if config.seed is None else str(config.seed)]


def build_settings() -> Settings:
    """Places the widgets where it is called, and wires the strategy to the sliders' visibility."""
    start = GenerationConfig()
    choices = [(EXPLANATIONS[name][0], name) for name in STRATEGIES]
    preset = gr.Radio(list(PRESETS), value="Balanced", label="Mood", elem_id="preset")
    strategy = gr.Dropdown(choices, value=start.strategy, label="Strategy", elem_id="strategy")
    explanation = gr.Markdown(EXPLANATIONS[start.strategy][1], elem_classes="hint", elem_id="explanation")
    tunable = [_widget(name, visible=name in start.settings) for name in TUNABLE]
    max_new_tokens = _widget("max_new_tokens", visible=True)
    seed = gr.Textbox(
        label="Seed", info=field_of(GenerationConfig, "seed").metadata["help"], max_length=12, elem_id="seed"
    )

    with gr.Accordion("Repetition and endings", open=False):
        modifiers = [_widget(name, visible=True) for name in MODIFIERS]

    def show(chosen: str) -> list[Any]:
        return [EXPLANATIONS[chosen][1], *(gr.update(visible=name in STRATEGIES[chosen]) for name in TUNABLE)]

    strategy.change(show, strategy, [explanation, *tunable], queue=False, **QUIET)
    preset.input(
        lambda name: values_of(PRESETS[name])[: 1 + len(TUNABLE)], preset, [strategy, *tunable], queue=False, **QUIET
    )
    return Settings(strategy, tunable, modifiers, max_new_tokens, seed)


def _widget(name: str, visible: bool) -> Any:
    """The widget that suits the setting's type: all but a few are sliders."""
    field, kind = field_of(GenerationConfig, name), typing.get_type_hints(GenerationConfig)[name]
    common = {
        "label": LABELS.get(name, name.replace("_", " ").capitalize()),
        "info": field.metadata["help"],
        "visible": visible,
        "elem_id": name.replace("_", "-"),
    }
    if field.metadata["choices"]:
        return gr.Dropdown(list(field.metadata["choices"]), value=field.default, **common)
    if kind is bool:
        return gr.Checkbox(value=field.default, **common)
    if typing.get_origin(kind) is tuple:
        return gr.Textbox(lines=2, placeholder="one to a line", max_length=500, **common)
    low, high = field.metadata["low"], field.metadata["high"]
    return gr.Slider(low, high, value=field.default, step=0.05 if kind is float else 1, **common)
