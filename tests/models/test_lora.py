import pytest
import torch

from storygen.errors import StorygenError
from storygen.models import build_model
from storygen.models.lora import SCALE, add_adapters, merged
from tests.conftest import lively, tiny_config

TOKENS = torch.tensor([[3, 1, 4, 1, 5, 9, 2, 6]])


@pytest.fixture(params=["transformer", "lstm"])
def plain(request):
    return lively(build_model(tiny_config(request.param, 50)))


def adapted(plain, rank=2):
    model = build_model(plain.config)
    model.load_state_dict(plain.state_dict())
    return add_adapters(model, rank)


def stirred(model):
    """Adapters that have learned something."""
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(".b"):
                parameter.normal_(std=0.1)
    return model.eval()


def test_an_adapter_begins_as_no_change(plain):
    """With B other than zero the first step would start from a damaged model."""
    assert torch.equal(adapted(plain).eval()(TOKENS)[0], plain(TOKENS)[0])


def test_only_the_adapters_learn(plain):
    model = adapted(plain).train()
    model(TOKENS)[0].logsumexp(-1).sum().backward()
    learned = {name for name, parameter in model.named_parameters() if parameter.grad is not None}
    assert learned and all(".parametrizations." in name and name.endswith((".a", ".b")) for name in learned)
    assert not any(name.startswith(("embedding", "head")) for name in learned)


def test_the_merged_model_is_the_sum(plain):
    """Merged by the formula of the paper, and the same as the adapted model in both paths, the step of decoding too."""
    model = stirred(adapted(plain))
    together = merged(model).eval()
    weights = dict(plain.named_parameters())
    state = dict(model.named_parameters())
    for name, weight in together.named_parameters():
        module, _, leaf = name.rpartition(".")
        adapter = f"{module}.parametrizations.{leaf}.0"
        change = SCALE * state[f"{adapter}.b"] @ state[f"{adapter}.a"] if f"{adapter}.a" in state else 0.0
        assert torch.allclose(weight, weights[name] + change, atol=1e-6), name
    with torch.no_grad():
        expected, _ = together(TOKENS)
        assert torch.allclose(model(TOKENS)[0], expected, atol=1e-5)
        _, memory = model(TOKENS[:, :-1])
        assert torch.allclose(model(TOKENS[:, -1:], memory)[0][:, -1], expected[:, -1], atol=1e-4)
    assert not torch.allclose(expected, plain(TOKENS)[0], atol=1e-2)


def test_a_rank_above_that_of_the_matrices_is_refused(plain):
    with pytest.raises(StorygenError, match=r"lora_rank is 99; the smallest matrix of the model allows \d+ at most"):
        adapted(plain, 99)
