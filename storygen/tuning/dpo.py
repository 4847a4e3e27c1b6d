"""Direct Preference Optimization (Rafailov et al. 2023, arXiv 2305.18290): a model learns from pairs of stories.

What it prefers is how much likelier it makes a story than the reference, the model it started from, does. The loss is
that of Bradley and Terry on the difference of two such preferences, so that no reward model is needed.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from storygen.config import option
from storygen.data.batches import IGNORED
from storygen.evaluation.likelihood import rows_to_score
from storygen.models import LanguageModel
from storygen.tuning.preferences import Pair, PairsConfig, logprobs
from storygen.tuning.told import Told


@dataclass(frozen=True)
class DPOConfig(PairsConfig):
    """How a model is tuned on preference pairs."""

    beta: float = option(
        0.03, "How strongly the model is held to what it was; with length_normalised take 5 or so.", low=1e-4
    )
    length_normalised: bool = option(False, "Divide log-probabilities by the length of the story in tokens.")
    epochs: float = option(2.0, "Passes over the pairs, at most.", low=0.01)
    learning_rate: float = option(1e-4, "Highest learning rate of AdamW.", low=0.0)
    batch_pairs: int = option(32, "Pairs in a batch; 32 of 900 characters take 6 GB.", low=1)
    lora_rank: int = option(0, "Train low-rank adapters of this rank in place of all weights; 0: don't.", low=0)
    looks: int = option(3, "Validations in an epoch.", low=1)
    patience: int = option(3, "End after this many validations without a better one.", low=1)
    max_kl: float = option(
        0.15, "End when the model is farther than this from what it was: nats a token on validation stories.", low=0.0
    )
    max_worse: float = option(
        0.03, "End when bits per byte on the text to be kept are worse by more than this share.", low=0.0
    )


def margin(
    chosen: Tensor,
    rejected: Tensor,
    reference_chosen: Tensor,
    reference_rejected: Tensor,
    lengths: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """How much more a model than its reference prefers the chosen stories, from their log-probabilities (pairs,).

    With `lengths`, in tokens, each log-ratio is per token (Lambert et al. 2024, arXiv 2411.15124, section 5), so that
    long stories don't count for more.
    """
    chosen, rejected = chosen - reference_chosen, rejected - reference_rejected
    if lengths is not None:
        chosen, rejected = chosen / lengths[0], rejected / lengths[1]
    return chosen - rejected


def dpo_loss(margins: Tensor, beta: float) -> Tensor:
    """-log sigmoid(beta * margin) of each pair: equation 7 of the paper."""
    return -F.logsigmoid(beta * margins)


@torch.no_grad()
def reference_logprobs(model: LanguageModel, pairs: Sequence[Pair], batch: int) -> Tensor:
    """Log-probabilities of first and second stories (pairs, 2) under the model, to be computed once."""
    model.eval()
    parts = [pairs[start : start + batch] for start in range(0, len(pairs), batch)]
    return torch.cat([pair_logprobs(model, part) for part in parts])


def pair_logprobs(model: LanguageModel, pairs: Sequence[Pair]) -> Tensor:
    """Log-probabilities of first and second stories: (pairs, 2)."""
    stories: list[Told] = [story for pair in pairs for story in (pair.first, pair.second)]
    return logprobs(model, stories).view(len(pairs), 2)


class PreferenceLoss(nn.Module):
    """The model with the loss of a batch of pairs."""

    def __init__(self, model: LanguageModel, config: DPOConfig) -> None:
        super().__init__()
        self.model, self.config = model, config

    def margins(self, pairs: Sequence[Pair], reference: Tensor) -> Tensor:
        """How much more the model than its reference prefers first stories over second ones (pairs,)."""
        device = next(self.model.parameters()).device
        first, second = pair_logprobs(self.model, pairs).unbind(1)
        lengths = None
        if self.config.length_normalised:
            lengths = tuple(
                torch.tensor([getattr(pair, side).scored for pair in pairs], device=device)
                for side in ("first", "second")
            )
        return margin(first, second, *reference.to(device).unbind(1), lengths)

    def forward(self, pairs: Sequence[Pair], reference: Tensor) -> Tensor:
        """The mean loss over votes: each pair counts as often as there are votes for either side, by their weight."""
        return weighted_loss(self.margins(pairs, reference), pairs, self.config.beta).mean()


def weighted_loss(margins: Tensor, pairs: Sequence[Pair], beta: float) -> Tensor:
    """The losses of all votes on each pair, added up: those for the first story and those for the second (pairs,)."""
    for_first, for_second = votes_of(pairs, margins)
    return for_first * dpo_loss(margins, beta) + for_second * dpo_loss(-margins, beta)


def votes_of(pairs: Sequence[Pair], like: Tensor) -> tuple[Tensor, Tensor]:
    """What is said for the first stories and for the second, (pairs,) each."""
    return like.new_tensor([pair.for_first for pair in pairs]), like.new_tensor([pair.for_second for pair in pairs])


@dataclass(frozen=True)
class PreferenceFigures:
    """How a model stands to held-out votes, each by its weight."""

    preference_loss: float
    accuracy: float
    """Share of the votes that the model's preference agrees with; no preference is half."""
    margin: float
    """Mean of beta times the margin in favour of what was voted for: the reward margin of the paper."""


def preference_figures(margins: Tensor, pairs: Sequence[Pair], beta: float) -> PreferenceFigures:
    """The figures of margins (pairs,)."""
    for_first, for_second = votes_of(pairs, margins)
    votes = (for_first + for_second).sum()
    agrees = (margins > 0).float() + 0.5 * (margins == 0).float()
    return PreferenceFigures(
        preference_loss=(weighted_loss(margins, pairs, beta).sum() / votes).item(),
        accuracy=((for_first * agrees + for_second * (1 - agrees)).sum() / votes).item(),
        margin=(beta * ((for_first - for_second) * margins).sum() / votes).item(),
    )


@torch.no_grad()
def divergence(model: LanguageModel, reference: LanguageModel, stories: Sequence[Told], batch: int = 16) -> float:
    """Mean KL divergence of the model's next token from the reference's, in nats, at the stories' own tokens.

    Exact at each token, over the whole vocabulary; the tokens are those of the stories, not drawn anew.
    """
    nats, count = 0.0, 0
    for start in range(0, len(stories), batch):
        pieces = [(story.tokens, story.scored) for story in stories[start : start + batch]]
        inputs, targets = rows_to_score(pieces)
        device = next(model.parameters()).device
        own = (targets != IGNORED).to(device)
        logits = [each.eval()(inputs.to(device))[0][own].float().log_softmax(-1) for each in (model, reference)]
        nats += F.kl_div(logits[1], logits[0], reduction="sum", log_target=True).item()
        count += int(own.sum())
    return nats / count
