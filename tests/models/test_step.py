"""The fast path of single tokens: the same logits as the modules, whatever happens to the weights in between."""

import copy
import pickle

import pytest
import torch

from storygen.models import build_model
from storygen.training.optimizer import build_optimizer
from storygen.training.settings import TrainConfig
from tests.conftest import lively, tiny_config

CONFIGS = {
    "transformer": tiny_config("transformer"),
    "llama": tiny_config("transformer", qk_norm=False, tie_embeddings=False),
    "lstm": tiny_config("lstm"),
}


@pytest.fixture(params=CONFIGS)
def model(request):
    model = lively(build_model(CONFIGS[request.param])).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "norm" in name:
                parameter.uniform_(0.5, 1.5)  # at 1 all norms are alike
    return model


TEXT = torch.arange(5, 25)[None]


@torch.inference_mode()
def single(model):
    """Logits after the last token, which was read alone."""
    return model(TEXT[:, -1:], model(TEXT[:, :-1])[1])[0][0, -1]


@torch.inference_mode()
def check(model):
    torch.testing.assert_close(single(model), model(TEXT)[0][0, -1], atol=1e-4, rtol=1e-4)
    assert model._step is not None, "the path that this is about was not taken"


def test_single_tokens_give_the_same_logits(model):
    check(model)


def train_a_little(model):
    """As `train.pretrain` does: its optimizer is fused and leaves no trace in the weights' version counters."""
    optimizer = build_optimizer(model.train(), TrainConfig(steps=1, learning_rate=0.1))
    model(TEXT)[0].square().mean().backward()
    optimizer.step()
    model.eval()


def load_others(model):
    model.load_state_dict({name: 0.7 * weight for name, weight in model.state_dict().items()}, assign=True)


@torch.no_grad()
def write_in_place(model):
    for parameter in model.parameters():
        parameter.mul_(0.7)


def move(model):
    model.double().float()
    model.embedding.weight.data = 0.5 * model.embedding.weight


@pytest.mark.parametrize("change", [train_a_little, load_others, write_in_place, move])
def test_changed_weights_are_noticed(model, change):
    """The samples of a training run were once drawn from the weights of the first sample."""
    before = single(model)
    change(model)
    if change is move:
        model.eval()
    check(model)
    assert not torch.allclose(single(model), before, atol=1e-3)


def test_a_model_that_has_decoded_can_be_copied(model):
    """What is laid out for oneDNN is opaque: copying and pickling it is an error."""
    check(model)
    check(copy.deepcopy(model))
    check(pickle.loads(pickle.dumps(model)))
