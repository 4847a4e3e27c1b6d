import shutil

import pytest
import torch
from safetensors.torch import save_file

import storygen
from storygen import artifact
from storygen.config import GenerationConfig
from storygen.errors import StorygenError
from storygen.models import build_model
from storygen.tuning.preferences import Pair
from storygen.tuning.rank import RewardLoss, differences, spread
from storygen.tuning.reward import FILE, RewardModel, features
from storygen.tuning.told import Told, tell
from tests.conftest import lively, tiny_config

BEST = GenerationConfig(strategy="best_of_n", num_stories=5, max_new_tokens=20, seed=3)


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_features_are_of_the_storys_own_tokens(architecture):
    """By hand from the logits, which tied embeddings map back; padding, company and prompt must not get in."""
    model = lively(build_model(tiny_config(architecture, 50)))
    stories = [Told((1, 2, 3, 4, 5), 3), Told((7, 8), 1), Told(tuple(range(20)), 12)]
    found = features(model, stories)
    width = model.head.in_features
    for row, story in zip(found, stories, strict=True):
        with torch.no_grad():
            logits = model(torch.tensor([story.tokens]))[0][0, -story.scored :]
            mean, last = model.head(row.view(2, 1, width)).squeeze(1)
        assert torch.allclose(mean, logits.mean(dim=0), atol=1e-4)
        assert torch.allclose(last, logits[-1], atol=1e-4)


def test_a_reward_is_learned_by_bradley_and_terry():
    """The weight that makes sigmoid(difference) the share of votes; the scale that helps to learn it is taken out."""
    loss = RewardLoss(torch.tensor([10.0]))
    pairs = [Pair("p", None, None, 3.0, 1.0)]
    known = torch.tensor([[10.0]])
    optimizer = torch.optim.SGD(loss.parameters(), lr=1.0)
    for _ in range(200):
        optimizer.zero_grad()
        loss(pairs, known).backward()
        optimizer.step()
    assert loss.margins(known).item() == pytest.approx(torch.tensor(3.0).log().item(), abs=1e-3)
    assert (known @ loss.reward().weight).item() == pytest.approx(loss.margins(known).item())


def test_differences_and_spread():
    model = lively(build_model(tiny_config("transformer", 50)))
    first, second = Told((1, 2, 3), 2), Told((1, 5, 6), 2)
    both = features(model, [first, second])
    assert torch.allclose(differences(model, [Pair("p", first, second, 1.0, 0.0)])[0], both[0] - both[1], atol=1e-5)
    assert spread(torch.tensor([[3.0, 0.0], [4.0, 0.0]])).tolist() == pytest.approx([12.5**0.5, 1e-6])


def test_it_lies_beside_the_model_and_belongs_to_it(model_folders, tmp_path):
    """With other weights it would rank by nothing; without it the model loads as ever."""
    folder = tmp_path / "model"
    shutil.copytree(model_folders / "lstm", folder)
    loaded = artifact.load(folder)
    assert torch.equal(loaded.reward.weight, artifact.load(model_folders / "lstm").reward.weight)
    assert artifact.read_training(folder)["sha256"][FILE] == artifact.hashes(folder)[FILE]
    shutil.copyfile(model_folders / "transformer" / FILE, folder / FILE)
    with pytest.raises(StorygenError, match=r"reward.safetensors was made with other weights than the model's"):
        artifact.load(folder)
    sha = artifact.hashes(folder)["model.safetensors"]
    save_file({"weight": torch.zeros(7)}, folder / FILE, metadata={"weights_sha256": sha})
    with pytest.raises(StorygenError, match=r"'weight' is \[7\]; 48 finite numbers are needed"):
        artifact.load(folder)
    (folder / FILE).write_bytes(b"no")
    with pytest.raises(StorygenError, match=r"reward.safetensors is not a reward model"):
        artifact.load(folder)
    (folder / FILE).unlink()
    writer = storygen.load(folder)
    assert writer.artifact.reward is None
    with pytest.raises(
        StorygenError, match=r"model has no reward model, which best_of_n needs; make one with python -m"
    ):
        writer.stream(config=BEST)


def test_the_best_of_several_is_kept(model_folders):
    """It is the one with the highest reward of those that top_p draws with these seeds, and can be repeated."""
    writer = storygen.load(model_folders / "transformer")
    result = writer.generate("Once", "The Fox", BEST)
    drawn = [writer.generate("Once", "The Fox", BEST.replace(strategy="top_p", seed=3 + n)) for n in range(5)]
    told = [tell(writer.tokenizer, "The Fox", "Once", each.text, each.finish_reason == "end", 64) for each in drawn]
    scores = writer.artifact.reward.score(writer.model, told)
    best = max(range(5), key=scores.__getitem__)
    assert result.text == drawn[best].text
    assert (result.config, result.seed, result.tokens) == (BEST, 3, drawn[best].tokens)
    assert [each.text for each in result.candidates] == [
        drawn[n].text for n in sorted(range(5), key=lambda n: -scores[n])
    ]
    assert [each.score for each in result.candidates] == pytest.approx(sorted(scores, reverse=True), abs=1e-3)
    assert writer.generate("Once", "The Fox", result.config).text == result.text


def test_giving_up_frees_all_of_them(model_folders):
    writer = storygen.load(model_folders / "transformer")
    stream = writer.stream("Once", config=BEST.replace(max_new_tokens=500, min_new_tokens=500))
    next(stream)
    assert writer.engine.has_work()
    stream.close()
    assert not writer.engine.waiting
    while writer.is_busy:
        pass
    assert stream.result is None


def test_a_reward_keeps_the_order_of_its_weights(model_folders):
    writer = storygen.load(model_folders / "lstm")
    stories = [Told((1, 2, 3), 2), Told((1, 5, 6), 2), Told((1, 9), 1)]
    scores = RewardModel(-writer.artifact.reward.weight).score(writer.model, stories)
    assert scores == pytest.approx([-score for score in writer.artifact.reward.score(writer.model, stories)], abs=1e-4)
