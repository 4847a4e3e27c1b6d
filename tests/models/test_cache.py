import pytest
import torch

from storygen.models import build_model
from tests.conftest import lively, tiny_config


@pytest.fixture(params=["transformer", "transformer-explicit", "transformer-sinusoidal", "lstm"])
def model(request):
    architecture, _, variant = request.param.partition("-")
    changes = {"context_length": 24} if architecture == "transformer" else {}
    if variant == "sinusoidal":
        changes["positions"] = variant
    return lively(build_model(tiny_config(architecture, **changes))).eval().use_fused(variant != "explicit")


def tokens(*shape, seed=0):
    return torch.randint(0, 400, shape, generator=torch.Generator().manual_seed(seed))


def whole(model, text):
    """Logits after the last token, from one pass over all."""
    return model(text[None])[0][0, -1]


@torch.inference_mode()
def test_rows_that_join_and_leave_read_as_if_alone(model):
    """Rows of different lengths share one memory: an offset wrong by one, or stale slots, change what a row sees."""
    texts = {name: tokens(length, seed=length) for name, length in (("a", 90), ("b", 75), ("c", 120), ("d", 60))}
    read = {"a": 3, "b": 30, "c": 1, "d": 12}
    active, state = ["a"], model(texts["a"][None, :3])[1]
    arrivals = {2: "b", 9: "c", 30: "d"}
    for step in range(45):
        if step in arrivals:
            name = arrivals[step]
            state = state.join(model(texts[name][None, : read[name]])[1])
            active.append(name)
        if step == 20:  # one leaves and the others change places
            active = [active[2], active[0]]
            state = state.select([2, 0])
        following = torch.stack([texts[name][read[name]] for name in active])[:, None]
        logits, state = model(following, state)
        for row, name in enumerate(active):
            read[name] += 1
            expected = whole(model, texts[name][: read[name]])
            torch.testing.assert_close(logits[row, -1], expected, atol=2e-4, rtol=2e-4, msg=f"{name} at step {step}")


@torch.inference_mode()
def test_rows_that_branch_read_as_if_alone(model):
    """Only what differs between two branches is copied; taking too much for shared mixes up their stories."""
    generator = torch.Generator().manual_seed(3)
    texts = [tokens(5, seed=1).tolist(), tokens(9, seed=2).tolist()]
    _, state = model(torch.tensor([texts[0]]))
    state = state.join(model(torch.tensor([texts[1]]))[1])
    for step in range(60):
        count = int(torch.randint(1, 7, (1,), generator=generator))
        rows = torch.randint(0, len(texts), (count,), generator=generator).tolist()
        if step == 30:
            state = state.join(model(torch.tensor([tokens(40, seed=4).tolist()]))[1])
            texts.append(tokens(40, seed=4).tolist())
            rows[0] = len(texts) - 1
        following = torch.randint(0, 400, (count,), generator=generator).tolist()
        texts = [[*texts[row], token] for row, token in zip(rows, following, strict=True)]
        logits, state = model(torch.tensor(following)[:, None], state.select(rows))
        for row, text in enumerate(texts):
            expected = whole(model, torch.tensor(text))
            torch.testing.assert_close(logits[row, -1], expected, atol=2e-4, rtol=2e-4, msg=f"{row} at step {step}")


@torch.inference_mode()
def test_rows_of_different_lengths_read_several_tokens_at_once(model):
    texts = [tokens(40, seed=1), tokens(17, seed=2)]
    _, state = model(texts[0][None, :30])
    state = state.join(model(texts[1][None, :7])[1])
    logits, _ = model(torch.stack((texts[0][30:], texts[1][7:])), state)
    for row, text in enumerate(texts):
        torch.testing.assert_close(logits[row, -1], whole(model, text), atol=2e-4, rtol=2e-4)


@pytest.fixture
def small():
    """A Transformer; made outside inference mode, in which weights do not tell when they are changed."""
    return lively(build_model(tiny_config("transformer", context_length=16))).eval()


@torch.inference_mode()
def test_what_a_broken_row_has_left_harms_no_other(small):
    """Masked slots are multiplied by 0, and 0 times a NaN is a NaN."""
    model = small
    _, state = model(tokens(3, 20))
    state.reserve(1)
    state._memory[:, :, 1:] = torch.nan
    state = state.select([0])
    text = tokens(8, seed=5)
    state = state.join(model(text[None])[1]).join(model(tokens(1, 40, seed=6))[1])
    logits, _ = model(tokens(3, 1, seed=7), state)
    assert logits.isfinite().all()
    torch.testing.assert_close(logits[1, -1], whole(model, torch.cat((text, tokens(3, 1, seed=7)[1]))))


@torch.inference_mode()
def test_the_memory_does_not_grow_with_the_story(small):
    """Past the context the window slides; slots that nothing can see any more must be used again."""
    _, state = small(tokens(1, 5))
    for step in range(500):
        _, state = small(tokens(1, 1, seed=step), state)
    assert state.positions == [505]
    assert state._memory.shape[4] < 150
