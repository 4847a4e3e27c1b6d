"""From logits to tokens: modifiers, filters, sampling, beam search, and the engine for many at once."""

from storygen.decoding.beam import BeamSearch, Hypothesis
from storygen.decoding.engine import Engine
from storygen.decoding.filters import FILTERS, filter_logits
from storygen.decoding.request import Generation, Token
from storygen.decoding.sampling import choose

__all__ = ["FILTERS", "BeamSearch", "Engine", "Generation", "Hypothesis", "Token", "choose", "filter_logits"]
