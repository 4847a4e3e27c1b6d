"""Modifiers of log-probabilities: what any strategy, sampling and beam search alike, is told to avoid.

All act on log-probabilities, before temperature and filters, and look at the whole history, the prompt included.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from storygen.config import GenerationConfig

BANNED = float("-inf")


def repetition_penalty(logprobs: Tensor, history: Sequence[int], penalty: float) -> Tensor:
    """Multiplies the log-probability of each token in the history, once however often it is there (Keskar et al. 2019).

    The paper and `transformers` act on logits when sampling, dividing those above 0, so that adding a constant to all
    logits changes the outcome, and on log-probabilities in beam search. Here it is log-probabilities everywhere.
    """
    seen = torch.tensor(sorted(set(history)), dtype=torch.long, device=logprobs.device)
    return logprobs.index_copy(-1, seen, logprobs[..., seen] * penalty)


def no_repeat_ngram(logprobs: Tensor, history: Sequence[int], size: int) -> Tensor:
    """Bans each token that would write a run of `size` tokens for the second time (Paulus et al. 2018).

    With a size of 1 every token of the history is banned, the prompt's too; the end token may be among the banned.
    """
    last = tuple(history[len(history) - size + 1 :])
    starts = range(len(history) - size + 1)
    banned = {history[start + size - 1] for start in starts if tuple(history[start : start + size - 1]) == last}
    return ban(logprobs, banned)


def ban(logprobs: Tensor, tokens: Sequence[int] | set[int]) -> Tensor:
    """Gives these tokens a probability of 0."""
    if not tokens:
        return logprobs
    return logprobs.index_fill(-1, torch.tensor(sorted(tokens), device=logprobs.device), BANNED)


def is_modified(config: GenerationConfig) -> bool:
    """Whether `modify` has anything to do."""
    return config.repetition_penalty != 1.0 or config.no_repeat_ngram > 0 or config.min_new_tokens > 0


def modify(
    logprobs: Tensor, prompt: Sequence[int], written: Sequence[int], end_id: int, config: GenerationConfig
) -> Tensor:
    """The log-probabilities (vocab,) of a sequence's next token after all modifiers; the same tensor if none acts."""
    if config.repetition_penalty != 1.0:
        logprobs = repetition_penalty(logprobs, [*prompt, *written], config.repetition_penalty)
    if config.no_repeat_ngram:
        logprobs = no_repeat_ngram(logprobs, [*prompt, *written], config.no_repeat_ngram)
    if len(written) < config.min_new_tokens:
        logprobs = ban(logprobs, [end_id])
    return logprobs
