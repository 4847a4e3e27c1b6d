"""Why a story reads as it does: the choice behind each token, what the model looked at, and what else it might be."""

from storygen.explain.beams import Beam, beam_tree
from storygen.explain.branches import Branches, branch_off
from storygen.explain.inside import Attention, Memory, look_inside
from storygen.explain.steps import Choice, Step, explain
from storygen.explain.words import Word, token_texts, words_of

__all__ = [
    "Attention",
    "Beam",
    "Branches",
    "Choice",
    "Memory",
    "Step",
    "Word",
    "beam_tree",
    "branch_off",
    "explain",
    "look_inside",
    "token_texts",
    "words_of",
]
