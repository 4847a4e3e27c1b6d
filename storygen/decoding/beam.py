"""Beam search: the most probable sequences that a breadth-limited search finds.

The rules are those of `transformers`' generate: scores are sums of log-probabilities divided by length to the power of
`length_penalty`; the length counts the end token and not the prompt; a hypothesis that reaches the length limit is
finished like any other. Of the 2 * num_beams candidates of a step only the first num_beams may finish; the rest keep
beams alive.
"""

from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from storygen.models import LanguageModel


@dataclass(frozen=True)
class Hypothesis:
    """A sequence of generated tokens (the end token included) and the log-probability of each."""

    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    total: float = 0.0

    def extended(self, token: int, total: float) -> "Hypothesis":
        """The hypothesis with one more token, which brings its log-probability to `total`."""
        return Hypothesis((*self.tokens, token), (*self.logprobs, total - self.total), total)

    def score(self, length_penalty: float) -> float:
        """What hypotheses are ranked by."""
        return self.total / len(self.tokens) ** length_penalty


def beam_search(*arguments: Any, **settings: Any) -> list[Hypothesis]:
    """The best finished hypotheses, at most `num_beams`, best first. Takes what `search_steps` takes."""
    steps = search_steps(*arguments, **settings)
    while True:
        try:
            next(steps)
        except StopIteration as stop:
            return stop.value


@torch.inference_mode()  # PyTorch leaves the mode at each yield and enters it again after
def search_steps(
    model: LanguageModel,
    prompt: Sequence[int],
    end_id: int,
    num_beams: int,
    max_new_tokens: int,
    length_penalty: float = 1.0,
    early_stopping: str = "false",
) -> Generator[None, None, list[Hypothesis]]:
    """Beam search that yields after each step, so that it can be given up, and returns the finished hypotheses.

    `early_stopping`: "true" ends when num_beams are finished; "false" when the best running one, at its present length,
    does not beat the worst finished; "never" when it could not at any length up to the limit.
    """
    device = next(model.parameters()).device
    logits, state = model(torch.tensor([prompt], device=device))
    running = [Hypothesis()]
    finished: list[Hypothesis] = []
    for length in range(1, max_new_tokens + 1):
        logprobs = logits[:, -1].float().log_softmax(dim=-1).cpu()
        totals = logprobs + torch.tensor([hypothesis.total for hypothesis in running])[:, None]  # (beams, vocab)
        best = totals.flatten().topk(min(2 * num_beams, totals.numel()))
        parents: list[int] = []
        extended: list[Hypothesis] = []
        for rank, (total, index) in enumerate(zip(best.values.tolist(), best.indices.tolist(), strict=True)):
            parent, token = divmod(index, totals.shape[1])
            hypothesis = running[parent].extended(token, total)
            if token == end_id or length == max_new_tokens:
                if rank < num_beams:
                    finished.append(hypothesis)
            elif len(extended) < num_beams:
                parents.append(parent)
                extended.append(hypothesis)
        finished = sorted(finished, key=lambda h: -h.score(length_penalty))[:num_beams]
        running = extended
        if not running or (
            len(finished) == num_beams
            and _is_over(running[0], finished[-1], length, max_new_tokens, length_penalty, early_stopping)
        ):
            break
        state = state.select(torch.tensor(parents, device=device))
        logits, state = model(torch.tensor([[h.tokens[-1]] for h in running], device=device), state)
        yield
    return finished


def _is_over(
    best: Hypothesis, worst: Hypothesis, length: int, max_length: int, length_penalty: float, early_stopping: str
) -> bool:
    """Whether search ends: `best` of the running against `worst` of a full set of finished hypotheses."""
    if early_stopping == "true":
        return True
    if early_stopping == "never" and length_penalty > 0:
        length = max_length
    return best.total / length**length_penalty <= worst.score(length_penalty)
