import math
import re

import pytest
import torch
import torch.nn.functional as F

from storygen.models import build_model
from storygen.training.optimizer import build_optimizer, orthogonalise, schedule
from storygen.training.settings import TrainConfig
from tests.conftest import tiny_config

MUON = TrainConfig(steps=1, optimizer="muon", learning_rate=0.01, muon_learning_rate=0.02)


def with_gradients(model, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    return model


def test_warm_up_stable_decay():
    config = TrainConfig(steps=100, warmup_steps=4, decay_share=0.4)
    shares = [schedule(config, step, step / 100) for step in range(100)]
    assert shares[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert shares[60] == pytest.approx(1.0)
    assert shares[80] == pytest.approx(0.5)
    assert shares[99] == pytest.approx(0.025)
    assert schedule(config, 500, 1.2) == 0


def test_cosine():
    config = TrainConfig(steps=100, warmup_steps=4, schedule="cosine")
    assert schedule(config, 0, 0.0) == pytest.approx(0.25)
    assert schedule(config, 50, 0.5) == pytest.approx(0.5)
    assert schedule(config, 75, 0.75) == pytest.approx((1 + math.cos(0.75 * math.pi)) / 2)
    assert schedule(config, 101, 1.01) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_only_matrices_decay_and_every_weight_is_trained_once(architecture, optimizer):
    """Decay on gains and biases pulls a normalised model towards zero output; a weight in two groups steps twice."""
    model = build_model(tiny_config(architecture))
    decayed, kept, *hidden = build_optimizer(model, TrainConfig(steps=1, optimizer=optimizer)).param_groups
    assert kept["weight_decay"] == 0
    assert all(p.ndim == 1 for p in kept["params"])
    assert all(group["weight_decay"] == 0.1 for group in (decayed, *hidden))
    assert all(p.ndim >= 2 for group in (decayed, *hidden) for p in group["params"])
    trained = [id(p) for group in (decayed, kept, *hidden) for p in group["params"]]
    assert sorted(trained) == sorted(id(p) for p in model.parameters())
    assert bool(hidden) == (optimizer == "muon")


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_muon_takes_the_hidden_matrices_only(architecture):
    """Rows of embeddings are no directions of one space: orthogonal steps there train worse (Jordan et al. 2024)."""
    model = build_model(tiny_config(architecture, tie_embeddings=False))
    names = {id(p): name for name, p in model.named_parameters()}
    _, _, *hidden = build_optimizer(model, MUON).param_groups
    parts = {re.sub(r"^\w+\.\d+\.", "", names[id(p)]): group["parts"] for group in hidden for p in group["params"]}
    if architecture == "transformer":
        assert parts == {
            "attention.qkv.weight": 3, "attention.out.weight": 1,
            "feed_forward.gate_up.weight": 2, "feed_forward.down.weight": 1,
        }  # fmt: skip
    else:
        assert parts == {"weight_input": 4, "weight_hidden": 4, "projection.weight": 1}


def test_muon_steps_as_torch_does_matrix_by_matrix():
    """Against `torch.optim.Muon` (bfloat16 inside, so only roughly equal) on each part alone, for three steps."""
    model = build_model(tiny_config("transformer"))
    ours = build_optimizer(model, MUON)
    theirs = {
        name: [torch.nn.Parameter(part.detach().clone()) for part in parameter.chunk(model.parts_of(name))]
        for name, parameter in model.named_parameters()
        if name.startswith("blocks") and parameter.ndim == 2
    }
    reference = torch.optim.Muon(
        [part for parts in theirs.values() for part in parts], lr=0.02, momentum=0.95, weight_decay=0.1
    )
    start = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    for seed in range(3):
        with_gradients(model, seed)
        for name, parts in theirs.items():
            for part, gradient in zip(parts, model.get_parameter(name).grad.chunk(len(parts)), strict=True):
                part.grad = gradient.clone()
        ours.step()
        reference.step()
    for name, parts in theirs.items():
        moved = model.get_parameter(name).detach() - start[name]
        expected = torch.cat([part.detach() for part in parts]) - start[name]
        assert (moved - expected).norm() < 0.03 * expected.norm(), name


def test_muon_leaves_the_rest_to_adamw():
    """Embedding and gains step exactly as under AdamW alone."""
    trained = []
    for optimizer in ("muon", "adamw"):
        torch.manual_seed(0)
        model = build_model(tiny_config("transformer"))
        stepper = build_optimizer(model, MUON.replace(optimizer=optimizer))
        for seed in range(3):
            with_gradients(model, seed)
            stepper.step()
        trained.append(dict(model.named_parameters()))
    assert torch.equal(trained[0]["embedding.weight"], trained[1]["embedding.weight"])
    assert torch.equal(trained[0]["norm.weight"], trained[1]["norm.weight"])
    assert not torch.equal(trained[0]["blocks.0.attention.out.weight"], trained[1]["blocks.0.attention.out.weight"])


@pytest.mark.parametrize("shape", [(16, 16), (24, 8), (8, 24)])
def test_orthogonalised_singular_values_are_about_one(shape):
    matrix = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 100
    values = torch.linalg.svdvals(orthogonalise(matrix))
    assert values.min() > 0.3  # the iteration lets the smallest lag behind
    assert values.max() < 1.3
    left, _, right = torch.linalg.svd(matrix, full_matrices=False)
    cosine = F.cosine_similarity(orthogonalise(matrix).flatten(), (left @ right).flatten(), dim=0)
    assert cosine > 0.95


def test_a_gradient_of_zeros_moves_nothing():
    assert torch.equal(orthogonalise(torch.zeros(4, 4)), torch.zeros(4, 4))
