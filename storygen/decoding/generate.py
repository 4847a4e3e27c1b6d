"""The decoding loop for one sequence. It knows token ids only: text is the caller's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from storygen.config import GenerationConfig
from storygen.decoding.beam import search_steps
from storygen.decoding.filters import choose
from storygen.models import LanguageModel


@dataclass(frozen=True)
class Token:
    """A generated token and its log-probability under the model itself, before any filter."""

    id: int
    logprob: float


def generate_tokens(
    model: LanguageModel, prompt: Sequence[int], config: GenerationConfig, end_id: int
) -> Iterator[Token | None]:
    """Yields tokens as they are chosen, the end token included; at most `max_new_tokens`.

    Also ends when the model can't read any more (learned positions). Beam search knows its tokens only at its
    end; until then it yields None after each step, so that the caller can give up.
    """
    budget = config.max_new_tokens
    if model.max_positions is not None:
        budget = min(budget, model.max_positions - len(prompt) + 1)
    if config.strategy == "beam":
        steps = search_steps(
            model, prompt, end_id, config.num_beams, budget, config.length_penalty, config.early_stopping
        )
        best = (yield from steps)[0]
        yield from map(Token, best.tokens, best.logprobs)
        return
    generator = torch.Generator().manual_seed(config.seed or 0)
    device = next(model.parameters()).device
    state, tokens = None, list(prompt)
    for _ in range(budget):
        with torch.inference_mode():  # not around the yield: the caller's own code runs there
            logits, state = model(torch.tensor([tokens], device=device), state)
            logprobs = logits[0, -1].float().log_softmax(dim=-1)
            token = choose(logits[0, -1], config, generator)
        yield Token(token, float(logprobs[token]))
        if token == end_id:
            return
        tokens = [token]
