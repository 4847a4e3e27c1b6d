"""Where a Transformer looks: the attention weights of every layer and head, by the model's written-out equations."""

from collections.abc import Sequence

import torch
from torch import Tensor

from storygen.models.transformer import Transformer


@torch.inference_mode()
def attention_maps(model: Transformer, tokens: Sequence[int]) -> Tensor:
    """How much each token (third index) looks at each token (fourth): (layers, heads, time, time).

    Rows add up to 1; nothing looks ahead. The model takes its written-out path meanwhile, so call this where nothing
    else runs it at the same time.
    """
    device, fused, maps = next(model.parameters()).device, model.fused, []
    hooks = [
        block.attention.weights.register_forward_hook(lambda _, __, weights: maps.append(weights[0]))
        for block in model.blocks
    ]
    try:
        model.use_fused(False)
        model(torch.tensor([list(tokens)], device=device))
    finally:
        model.use_fused(fused)
        for hook in hooks:
            hook.remove()
    return torch.stack(maps).float().cpu()
