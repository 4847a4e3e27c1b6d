import shutil

import pytest
import torch

from storygen.models import build_model, compiled
from storygen.models.compiled import compile_step
from tests.conftest import lively, tiny_config


@pytest.fixture
def model():
    return lively(build_model(tiny_config("transformer", num_layers=1, context_length=40))).eval()


def tokens(*shape, seed=0):
    return torch.randint(0, 400, shape, generator=torch.Generator().manual_seed(seed))


@torch.inference_mode()
def read(model, text, rows_joined=0):
    """Logits after each token but the first three, one at a time, with rows that join half-way."""
    logits, state = [], model(text[: len(text) - rows_joined, :3])[1]
    for at in range(3, text.shape[1]):
        if at == 20 and rows_joined:
            state = state.join(model(text[len(text) - rows_joined :, at - 9 : at])[1])
        out, state = model(text[: state.rows, at : at + 1], state)
        logits.append(out[:1])
    return torch.cat(logits, dim=1)


@pytest.mark.skipif(shutil.which("g++") is None, reason="compiling needs a C++ compiler")
@pytest.mark.timeout(400)  # three runs of the C++ compiler: half a minute alone, far more beside others
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_the_compiled_step_gives_the_same_logits_and_is_compiled_only_once(model, monkeypatch):
    """For every number of rows, past the context, and with rows that join; each recompilation would halt the app."""
    monkeypatch.setattr(compiled, "TUNING", {})  # saves half the time
    texts = [(tokens(rows, 70, seed=rows), joined) for rows, joined in ((1, 0), (2, 0), (3, 1), (4, 2), (9, 0))]
    expected = [read(model, *text) for text in texts]
    assert compile_step(model)
    with torch.compiler.set_stance("fail_on_recompile"):
        found = [read(model, *text) for text in texts]
    for logits, reference in zip(found, expected, strict=True):
        torch.testing.assert_close(logits, reference, atol=1e-4, rtol=1e-4)


def test_where_it_cannot_be_compiled_the_plain_step_is_used(model, monkeypatch):
    """A machine without a compiler must still write."""

    def fails(*_, **__):
        return lambda *_: (_ for _ in ()).throw(RuntimeError("no C++ compiler found"))

    text = tokens(1, 10)
    expected = read(model, text)
    monkeypatch.setattr(torch, "compile", fails)
    with pytest.warns(UserWarning, match="could not be compiled, so the plain one is used: no C\\+\\+ compiler"):
        assert not compile_step(model)
    torch.testing.assert_close(read(model, text), expected)


def test_a_model_without_a_step_is_told(model):
    with pytest.warns(UserWarning, match="no step to compile"):
        assert not compile_step(model.use_fused(False))
