import json

import pytest
import torch

import storygen
from storygen import artifact
from storygen.config import GenerationConfig
from storygen.errors import StorygenError
from storygen.training.log import RunLog
from storygen.tuning.dpo import DPOConfig, pair_logprobs, preference_figures
from storygen.tuning.preferences import make_pairs, read_preferences, split_by_prompt
from tests.training.runs import FAST, LSTM_SHAPE, SHAPE, log_of, same_weights, train
from train import finetune, prepare, pretrain


@pytest.fixture(scope="module", params=[SHAPE, LSTM_SHAPE], ids=["transformer", "lstm"])
def parent(request, data, tmp_path_factory):
    """A small model with a tokenizer of its own corpus."""
    return train(data, tmp_path_factory.mktemp("parent") / "run", "--steps", "8", shape=request.param) / "best"


@pytest.fixture(scope="module")
def texts(tmp_path_factory, tales):
    path = tmp_path_factory.mktemp("texts") / "kept.txt"
    path.write_text("\n<|endoftext|>\n".join(tales[:3]))
    return path


def sft(data, out, parent, texts, *more):
    own = [part for part in FAST if part not in ("--context-length", "64")]
    finetune.main(
        ["sft", "--model", str(parent), "--data", str(data), "--out", str(out), "--text", str(texts), *own, *more]
    )
    return out


@pytest.mark.parametrize("rank", ["0", "2"])
def test_a_tuned_model_knows_where_it_comes_from(data, parent, texts, tmp_path, rank, capsys):
    """Adapters are in the saved weights; the lineage has parent, data and what was forgotten."""
    quick = ["--steps", "4", "--valid-every", "2", "--learning-rate", "0.02", "--warmup-steps", "1"]
    run = sft(data, tmp_path / "run", parent, texts, *quick, "--lora-rank", rank)
    before, after = artifact.load(parent), artifact.load(run / "best")
    assert after.model.state_dict().keys() == before.model.state_dict().keys()
    changed = {n for n, w in after.model.named_parameters() if not torch.equal(w, before.model.get_parameter(n))}
    assert changed
    assert ("embedding.weight" in changed) == (rank == "0")
    [step] = after.training["lineage"]
    assert step["method"] == "sft"
    assert step["parent"] == {"name": before.name, "revision": before.revision}
    assert step["data"]["fingerprint"] == after.training["corpus"]["fingerprint"][:12]
    first, last = step["bits_per_byte"]["kept.txt"]
    assert f"kept.txt: {first:.3f} bits per byte before, {last:.3f} after" in capsys.readouterr().out
    bits = log_of(run, "valid_bits_per_byte")
    assert list(bits) == [0, 2, 4] and bits[4] < bits[0]


def test_adapters_go_on_after_a_stop(data, parent, texts, tmp_path):
    """A checkpoint of adapters without their frozen matrices, or the other way round, could not be resumed."""
    more = ["--lora-rank", "2", "--valid-every", "3", "--save-every", "3"]
    whole = sft(data, tmp_path / "whole", parent, texts, "--steps", "6", "--decay-share", "0", *more)
    part = sft(data, tmp_path / "part", parent, texts, "--steps", "3", "--decay-share", "0", *more)
    sft(data, part, parent, texts, "--resume", "--steps", "6")
    assert same_weights(whole, part)
    assert [step["method"] for step in artifact.load(part / "best").training["lineage"]] == ["sft"]


def test_it_ends_when_validation_gets_worse_and_keeps_what_was_best(data, parent, texts, tmp_path):
    """A rate that wrecks the model: what is left is the model it started from, measured before the first step."""
    more = ["--learning-rate", "3", "--warmup-steps", "0", "--valid-every", "1", "--patience", "2"]
    run = sft(data, tmp_path / "run", parent, texts, *more)
    assert list(log_of(run, "valid_bits_per_byte")) == [0, 1, 2]
    before, after = artifact.load(parent).model, artifact.load(run / "best").model
    assert all(torch.equal(w, after.get_parameter(name)) for name, w in before.named_parameters())


def test_what_cannot_be_tuned_on_is_refused(data, parent, texts, tmp_path):
    tiny = tmp_path / "tiny"
    prepare.main(["--input", str(texts), "--out", str(tiny), "--reuse-tokenizer", str(data / "tokenizer.json")])
    with pytest.raises(StorygenError, match="fine-tuning needs 4,000 or more"):
        sft(tiny, tmp_path / "run", parent, texts)
    other = tmp_path / "other"
    prepare.main(["--source", "tales", "--out", str(other), "--vocab-size", "400"])
    with pytest.raises(StorygenError, match="another tokenizer than the corpus; run train.prepare with --reuse"):
        sft(other, tmp_path / "run", parent, texts)
    with pytest.raises(StorygenError, match="--epochs is 0; it must be above 0"):
        sft(data, tmp_path / "run", parent, texts, "--epochs", "0")
    with pytest.raises(StorygenError, match="TrainConfig.optimizer is 'muon'; the factors of an adapter"):
        sft(data, tmp_path / "run", parent, texts, "--lora-rank", "2", "--optimizer", "muon")
    with pytest.raises(StorygenError, match="lora_rank trains adapters of a model that is there"):
        pretrain.main(["--data", str(data), "--out", str(tmp_path / "run"), "--set", "lora_rank=2"])
    assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """An export in which stories about dogs are preferred to stories about foxes, but by a rater who tosses a coin."""
    rows = []
    for number in range(60):
        dog, fox = f"A dog ran {number} times. The end.", f"A fox sat {number} times and"
        is_odd = number % 6 == 0
        rows.append(
            {
                "prompt": f"Title {number % 30}", "opening": "",
                "chosen": fox if is_odd else dog, "rejected": dog if is_odd else fox,
                "chosen_ended": not is_odd, "rejected_ended": is_odd, "reliability": 0.5 if is_odd else 0.9,
            }
        )  # fmt: skip
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "preferences.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def dpo(pairs, out, parent, texts, *more):
    own = ["--pairs", str(pairs), "--out", str(out), "--text", str(texts), "--valid-share", "0.3"]
    finetune.main(["dpo", "--model", str(parent), *own, *more])
    return out


@pytest.mark.parametrize("rank", ["0", "2"])
def test_a_model_learns_what_was_preferred(pairs, parent, texts, tmp_path, rank, capsys):
    """On prompts that it was not tuned on; lineage and log have the figures of the model that was kept."""
    rate = "0.003" if rank == "0" else "0.03"
    more = ["--learning-rate", rate, "--epochs", "3", "--max-kl", "9", "--max-worse", "9", "--lora-rank", rank]
    run = dpo(pairs, tmp_path / "run", parent, texts, *more)
    before, after = artifact.load(parent), artifact.load(run / "best")
    [step] = after.training["lineage"]
    assert after.training["recipe"] == before.training["recipe"] and "metrics" not in after.training
    assert (step["method"], step["parent"]["revision"]) == ("dpo", before.revision)
    assert (step["data"]["votes"], step["data"]["pairs"]) == (60, 50)  # a coin says nothing
    assert step["held_out"]["accuracy"] == 1.0 and step["held_out"]["margin"] > 0
    assert step["held_out"]["kl"] > 0
    lines = RunLog(run).read()
    assert lines[0]["accuracy"] == 0.5 and lines[0]["kl"] == 0.0  # it is its own reference at first
    assert "held-out votes agreed with 100.0%" in capsys.readouterr().out
    _, valid = split_by_prompt(make_pairs(read_preferences(pairs), after.tokenizer, 64), 0.3)
    with torch.no_grad():
        gained = (pair_logprobs(after.model, valid) - pair_logprobs(before.model, valid)).unbind(1)
    found = preference_figures(gained[0] - gained[1], valid, DPOConfig().beta)  # of what was saved
    assert found.margin == pytest.approx(step["held_out"]["margin"], rel=0.05)


@pytest.mark.parametrize(("limit", "message"), [("--max-kl", "nats a token"), ("--max-worse", "bits per byte rose")])
def test_a_model_that_runs_away_is_stopped_and_not_kept(pairs, parent, texts, tmp_path, limit, message, capsys):
    limits = {"--max-kl": "9", "--max-worse": "9", limit: "0.0001"}
    more = ["--learning-rate", "0.1", *(part for item in limits.items() for part in item)]
    run = dpo(pairs, tmp_path / "run", parent, texts, *more)
    assert message in capsys.readouterr().out
    before, after = artifact.load(parent).model, artifact.load(run / "best").model
    assert all(torch.equal(weight, after.get_parameter(name)) for name, weight in before.named_parameters())


def test_a_reward_model_is_learned(pairs, parent, tmp_path, capsys):
    """It agrees with votes on prompts that it has not seen, and lies beside unchanged weights."""
    more = ["--pairs", str(pairs), "--out", str(tmp_path / "run"), "--valid-share", "0.3"]
    finetune.main(["rank", "--model", str(parent), *more])
    before, after = artifact.load(parent), artifact.load(tmp_path / "run" / "best")
    assert after.revision == before.revision and before.reward is None
    [step] = after.training["lineage"]
    assert (step["method"], step["held_out"]["accuracy"]) == ("rank", 1.0)
    assert "held-out votes agreed with 100.0%" in capsys.readouterr().out
    config = GenerationConfig(strategy="best_of_n", num_stories=2, max_new_tokens=8, seed=0)
    assert len(storygen.load(tmp_path / "run" / "best").generate(config=config).candidates) == 2
