"""What a run costs: arithmetic for each token, and memory before the first step."""

import torch

from storygen.config import ModelConfig, TransformerConfig
from storygen.errors import StorygenError
from storygen.models import LanguageModel, build_model
from storygen.training.settings import TrainConfig

BYTES_PER_PARAMETER = 16
"""Weight, gradient and the two averages of AdamW, in float32."""


def flops_per_token(model: LanguageModel, width: int) -> float:
    """Floating-point operations of a training step for each token, in rows of `width` tokens.

    6 for each weight of a matrix that is multiplied (Kaplan et al. 2020, section 2.1), and for attention 12 times
    layers times width of the model times the mean number of tokens looked back at.
    """
    multiplied = sum(
        p.numel() for name, p in model.named_parameters() if p.ndim == 2 and name.split(".")[0] != "positions"
    )
    if not model.config.tie_embeddings:
        multiplied -= model.embedding.weight.numel()  # looked up; tied, the same matrix is multiplied at the output
    attention = 0.0
    if isinstance(model.config, TransformerConfig):
        attention = (
            12 * model.config.num_layers * model.config.hidden_size * min(width, model.config.context_length) / 2
        )
    return 6 * multiplied + attention


def bytes_needed(model: ModelConfig, train: TrainConfig, longest: int, shards: int = 1) -> int:
    """A lower bound of the memory of a step: weights, gradients, optimizer, and what no batch can do without.

    That is the logits with their gradient, and one activation a layer. `longest` is the number of tokens of the longest
    story, `shards` the number of processes that share one copy of the model.
    """
    with torch.device("meta"):  # shapes only
        parameters = build_model(model).num_parameters
    tokens = max(train.batch_tokens, min(model.context_length, longest))
    a_token = 8 * model.vocab_size + 4 * model.num_layers * model.hidden_size
    return BYTES_PER_PARAMETER * parameters // shards + tokens * a_token


def check_memory(model: ModelConfig, train: TrainConfig, free: int, longest: int, shards: int = 1) -> None:
    """Refuses a run that can't fit into so many bytes, whatever happens."""
    needed = bytes_needed(model, train, longest, shards)
    if needed > free:
        raise StorygenError(
            f"this run needs at least {needed / 1e9:.1f} GB and {free / 1e9:.1f} GB are free; lower batch_tokens "
            f"({train.batch_tokens}; raise accumulate to make up for it), hidden_size ({model.hidden_size}) or "
            f"num_layers ({model.num_layers})"
        )
