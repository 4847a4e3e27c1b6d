"""The two language models, written by hand, and the table from an architecture's name to its config and class."""

from typing import Any

from storygen.config import LSTMConfig, ModelConfig, TransformerConfig, unknown_name
from storygen.models.base import LanguageModel, State
from storygen.models.lstm import LSTM
from storygen.models.transformer import Transformer

__all__ = [
    "ARCHITECTURES", "LSTM", "LanguageModel", "State", "Transformer", "architecture_of", "build_model",
    "config_from_dict", "config_to_dict",
]  # fmt: skip

ARCHITECTURES = {"transformer": (TransformerConfig, Transformer), "lstm": (LSTMConfig, LSTM)}


def architecture_of(config: ModelConfig) -> str:
    """The name under which a config's class is listed in `ARCHITECTURES`."""
    return next(name for name, (config_class, _) in ARCHITECTURES.items() if type(config) is config_class)


def config_to_dict(config: ModelConfig) -> dict[str, Any]:
    """A model's shape as JSON values, the name of its architecture first."""
    return {"architecture": architecture_of(config), **config.to_dict()}


def config_from_dict(values: dict[str, Any]) -> ModelConfig:
    """The shape that `config_to_dict` wrote; StorygenError for an unknown architecture or field."""
    fields = dict(values)
    architecture = fields.pop("architecture", None)
    if not isinstance(architecture, str) or architecture not in ARCHITECTURES:
        raise unknown_name("architecture", architecture, ARCHITECTURES)
    return ARCHITECTURES[architecture][0].from_dict(fields)


def build_model(config: ModelConfig) -> LanguageModel:
    """A freshly initialised model of that shape."""
    return ARCHITECTURES[architecture_of(config)][1](config)
