"""The decoding settings as widgets: a strategy, and only the sliders that it uses. All bounds come from the config."""

import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import gradio as gr

from storygen.config import BEST_OF_N, MODIFIERS, STRATEGIES, GenerationConfig, field_of
from storygen.ui.events import QUIET
from storygen.ui.texts import fixed
from storygen.writer import Writer

PRESETS = {  # safe: at 0.6 a fifth of the Transformer's runs of four words had come before; so forbidden, a hundredth
    "safe": GenerationConfig(strategy="top_p", temperature=0.6, top_p=0.9, no_repeat_ngram=4),
    "balanced": GenerationConfig(),
    "wild": GenerationConfig(strategy="min_p", temperature=1.3, min_p=0.05),
}
TUNABLE = tuple(dict.fromkeys(name for names in STRATEGIES.values() for name in names))
"""Every setting that some strategy uses."""
SET_BY_PRESET = (*TUNABLE, "repetition_penalty", "no_repeat_ngram")
"""Length, seed and where a story ends stay as they are."""


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


def offered(writers: Iterable[Writer]) -> list[str]:
    """The strategies that the page offers: best_of_n only if some model can decode so."""
    best = GenerationConfig(strategy=BEST_OF_N)
    can_pick = any(writer.can(best) for writer in writers)
    return [name for name in STRATEGIES if name != BEST_OF_N or can_pick]


def build_settings(strategies: Iterable[str]) -> Settings:
    """Places the widgets where it is called, and wires the strategy to the sliders' visibility."""
    start = GenerationConfig()
    moods = [(fixed(f"preset.{name}"), name) for name in PRESETS]
    preset = gr.Radio(moods, value="balanced", label=fixed("preset"), elem_id="preset")
    choices = [(fixed(f"strategy.{name}"), name) for name in strategies]
    strategy = gr.Dropdown(choices, value=start.strategy, label=fixed("strategy"), elem_id="strategy")
    explanation = gr.Markdown(fixed(f"strategy.{start.strategy}.says"), elem_classes="hint", elem_id="explanation")
    tunable = [_widget(name, visible=name in start.settings) for name in TUNABLE]
    max_new_tokens = _widget("max_new_tokens", visible=True)
    seed = gr.Textbox(label=fixed("label.seed"), info=fixed("help.seed"), max_length=12, elem_id="seed")

    with gr.Accordion(fixed("settings.modifiers"), open=False):
        modifiers = [_widget(name, visible=True) for name in MODIFIERS]

    def show(chosen: str) -> list[Any]:
        return [fixed(f"strategy.{chosen}.says"), *(gr.update(visible=name in STRATEGIES[chosen]) for name in TUNABLE)]

    strategy.change(show, strategy, [explanation, *tunable], queue=False, **QUIET)
    widgets = dict(zip((*TUNABLE, *MODIFIERS), (*tunable, *modifiers), strict=True))
    preset.input(
        lambda name: [getattr(PRESETS[name], setting) for setting in ("strategy", *SET_BY_PRESET)],
        preset,
        [strategy, *(widgets[setting] for setting in SET_BY_PRESET)],
        queue=False,
        **QUIET,
    )
    return Settings(strategy, tunable, modifiers, max_new_tokens, seed)


def _widget(name: str, visible: bool) -> Any:
    """The widget that suits the setting's type: all but a few are sliders."""
    field, kind = field_of(GenerationConfig, name), typing.get_type_hints(GenerationConfig)[name]
    common = {
        "label": fixed(f"label.{name}"),
        "info": fixed(f"help.{name}"),
        "visible": visible,
        "elem_id": name.replace("_", "-"),
    }
    if field.metadata["choices"]:
        return gr.Dropdown(list(field.metadata["choices"]), value=field.default, **common)
    if kind is bool:
        return gr.Checkbox(value=field.default, **common)
    if typing.get_origin(kind) is tuple:
        return gr.Textbox(lines=2, placeholder=fixed("settings.one_to_a_line"), max_length=500, **common)
    low, high = field.metadata["low"], field.metadata["high"]
    return gr.Slider(low, high, value=field.default, step=0.05 if kind is float else 1, **common)
