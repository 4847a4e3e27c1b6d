import json
import math
import shutil

import pytest
import torch

import storygen
from storygen import artifact
from storygen.errors import StorygenError
from storygen.folders import locked
from storygen.training.checkpoint import load_checkpoint
from storygen.training.recipe import read_recipe
from storygen.training.validation import Validation
from tests.processes import Process
from tests.training.runs import FAST, LSTM_SHAPE, arguments, log_of, train
from train import prepare, pretrain


def test_a_torn_log_line_does_not_stop_a_resume(data, tmp_path):
    """A crash while the log is written must not make the run unusable."""
    run = train(data, tmp_path / "run", "--steps", "3")
    with (run / "log.jsonl").open("a") as file:
        file.write('[1]\n{"step": 99, "lo')
    train(data, run, "--steps", "5", "--resume")
    assert list(log_of(run)) == [1, 2, 3, 4, 5]


def test_a_resumed_run_keeps_its_settings(data, tmp_path):
    """Resuming without the flags of the first start would go on with another batch size and learning rate."""
    run = train(data, tmp_path / "run", "--steps", "2", "--learning-rate", "0.001", "--seed", "5")
    pretrain.main(["--data", str(data), "--out", str(run), "--resume", "--steps", "4"])
    checkpoint, _ = load_checkpoint(run)
    assert checkpoint.progress.step == 4
    assert (checkpoint.train_config["learning_rate"], checkpoint.train_config["seed"]) == (0.001, 5)
    assert checkpoint.model_config["hidden_size"] == 32
    train(data, run, "--steps", "6", "--resume", "--learning-rate", "0.002", "--decay-share", "0")
    assert log_of(run, "learning_rate")[6] == pytest.approx(0.002 * 6 / 50)  # and takes those that are new


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num-layers", "2"], "started with num_layers 1, not 2; resume with the same, or start a new run"),
        (["--context-length", "128"], "started with context_length 64, not 128"),
        (["--rope-theta", "100"], "started with rope_theta 10000.0, not 100.0"),
        (["--architecture", "lstm"], "started as a model of architecture 'transformer', not 'lstm'"),
        (["--batch-tokens", "1024"], "was made with batch_tokens 512, not 1024"),
        (["--seed", "9"], "was made with seed 0, not 9"),
        (["--accumulate", "3"], "was made with batches of a step 1, not 3"),
        (["--optimizer", "muon"], "was made with optimizer 'adamw', not 'muon'"),
        (["--lora-rank", "2"], "started with lora_rank 0; resume with the same"),
    ],
)
def test_what_cannot_go_on_the_same_is_refused(data, tmp_path, flags, message):
    """Another seed or batch size deals out the data in another order: stories would be skipped and repeated."""
    run = train(data, tmp_path / "run", "--steps", "2")
    names = ("checkpoint.pt", "recipe.toml", "log.jsonl")
    before = [(run / name).read_bytes() for name in names]
    with pytest.raises(StorygenError, match=message):
        train(data, run, "--steps", "4", "--resume", *flags)
    assert [(run / name).read_bytes() for name in names] == before


def test_starting_from_a_model_is_not_resuming(data, tmp_path):
    """The weights are the model's; step, optimizer and schedule are new, and the parent is on record."""
    first = train(data, tmp_path / "first", "--steps", "6")
    second = tmp_path / "second"
    command = ["--data", str(data), "--out", str(second), "--init-from", str(first / "best"), *FAST]
    pretrain.main([*command, "--steps", "1", "--learning-rate", "0", "--context-length", "128"])
    parent, child = artifact.load(first / "best"), artifact.load(second / "best")
    for (name, ours), theirs in zip(parent.model.named_parameters(), child.model.parameters(), strict=True):
        assert torch.equal(ours, theirs), name
    assert child.model.config == parent.model.config.replace(context_length=128)  # rotary positions have no weights
    assert list(log_of(second)) == [1]
    assert child.training["parent"] == {"name": parent.name, "revision": parent.revision}
    pretrain.main(["--data", str(data), "--out", str(second), "--resume", "--steps", "2", "--learning-rate", "0.1"])
    assert load_checkpoint(second)[0].parent == child.training["parent"]


def test_a_recipe_repeats_the_start_and_the_steps_or_refuses(data, tmp_path):
    """A run from a model's weights was repeated from scratch, one of two processes with half the batch, and no word."""
    first = train(data, tmp_path / "first", "--steps", "1")
    start = ["--init-from", str(first / "best")]
    second = train(data, tmp_path / "second", "--steps", "3", "--accumulate", "2", *start)
    again = ["--data", str(data), "--recipe", str(second / "recipe.toml"), "--out", str(tmp_path / "again")]
    with pytest.raises(StorygenError, match=r"starts from the model first \(\w+\), not from nothing; name that one"):
        pretrain.main(again)
    with pytest.raises(StorygenError, match="not from second"):
        pretrain.main([*again, "--init-from", str(second / "best")])
    pretrain.main([*again, *start])
    assert log_of(tmp_path / "again") == log_of(second)
    recipe = second / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("batches = 2", "batches = 4"))
    again[-1] = str(tmp_path / "other")
    with pytest.raises(StorygenError, match="a step of the recipe has 4 batches, .* are 2; set accumulate to 4"):
        pretrain.main([*again, *start])
    pretrain.main([*again, *start, "--accumulate", "4"])
    recipe.write_text(recipe.read_text().replace("batches = 4", "batches = 'two'"))
    with pytest.raises(StorygenError, match="must be a whole number above 0, not 'two'"):
        pretrain.main([*again[:-1], str(tmp_path / "third"), *start])


def test_an_empty_name_of_a_model_is_not_no_name(data, tmp_path):
    """`--init-from "$MODEL"` with the variable unset trained from scratch."""
    with pytest.raises(StorygenError):
        train(data, tmp_path / "run", "--steps", "1", "--init-from", "")
    assert not (tmp_path / "run").exists()


def test_what_was_chosen_is_not_what_was_asked_for(data, tmp_path):
    """On another machine the recipe would hold a GPU to a CPU's precision, and a resumed run forgot the reasons."""
    run = tmp_path / "run"
    command = arguments(data, run, "--steps", "1")
    at = command.index("--precision")
    pretrain.main([*command[:at], *command[at + 2 :]])
    asked = read_recipe(run / "recipe.toml")["train"]
    assert asked["precision"] == "auto" and "compile" not in asked
    checkpoint = torch.load(run / "checkpoint.pt")
    checkpoint["choices"]["precision_because"] = "of what there was then"
    torch.save(checkpoint, run / "checkpoint.pt")
    pretrain.main(["--data", str(data), "--out", str(run), "--resume", "--steps", "2"])
    start = log_of(run, "start")[1]
    assert (start["precision"], start["precision_because"]) == ("float32", "of what there was then")
    assert "too short" in start["compile_because"]


def test_a_run_without_a_model_says_so(data, tmp_path, monkeypatch):
    """It ended well, with a hint to write with a model that was not there, and `Infinity` in the log."""
    monkeypatch.setattr(Validation, "measure", lambda *_: math.inf)
    with pytest.raises(StorygenError, match="no validation gave a number, so no model was kept; try a lower learning"):
        train(data, tmp_path / "run", "--steps", "3")
    assert log_of(tmp_path / "run", "valid_failed") == {3: "inf"}


def test_a_run_that_lost_patience_says_so(data, tmp_path, capsys):
    flags = ["--learning-rate", "0", "--valid-every", "1", "--patience"]
    run = train(data, tmp_path / "run", "--steps", "9", *flags, "2")
    assert "2 validations were no better; a higher --patience goes on with --resume" in capsys.readouterr().out
    train(data, run, "--steps", "9", "--resume", *flags, "4")
    assert max(log_of(run)) == 4


def test_a_run_shorter_than_its_log_is_logged(data, tmp_path):
    run = train(data, tmp_path / "run", "--steps", "3", "--log-every", "10")
    assert list(log_of(run)) == [3]


def test_a_model_that_does_not_fit_is_not_started_from(data, tmp_path):
    first = train(data, tmp_path / "first", "--steps", "1")
    start = ["--init-from", str(first / "best"), "--steps", "1"]
    with pytest.raises(StorygenError, match="architecture 'transformer', not 'lstm'"):
        train(data, tmp_path / "run", *start, shape=LSTM_SHAPE)
    with pytest.raises(StorygenError, match="best does not fit the shape|first does not fit the shape"):
        train(data, tmp_path / "run", *start, "--hidden-size", "64")
    other = tmp_path / "data"
    prepare.main(["--source", "tales", "--out", str(other), "--vocab-size", "400"])
    with pytest.raises(StorygenError, match="has another tokenizer than the corpus; run train.prepare with --reuse"):
        train(other, tmp_path / "run", *start)
    with pytest.raises(SystemExit):
        train(data, first, *start, "--resume")
    with pytest.raises(StorygenError, match="must not hold, be or lie in the input"):
        train(data, first, *start, "--overwrite")  # it would delete what it starts from
    assert (first / "best" / "config.json").exists()
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "change",
    [
        {"splits": {}}, {"tokenizer": {"vocab_size": "abc", "fingerprint": ""}}, {"fingerprint": None},
        {"splits": {"train": {"shards": [], "stories": 1, "bytes": 1}}},
        {"chunking": None}, {"chunking": {}}, {"chunking": {"kind": "foo"}}, {"chunking": {"kind": "sliding"}},
        {"chunking": {"kind": "sliding", "stride": 0}},
    ],
)  # fmt: skip
def test_a_damaged_manifest_is_refused_before_training(data, tmp_path, change):
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(StorygenError, match=r"manifest\.json is damaged"):
        train(tmp_path / "data", tmp_path / "run", "--steps", "1")


@pytest.mark.parametrize("damage", ["missing", "cut"])
@pytest.mark.parametrize("suffix", ["bin", "idx"])
def test_missing_and_truncated_shards_are_refused_before_training(data, tmp_path, damage, suffix):
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / f"train-00-00000-00000.{suffix}"
    if damage == "missing":
        path.unlink()
    else:
        path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(
        StorygenError, match=rf"train-00-00000-00000\.{suffix} (is missing|has \d+ bytes instead of \d+); run"
    ):
        train(tmp_path / "data", tmp_path / "run", "--steps", "1")
    assert not (tmp_path / "run").exists()


def test_tokens_beyond_the_vocabulary_are_refused(data, tmp_path):
    """On a GPU they would be an assertion deep in a kernel."""
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "train-00-00000-00000.bin"
    path.write_bytes(b"\xff\xff" * (path.stat().st_size // 2))
    with pytest.raises(StorygenError, match="shard 0 has token 65535 of 500: it is damaged"):
        train(tmp_path / "data", tmp_path / "run", "--steps", "1")


def test_overwrite_never_deletes_what_is_not_a_run(data, tmp_path):
    """--out with a slip of the finger once emptied the corpus itself."""
    with pytest.raises(StorygenError, match="must not hold, be or lie in the input"):
        train(data, data, "--steps", "1", "--overwrite")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("precious")
    with pytest.raises(
        StorygenError, match=r"holds no checkpoint\.pt or log\.jsonl or recipe\.toml: it is not replaced"
    ):
        train(data, tmp_path / "home", "--steps", "1", "--overwrite")
    assert (tmp_path / "home" / "thesis.txt").exists()
    assert (data / "manifest.json").exists()


def test_nothing_is_overwritten_unasked(data, tmp_path):
    run = train(data, tmp_path / "run", "--steps", "1")
    before = (run / "checkpoint.pt").read_bytes()
    with pytest.raises(StorygenError, match="exists; give another folder, or --overwrite"):
        train(data, run, "--steps", "1")
    assert (run / "checkpoint.pt").read_bytes() == before
    train(data, run, "--steps", "2", "--overwrite")
    assert max(log_of(run)) == 2


@pytest.mark.parametrize("flag", ["--resume", "--overwrite"])
def test_two_processes_never_train_into_one_folder(data, tmp_path, flag):
    """It happened: two runs wrote into one log and one checkpoint."""
    run = train(data, tmp_path / "run", "--steps", "1")
    with locked(run):
        status, _, errors = Process(tmp_path, "train.pretrain", *arguments(data, run, "--steps", "2", flag)).run()
    assert status == 2
    assert "another process is writing into" in errors
    assert load_checkpoint(run)[0].progress.step == 1
    train(data, run, "--steps", "2", flag)  # and the lock goes with its process


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--resume"], "nothing to resume"),
        (["--hidden-size", "30", "--num-heads", "4"], "hidden_size is 30; it must be a multiple"),
        (["--learning-rate", "-1"], "learning_rate is -1.0"),
        (["--recipe", "none.toml"], "none.toml cannot be read"),
        (["--set", "learning_rate=-1"], "learning_rate is -1; it must be"),
        (["--set", "optimizer=sgd"], "'sgd'; known: adamw, muon"),
        (["--set", "speed=9"], "unknown setting 'speed'"),
        (["--precision", "float16"], "float16 needs a GPU"),
        (["--batch-tokens", "9000000000"], "lower batch_tokens"),
        (["--set", "architecture=gru"], "unknown architecture 'gru'"),
        (["--set", "vocab_size=9999"], "vocab_size is the tokenizer's, 500"),
        (["--beta1", "1"], "beta1 is 1.0"),
        (["--init-from", "nowhere"], "there is no model folder 'nowhere'"),
    ],
)
def test_bad_arguments(data, tmp_path, flags, message):
    with pytest.raises(StorygenError, match=message):
        train(data, tmp_path / "run", *flags)
    assert not (tmp_path / "run").exists()


def test_data_packed_with_another_tokenizer_is_refused(data, tmp_path):
    other = tmp_path / "data"
    prepare.main(["--source", "tales", "--out", str(other), "--vocab-size", "400"])
    (other / "tokenizer.json").write_text((data / "tokenizer.json").read_text())
    with pytest.raises(StorygenError, match="packed with another tokenizer"):
        train(other, tmp_path / "run", "--steps", "1")


def test_set_wins_over_flags_and_flags_over_the_recipe(data, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        "[model]\narchitecture = 'lstm'\nembedding_size = 16\nhidden_size = 64\n"
        "[train]\nsteps = 2\nseed = 5\nclip = 2\n"
    )
    run = tmp_path / "run"
    command = ["--data", str(data), "--out", str(run), "--recipe", str(recipe), "--seed", "6", "--valid-tokens", "1000"]
    pretrain.main([*command, "--clip", "3", "--set", "clip=4", "--set", "hidden_size=32"])
    recorded = json.loads((run / "best" / "training.json").read_text())["recipe"]
    assert recorded["model"]["architecture"] == "lstm"
    assert recorded["model"]["hidden_size"] == 32
    assert (recorded["train"]["steps"], recorded["train"]["seed"], recorded["train"]["clip"]) == (2, 6, 4)


def test_a_budget_replaces_those_of_the_recipe(data, tmp_path):
    """With both, the shorter would win: somebody who asks for 5 steps would wait for the recipe's minute."""
    (tmp_path / "r.toml").write_text("[train]\ntokens = 10\nminutes = 1\n")
    run = train(data, tmp_path / "run", "--recipe", str(tmp_path / "r.toml"), "--steps", "3")
    assert list(log_of(run)) == [1, 2, 3]


def test_a_recipe_for_another_corpus_is_refused(data, tmp_path):
    (tmp_path / "r.toml").write_text("[corpus]\nfingerprint = 'abcdef'\n")
    with pytest.raises(StorygenError, match="the recipe is for the corpus abcdef, and"):
        train(data, tmp_path / "run", "--recipe", str(tmp_path / "r.toml"))


def test_the_best_model_carries_its_record(data, tmp_path):
    run = train(data, tmp_path / "run", "--steps", "2")
    training = storygen.load(run / "best").artifact.training
    assert training["precision"] == "float32"
    assert training["compile"] is False
    assert training["recipe"]["train"]["optimizer"] == "adamw"
