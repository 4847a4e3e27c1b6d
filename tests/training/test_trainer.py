import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
import torch

import storygen
from storygen.data.pack import PackedStories
from storygen.errors import StorygenError
from storygen.models import build_model
from storygen.tokenizers import load_tokenizer
from storygen.training.checkpoint import Checkpoint, Progress, load_checkpoint, save_checkpoint
from storygen.training.optimizer import build_optimizer, learning_rate
from storygen.training.settings import TrainConfig
from storygen.training.trainer import Trainer
from tests.conftest import tiny_config
from train import prepare, pretrain

SHAPE = ["--hidden-size", "32", "--num-layers", "1", "--num-heads", "2", "--intermediate-size", "48"]
FAST = ["--context-length", "64", "--batch-tokens", "512", "--valid-tokens", "2000", "--log-every", "1"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data") / "tales"
    prepare.main(["--source", "tales", "--out", str(folder), "--vocab-size", "500"])
    return folder


def log_of(run, key="loss"):
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return {line["step"]: line[key] for line in lines if key in line}


def train(data, out, *arguments):
    pretrain.main(["--data", str(data), "--out", str(out), *SHAPE, *FAST, *arguments])
    return out


def trainer_of(data, out, config, **changes):
    tokenizer = load_tokenizer(data / "tokenizer.json")
    torch.manual_seed(0)
    model = build_model(tiny_config("transformer", tokenizer.vocab_size, **changes))
    return Trainer(model, tokenizer, PackedStories(data, "train"), PackedStories(data, "valid"), config, out)


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_a_run_learns_and_leaves_a_model_that_writes(data, tmp_path, architecture):
    run, steps = tmp_path / "run", ["--steps", "40", "--valid-every", "20", "--warmup-steps", "5"]
    shape = SHAPE if architecture == "transformer" else ["--hidden-size", "48", "--embedding-size", "24"]
    pretrain.main(["--data", str(data), "--out", str(run), "--architecture", architecture, *shape, *FAST, *steps])
    losses = log_of(run)
    assert losses[1] == pytest.approx(math.log(500), abs=0.2)
    assert losses[40] < losses[1] - 0.6
    bits = log_of(run, "valid_bits_per_byte")
    assert list(bits) == [20, 40]
    writer = storygen.load(run / "best")
    assert writer.artifact.training["steps"] == 40
    assert writer.artifact.training["metrics"]["valid_bits_per_byte"] == pytest.approx(bits[40], abs=1e-4)
    assert writer.generate("Once", config=storygen.GenerationConfig(max_new_tokens=5, seed=1)).text


def test_validation_is_bits_per_byte_of_the_texts(data, tmp_path, tales):
    """The figure in the log and the public function must be the same thing."""
    run = train(data, tmp_path / "run", "--steps", "3", "--valid-tokens", "1000000")
    assert storygen.bits_per_byte(storygen.load(run / "best"), tales) == pytest.approx(
        log_of(run, "valid_bits_per_byte")[3], abs=2e-3  # the artifact is in float16
    )  # fmt: skip


@pytest.mark.parametrize("dropout", ["0", "0.3"])
def test_a_resumed_run_equals_one_that_was_never_stopped(data, tmp_path, dropout):
    """Bit for bit: weights, optimizer, schedule, data position and dropout all have to come back."""
    arguments = ["--steps", "24", "--save-every", "9", "--dropout", dropout, "--accumulate", "2"]
    whole = train(data, tmp_path / "whole", *arguments)
    cut = tmp_path / "cut"
    script = f"""
import sys
from storygen.training import trainer
from train import pretrain
step = trainer.Trainer._step
def dying(self, rate):
    if self.progress.step == 13:
        import os
        os._exit(9)
    return step(self, rate)
trainer.Trainer._step = dying
pretrain.main({["--data", str(data), "--out", str(cut), *SHAPE, *FAST, *arguments]!r})
"""
    assert subprocess.run([sys.executable, "-c", script], stderr=subprocess.DEVNULL).returncode == 9
    assert max(log_of(cut)) == 13
    train(data, cut, *arguments, "--resume")
    assert log_of(cut) == log_of(whole)
    first, second = (torch.load(run / "checkpoint.pt", weights_only=True)["model"] for run in (whole, cut))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_save_and_exit_cleanly(data, tmp_path, number):
    run = tmp_path / "run"
    command = [sys.executable, "-m", "train.pretrain", "--data", str(data), "--out", str(run), *FAST, "--minutes", "5"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (run / "log.jsonl").exists():
        time.sleep(0.05)
    os.kill(process.pid, number)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "saved; go on with --resume" in printed
    assert load_checkpoint_step(run) == max(log_of(run))


def load_checkpoint_step(run):
    return torch.load(run / "checkpoint.pt", weights_only=True)["progress"]["step"]


def test_a_loss_that_is_not_finite_stops_with_step_and_batch(data, tmp_path):
    """Training on after a NaN writes NaN over the best checkpoint."""
    trainer = trainer_of(data, tmp_path / "run", TrainConfig(steps=5, batch_tokens=512))
    with torch.no_grad():
        trainer.model.embedding.weight[7] = float("inf")
    with pytest.raises(
        StorygenError, match=r"loss is nan .*at step 1 \(epoch 0, batch 0, stories \d+, .*checkpoint is kept"
    ):
        trainer.run()
    assert not (tmp_path / "run" / "best").exists()


def test_accumulated_gradients_equal_one_large_batch(data, tmp_path):
    """A mean of means weighs the tokens of a short batch more; here the sums are divided once."""
    config = TrainConfig(steps=1, batch_tokens=512, accumulate=4, clip=1e9)
    trainer = trainer_of(data, tmp_path / "run", config)
    reference = build_model(trainer.model.config)
    reference.load_state_dict(trainer.model.state_dict())
    from storygen.data.batches import collate, epoch_batches

    batches = epoch_batches(trainer.windows, 512, config.seed, 0)[:4]
    nats, tokens = 0.0, 0
    for batch in batches:
        inputs, targets = collate(trainer.train, trainer.windows, batch)
        logprobs = reference(inputs)[0].log_softmax(dim=-1)
        chosen = logprobs.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
        nats = nats - chosen[targets >= 0].sum()
        tokens += int((targets >= 0).sum())
    (nats / tokens).backward()
    norm = torch.nn.utils.clip_grad_norm_(reference.parameters(), 1e9)
    loss, trained_norm, trained_tokens = trainer._step(0.0)
    assert trained_tokens == tokens
    assert loss == pytest.approx((nats / tokens).item(), rel=1e-5)
    assert trained_norm == pytest.approx(norm.item(), rel=1e-4)


def test_two_processes_equal_accumulation_of_two(data, tmp_path):
    """Two gloo processes on the CPU against one that accumulates: the same losses, step for step."""
    steps = ["--steps", "12", "--warmup-steps", "2"]
    single = train(data, tmp_path / "single", *steps, "--accumulate", "2")
    command = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        "2",
        "-m",
        "train.pretrain",
    ]
    arguments = ["--data", str(data), "--out", str(tmp_path / "double"), *SHAPE, *FAST, *steps]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *arguments], env=environment, check=True, capture_output=True)
    ours, theirs = log_of(single), log_of(tmp_path / "double")
    assert list(ours) == list(theirs) == list(range(1, 13))
    assert [theirs[step] for step in ours] == pytest.approx(list(ours.values()), abs=2e-5)
    valid = [log_of(run, "valid_bits_per_byte")[12] for run in (single, tmp_path / "double")]
    assert valid[0] == pytest.approx(valid[1], abs=1e-4)
    assert json.loads((tmp_path / "double" / "best" / "training.json").read_text())["processes"] == 2


def test_schedule():
    config = TrainConfig(steps=100, learning_rate=1.0, warmup_steps=4, decay_share=0.4)
    rates = [learning_rate(config, step, step / 100) for step in range(100)]
    assert rates[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert rates[60] == pytest.approx(1.0)
    assert rates[80] == pytest.approx(0.5)
    assert rates[99] == pytest.approx(0.025)
    assert learning_rate(config, 500, 1.2) == 0


@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_only_matrices_decay(architecture):
    """Decay on gains and biases pulls a normalised model towards zero output."""
    model = build_model(tiny_config(architecture))
    decayed, kept = build_optimizer(model, TrainConfig(steps=1)).param_groups
    assert decayed["weight_decay"] == 0.1
    assert kept["weight_decay"] == 0
    assert all(p.ndim >= 2 for p in decayed["params"])
    assert all(p.ndim == 1 for p in kept["params"])
    assert len(decayed["params"]) + len(kept["params"]) == len(list(model.parameters()))


@pytest.mark.parametrize(("budget", "steps"), [(["--tokens", "2000"], 5), (["--steps", "3"], 3)])
def test_budgets(data, tmp_path, budget, steps):
    run = train(data, tmp_path / "run", *budget)
    assert abs(max(log_of(run)) - steps) <= 1


def test_a_budget_in_minutes_ends_in_time_with_its_decay_done(data, tmp_path):
    started = time.monotonic()
    run = train(data, tmp_path / "run", "--minutes", "0.05", "--valid-every", "100000", "--save-every", "100000")
    assert time.monotonic() - started < 60
    rates = log_of(run, "learning_rate")
    assert rates[max(rates)] < 0.1 * max(rates.values())


def test_compiled_training_gives_the_same_losses(data, tmp_path):
    eager = train(data, tmp_path / "eager", "--steps", "3")
    compiled = train(data, tmp_path / "compiled", "--steps", "3", "--compile")
    assert list(log_of(compiled).values()) == pytest.approx(list(log_of(eager).values()), abs=1e-4)
    assert storygen.load(compiled / "best").model.config == storygen.load(eager / "best").model.config


def checkpoint_at(step):
    return Checkpoint({"w": torch.full((2,), float(step))}, {}, Progress(step=step), {}, {}, {"corpus": "a"})


def test_a_cut_checkpoint_write_leaves_the_old_one(tmp_path, monkeypatch):
    save_checkpoint(tmp_path, checkpoint_at(3))

    def full_disk(content, file):
        file.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", full_disk)
    with pytest.raises(StorygenError, match=r"No space left on device.*before it is whole"):
        save_checkpoint(tmp_path, checkpoint_at(4))
    loaded = load_checkpoint(tmp_path)
    assert loaded.progress.step == 3
    assert torch.equal(loaded.model["w"], torch.full((2,), 3.0))
    assert [path.name for path in tmp_path.iterdir()] == ["checkpoint.pt"]


@pytest.mark.parametrize("content", [b"", b"garbage", None])
def test_a_damaged_checkpoint_is_one_clear_line(data, tmp_path, content):
    run = train(data, tmp_path / "run", "--steps", "1")
    if content is None:
        torch.save({"progress": {}}, run / "checkpoint.pt")
    else:
        (run / "checkpoint.pt").write_bytes(content)
    with pytest.raises(StorygenError, match=r"checkpoint\.pt is damaged"):
        train(data, run, "--steps", "2", "--resume")


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
    recorded = torch.load(run / "checkpoint.pt", weights_only=True)
    assert recorded["progress"]["step"] == 4
    assert (recorded["train_config"]["learning_rate"], recorded["train_config"]["seed"]) == (0.001, 5)
    assert recorded["model_config"]["hidden_size"] == 32


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--num-layers", "2"], "does not fit the model"),
        (["--batch-tokens", "1024"], "was made with batch_tokens 512, not 1024"),
        (["--seed", "9"], "was made with seed 0, not 9"),
        (["--accumulate", "3"], "was made with batches of a step 1, not 3"),
    ],
)
def test_what_cannot_go_on_the_same_is_refused(data, tmp_path, flags, message):
    """Another seed or batch size deals out the data in another order: stories would be skipped and repeated."""
    run = train(data, tmp_path / "run", "--steps", "2")
    with pytest.raises(StorygenError, match=message):
        train(data, run, "--steps", "4", "--resume", *flags)


def test_a_gradient_that_is_not_finite_is_not_applied(data, tmp_path):
    """The loss can be finite and its gradient not: applied, it would end up in the checkpoint."""
    trainer = trainer_of(data, tmp_path / "run", TrainConfig(steps=5, batch_tokens=512))
    trainer.model.norm.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}
    with pytest.raises(StorygenError, match=r"gradient's norm (inf|nan) at step 1"):
        trainer.run()
    assert all(torch.equal(before[name], tensor) for name, tensor in trainer.model.state_dict().items())


@pytest.mark.parametrize("change", [{"splits": {}}, {"tokenizer": {"vocab_size": "abc", "fingerprint": ""}}])
def test_a_damaged_manifest_is_refused_before_training(data, tmp_path, change):
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(StorygenError, match=r"manifest\.json is damaged"):
        train(tmp_path / "data", tmp_path / "run", "--steps", "1")


def test_tokens_beyond_the_vocabulary_are_refused(data, tmp_path):
    """On a GPU they would be an assertion deep in a kernel."""
    shutil.copytree(data, tmp_path / "data")
    path = tmp_path / "data" / "train-00000.bin"
    path.write_bytes(b"\xff\xff" * (path.stat().st_size // 2))
    with pytest.raises(StorygenError, match="token 65535 of 500: its shard is damaged"):
        train(tmp_path / "data", tmp_path / "run", "--steps", "1")


def test_overwrite_never_deletes_what_is_not_a_run(data, tmp_path):
    """--out with a slip of the finger once emptied the corpus itself."""
    with pytest.raises(StorygenError, match="must not hold, be or lie in the input"):
        train(data, data, "--steps", "1", "--overwrite")
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("precious")
    with pytest.raises(StorygenError, match=r"holds no checkpoint\.pt or log\.jsonl: it is not replaced"):
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--resume"], "nothing to resume"),
        (["--hidden-size", "30", "--num-heads", "4"], "hidden_size is 30; it must be a multiple"),
        (["--learning-rate", "-1"], "learning_rate is -1.0"),
        (["--recipe", "none.toml"], "recipe none.toml cannot be read"),
    ],
)
def test_bad_arguments(data, tmp_path, arguments, message):
    with pytest.raises(StorygenError, match=message):
        train(data, tmp_path / "run", *arguments)
    assert not (tmp_path / "run").exists()


def test_data_packed_with_another_tokenizer_is_refused(data, tmp_path, tokenizer):
    other = tmp_path / "data"
    prepare.main(["--source", "tales", "--out", str(other), "--vocab-size", "400"])
    (other / "tokenizer.json").write_text((data / "tokenizer.json").read_text())
    with pytest.raises(StorygenError, match="packed with another tokenizer"):
        train(other, tmp_path / "run", "--steps", "1")


def test_recipes_set_what_flags_do_not(data, tmp_path):
    recipe = tmp_path / "r.toml"
    recipe.write_text(
        "[model]\narchitecture = 'lstm'\nembedding_size = 16\nhidden_size = 64\n[train]\nsteps = 2\nseed = 5\n"
    )
    run = tmp_path / "run"
    pretrain.main(
        ["--data", str(data), "--out", str(run), "--recipe", str(recipe), "--seed", "6", "--valid-tokens", "1000"]
    )
    recorded = json.loads((run / "best" / "training.json").read_text())["recipe"]
    assert recorded["model"]["architecture"] == "lstm"
    assert recorded["model"]["hidden_size"] == 64
    assert (recorded["train"]["steps"], recorded["train"]["seed"]) == (2, 6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[modle]\n", "unknown table 'modle'; did you mean 'model'"),
        ("[train]\nstepps = 3\n", "'stepps'; did you mean 'steps'"),
        ("[model]\narchitecture = 'gru'\n", "unknown architecture 'gru'"),
        ("nonsense", "cannot be read"),
        ("model = 3\n", "model must be a table"),
        ("[model]\narchitecture = 5\n", "unknown architecture '?5"),
    ],
)
def test_recipes_with_mistakes_are_refused(data, tmp_path, text, message):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(StorygenError, match=message):
        pretrain.main(["--data", str(data), "--out", str(tmp_path / "run"), "--recipe", str(tmp_path / "r.toml")])
