"""The same weights in `transformers` decode to the same stories, where its rules and ours are the same."""

import pytest
import torch

from storygen.config import GenerationConfig
from storygen.decoding import Engine, filter_logits
from storygen.decoding.filters import top_k
from storygen.decoding.modifiers import repetition_penalty
from tests.decoding.test_beam import search
from tests.test_export import exported, one_thread, transformers  # noqa: F401  fixtures

PROMPTS = ([5, 6, 7], [12], [100, 31, 8, 200, 31, 8])


@pytest.fixture(scope="module", params=["llama", "qwen3"])
def pair(request, tmp_path_factory, transformers, tokenizer):  # noqa: F811
    """Our model and theirs, loaded from its export."""
    folder = tmp_path_factory.mktemp(request.param) / "exported"
    loaded = exported(folder, tokenizer, qk_norm=request.param == "qwen3")
    return loaded.model.eval(), transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()


@torch.inference_mode()
def generate(model, prompt, **settings):
    settings = {"do_sample": False, "pad_token_id": 0, "return_dict_in_generate": True, **settings}
    tokens = torch.tensor([prompt])
    found = model.generate(tokens, attention_mask=torch.ones_like(tokens), output_scores=True, **settings)
    return found.sequences[:, len(prompt) :].tolist(), found


def likely_end(theirs, prompt):
    """A token that beams do come across, so that stories end at all."""
    return generate(theirs, prompt, max_new_tokens=6, eos_token_id=None)[0][0][4]


@pytest.mark.parametrize("prompt", PROMPTS, ids=len)
def test_greedy(pair, prompt):
    ours, theirs = pair
    config = GenerationConfig(strategy="greedy", max_new_tokens=50)
    tokens = [token.id for token in Engine(ours, -1).submit(prompt, config) if token is not None]
    assert tokens == generate(theirs, prompt, max_new_tokens=50, eos_token_id=None)[0][0]


@pytest.mark.parametrize("early_stopping", ["true", "false", "never"])
@pytest.mark.parametrize(
    "settings",
    [
        {"length_penalty": -1.0},
        {"length_penalty": 0.0},
        {"length_penalty": 1.0},
        {"length_penalty": 2.0},
        {"length_penalty": 1.0, "repetition_penalty": 1.4},
        {"length_penalty": 0.5, "no_repeat_ngram": 2, "min_new_tokens": 4},
    ],
    ids=str,
)
def test_beams(pair, early_stopping, settings):
    """All n best in the same order with the same scores, for stories that end early, late and at the limit."""
    ours, theirs = pair
    names = {"no_repeat_ngram": "no_repeat_ngram_size"}
    ended = 0
    for prompt in PROMPTS:
        end = likely_end(theirs, prompt)
        config = {"num_beams": 4, "max_new_tokens": 12, "early_stopping": early_stopping, **settings}
        found = search(ours, prompt, end, **config)
        early = {"true": True, "false": False}.get(early_stopping, early_stopping)
        expected, details = generate(
            theirs, prompt, num_beams=4, num_return_sequences=4, max_new_tokens=12, early_stopping=early,
            eos_token_id=end, **{names.get(name, name): value for name, value in settings.items()},
        )  # fmt: skip
        scores = [hypothesis.score(config["length_penalty"]) for hypothesis in found]
        assert scores == pytest.approx(details.sequences_scores.tolist(), abs=1e-4, rel=1e-6)
        stories = [list(hypothesis.tokens) for hypothesis in found]
        assert stories == [tokens[: len(story)] for tokens, story in zip(expected, stories, strict=True)]
        ended += sum(story[-1] == end for story in stories)
    assert ended or config["length_penalty"] > 1  # else this would say nothing of how stories end


@pytest.mark.parametrize("strategy", ["sample", "top_k", "top_p", "top_k_top_p", "min_p", "typical"])
def test_filtered_distributions(pair, transformers, strategy):  # noqa: F811
    """At 200 random contexts, from each model's own logits: the same tokens survive, with the same probabilities."""
    ours, theirs = pair
    generator = torch.Generator().manual_seed(0)
    contexts = torch.randint(0, 397, (200, 9), generator=generator)
    config = GenerationConfig(strategy=strategy, temperature=0.7, top_k=15, top_p=0.8, min_p=0.07, typical_p=0.6)
    warpers = transformers.LogitsProcessorList()
    by_setting = {
        "temperature": transformers.TemperatureLogitsWarper,
        "top_k": transformers.TopKLogitsWarper,
        "top_p": transformers.TopPLogitsWarper,
        "min_p": transformers.MinPLogitsWarper,
        "typical_p": transformers.TypicalLogitsWarper,
    }
    for name in config.settings:
        warpers.append(by_setting[name](getattr(config, name)))
    with torch.inference_mode():
        mine = filter_logits(ours(contexts)[0][:, -1].log_softmax(dim=-1), config)
        reference = warpers(contexts, theirs(contexts).logits[:, -1])
    assert torch.equal(mine > -torch.inf, reference > -torch.inf)
    torch.testing.assert_close(mine.softmax(dim=-1), reference.softmax(dim=-1), atol=1e-5, rtol=1e-3)
    if strategy != "sample":
        assert (mine > -torch.inf).sum(dim=-1).float().mean() < 390


def test_where_we_differ_on_purpose(transformers):  # noqa: F811
    """Each is said in the docstring of ours: ties, temperature 0, and what a repetition penalty acts on."""
    logits = torch.tensor([[3.0, 2.0, 2.0, 1.0]])
    assert (transformers.TopKLogitsWarper(2)(None, logits) > -torch.inf).sum() == 3
    assert (top_k(logits, 2) > -torch.inf).sum() == 2
    with pytest.raises(ValueError, match="strictly positive"):
        transformers.TemperatureLogitsWarper(0.0)
    assert GenerationConfig(strategy="sample", temperature=0.0)
    penalty = transformers.RepetitionPenaltyLogitsProcessor(1.05)
    logits, seen = torch.tensor([[2.0, 1.9, 0.0, -5.0]]), torch.tensor([[0]])
    theirs = [int(penalty(seen, logits + shift).argmax()) for shift in (0.0, 10.0)]
    ours = [int(repetition_penalty((logits + shift).log_softmax(-1)[0], [0], 1.05).argmax()) for shift in (0.0, 10.0)]
    assert theirs == [0, 1]
    assert ours == [0, 0]
