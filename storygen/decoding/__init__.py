"""From logits to tokens: filters, beam search, and the loop that streams."""

from storygen.decoding.beam import Hypothesis, beam_search
from storygen.decoding.filters import FILTERS, choose, filter_logits
from storygen.decoding.generate import Token, generate_tokens

__all__ = ["FILTERS", "Hypothesis", "Token", "beam_search", "choose", "filter_logits", "generate_tokens"]
