"""Beam search: the most probable sequences that a breadth-limited search finds.

The rules are those of `transformers`' generate: scores are sums of log-probabilities divided by length to the power of
`length_penalty`; the length counts the end token and not the prompt; a hypothesis that reaches the length limit is
finished like any other. Of the 2 * num_beams candidates of a step only the first num_beams may finish; the rest keep
beams alive. Modifiers act on the log-probabilities that are summed.
"""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from storygen.config import GenerationConfig
from storygen.decoding.modifiers import is_modified, modify


@dataclass(frozen=True)
class Hypothesis:
    """A sequence of generated tokens, the end token included."""

    tokens: tuple[int, ...] = ()
    logprobs: tuple[float, ...] = ()
    """Log-probability of each token under the model itself."""
    total: float = 0.0
    """What the search has summed: log-probabilities after modifiers and, in groups, the diversity penalty."""
    finish_reason: str = ""

    def score(self, length_penalty: float) -> float:
        """What hypotheses are ranked by."""
        return self.total / max(1, len(self.tokens)) ** length_penalty


class BeamSearch:
    """One search. It is told the log-probabilities of its rows and says which rows go on, and with which tokens.

    In groups (diverse beam search, Vijayakumar et al. 2018) each group is a search of its own with a share of the
    beams; a token loses `diversity_penalty` for each time that earlier groups have chosen it at the same step.
    """

    def __init__(
        self,
        prompt: Sequence[int],
        end_id: int,
        config: GenerationConfig,
        max_new_tokens: int | None = None,
        is_over: Callable[[Sequence[int]], bool] | None = None,
    ) -> None:
        self.prompt, self.end_id, self.config, self.is_over = prompt, end_id, config, is_over
        self.max_new_tokens = config.max_new_tokens if max_new_tokens is None else max_new_tokens
        groups = config.num_groups if config.strategy == "diverse_beam" else 1
        self.width = config.num_beams // groups
        """Beams of each group."""
        self.groups = [Group([Hypothesis()], []) for _ in range(groups)]
        self.length = 0

    @property
    def rows(self) -> list[Hypothesis]:
        """The running hypotheses, one for each row that the model works on."""
        return [hypothesis for group in self.groups for hypothesis in group.running]

    @property
    def finished(self) -> list[Hypothesis]:
        """The finished hypotheses of all groups, best first."""
        found = [hypothesis for group in self.groups for hypothesis in group.finished]
        return sorted(found, key=lambda h: -h.score(self.config.length_penalty))

    def advance(self, logprobs: Tensor) -> tuple[list[int], list[int]]:
        """Takes a step: the log-probabilities (rows, vocab) after each row, to (parents, tokens) of the rows after it.

        At the first step all groups stand on one row, the prompt's. No rows are returned when the search is over.
        """
        self.length += 1
        parents: list[int] = []
        tokens: list[int] = []
        chosen: Counter[int] = Counter()
        first = 0
        for group in self.groups:
            count = len(group.running)
            mine = logprobs[:1] if self.length == 1 else logprobs[first : first + count]
            offset, first = (0 if self.length == 1 else first), first + count
            if not count:
                continue
            rows, newest = self._advance_group(group, mine, chosen)
            parents += [offset + row for row in rows]
            tokens += [hypothesis.tokens[-1] for hypothesis in group.running]
            chosen.update(token for token in newest if token != self.end_id)  # stories may end at the same time
        return parents, tokens

    def _advance_group(self, group: "Group", logprobs: Tensor, chosen: Counter[int]) -> tuple[list[int], list[int]]:
        """Takes the group's step: which of its rows each running hypothesis extends, and the tokens taken."""
        scores = self._scores(group.running, logprobs, chosen)
        totals = scores + torch.tensor([hypothesis.total for hypothesis in group.running])[:, None]  # (beams, vocab)
        best = totals.flatten().topk(min(2 * self.width, totals.numel()))
        own = logprobs.flatten()[best.indices].tolist()
        last = self.length == self.max_new_tokens
        rows: list[int] = []
        newest: list[int] = []
        running: list[Hypothesis] = []
        for rank, (total, index, logprob) in enumerate(
            zip(best.values.tolist(), best.indices.tolist(), own, strict=True)
        ):
            if total == float("-inf"):
                break  # banned, like all that follow
            row, token = divmod(index, totals.shape[1])
            parent = group.running[row]
            tokens = (*parent.tokens, token)
            reason = self._finish_reason(tokens, last)
            if reason and rank >= self.width:
                continue
            if not reason and len(running) == self.width:
                continue
            newest.append(token)
            grown = Hypothesis(tokens, (*parent.logprobs, logprob), total, reason)
            if reason:
                group.finished.append(grown)
            else:
                rows.append(row)
                running.append(grown)
        if not running and not group.finished:  # everything is banned: what there is must do
            group.finished = [
                Hypothesis(parent.tokens, parent.logprobs, parent.total, "exhausted") for parent in group.running
            ]
        group.finished = sorted(group.finished, key=lambda h: -h.score(self.config.length_penalty))[: self.width]
        if len(group.finished) == self.width and running and self._is_settled(running[0], group.finished[-1]):
            rows, running = [], []
        group.running = running
        return rows, newest

    def _scores(self, running: list[Hypothesis], logprobs: Tensor, chosen: Counter[int]) -> Tensor:
        """The log-probabilities (beams, vocab) that the search goes by."""
        scores = logprobs
        if is_modified(self.config):
            rows = zip(logprobs, running, strict=True)
            scores = torch.stack([modify(row, self.prompt, h.tokens, self.end_id, self.config) for row, h in rows])
        if chosen:
            taken = torch.tensor([*chosen])
            penalty = self.config.diversity_penalty * torch.tensor([*chosen.values()], dtype=scores.dtype)
            scores = scores.index_add(1, taken, -penalty.expand(len(scores), -1))
        return scores

    def _finish_reason(self, tokens: tuple[int, ...], last: bool) -> str:
        if tokens[-1] == self.end_id:
            return "end"
        if self.is_over is not None and self.is_over(tokens):
            return "stop"
        return reason_at_limit(self.max_new_tokens, self.config) if last else ""

    def _is_settled(self, best: Hypothesis, worst: Hypothesis) -> bool:
        """Whether a group's search ends: `best` of the running against `worst` of a full set of finished hypotheses.

        `early_stopping` "true": always; "false": unless the best running one beats it at its present length; "never":
        unless it could at some length up to the limit.
        """
        config, length = self.config, self.length
        if config.early_stopping == "true":
            return True
        if config.early_stopping == "never" and config.length_penalty > 0:
            length = self.max_new_tokens
        return best.total / length**config.length_penalty <= worst.score(config.length_penalty)


@dataclass
class Group:
    """The beams that search together."""

    running: list[Hypothesis]
    finished: list[Hypothesis]


def reason_at_limit(budget: int, config: GenerationConfig) -> str:
    """Why a story ends after `budget` tokens: as many were asked for, or the model can read no more."""
    return "length" if budget == config.max_new_tokens else "context"
