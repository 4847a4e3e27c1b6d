"""The two language models, written by hand, and the table from an architecture's name to its config and class."""

from storygen.config import LSTMConfig, ModelConfig, TransformerConfig
from storygen.models.base import LanguageModel, State
from storygen.models.lstm import LSTM
from storygen.models.transformer import Transformer

__all__ = ["ARCHITECTURES", "LSTM", "LanguageModel", "State", "Transformer", "architecture_of", "build_model"]

ARCHITECTURES = {"transformer": (TransformerConfig, Transformer), "lstm": (LSTMConfig, LSTM)}


def architecture_of(config: ModelConfig) -> str:
    """The name under which a config's class is listed in `ARCHITECTURES`."""
    return next(name for name, (config_class, _) in ARCHITECTURES.items() if type(config) is config_class)


def build_model(config: ModelConfig) -> LanguageModel:
    """A freshly initialised model of that shape."""
    return ARCHITECTURES[architecture_of(config)][1](config)
