import json
import math
import signal
import time

import pytest
import torch
from accelerate.optimizer import AcceleratedOptimizer

import storygen
from storygen.data.batches import collate, epoch_batches
from storygen.errors import StorygenError
from storygen.models import build_model
from storygen.training.checkpoint import load_checkpoint
from storygen.training.settings import TrainConfig
from tests.processes import Process
from tests.training.runs import (
    LSTM_SHAPE,
    SHAPE,
    arguments,
    forked,
    log_of,
    same_weights,
    torchrun,
    train,
    trainer_of,
    weights_of,
)  # fmt: skip
from train import prepare, pretrain

SHARDED = """
# accelerate shards on GPUs only; what it then runs is the same on the CPU, once it takes the processes for GPUs.
import sys
from accelerate import PartialState
from accelerate.utils import DistributedType
PartialState(cpu=True)
PartialState._shared_state["distributed_type"] = DistributedType.MULTI_GPU
from storygen.cli import run
from train import pretrain
run(lambda: pretrain.main(sys.argv[1:]))
"""
FSDP = {
    "ACCELERATE_USE_FSDP": "true", "FSDP_VERSION": "2", "FSDP_AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP",
    "FSDP_TRANSFORMER_CLS_TO_WRAP": "Block",
}  # fmt: skip


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("shape", [SHAPE, LSTM_SHAPE], ids=["transformer", "lstm"])
def test_a_run_learns_and_leaves_a_model_that_writes(data, tmp_path, shape, optimizer):
    steps = ["--steps", "40", "--valid-every", "20", "--warmup-steps", "5", "--optimizer", optimizer]
    run = train(data, tmp_path / "run", *steps, shape=shape)
    losses = log_of(run)
    assert losses[1] == pytest.approx(math.log(500), abs=0.2)
    assert losses[40] < losses[1] - 0.5
    bits = log_of(run, "valid_bits_per_byte")
    assert list(bits) == [20, 40]
    writer = storygen.load(run / "best")
    assert writer.artifact.training["steps"] == 40
    assert writer.artifact.training["metrics"]["valid_bits_per_byte"] == pytest.approx(bits[40], abs=1e-4)
    assert writer.generate("Once", config=storygen.GenerationConfig(max_new_tokens=5, seed=1)).text
    assert (run / "curve.png").read_bytes().startswith(b"\x89PNG")


def test_validation_is_bits_per_byte_of_the_texts(data, tmp_path, tales):
    """The figure in the log and the public function must be the same thing."""
    run = train(data, tmp_path / "run", "--steps", "3", "--valid-tokens", "1000000")
    assert storygen.bits_per_byte(storygen.load(run / "best"), tales) == pytest.approx(
        log_of(run, "valid_bits_per_byte")[3], abs=2e-3  # the artifact is in float16
    )  # fmt: skip


def test_the_log_says_what_it_runs_on_and_how_fast(data, tmp_path):
    run = train(data, tmp_path / "run", "--steps", "3", "--clip", "0.1")
    [start] = log_of(run, "start").values()
    assert (start["device"], start["processes"], start["precision"]) == ("cpu", 1, "float32")
    assert start["precision_because"] == "as asked"
    assert "too short" in start["compile_because"]
    rate, share = log_of(run, "tokens_per_second")[3], log_of(run, "matmul_share")[3]
    assert share == pytest.approx(rate * start["flops_per_token"] / start["matmul_flops"], abs=1e-3)
    assert start["matmul_flops"] > 1e9
    assert 0.1 < log_of(run, "memory_gb")[3] < 20
    assert log_of(run, "clipped")[3] == 1.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signals_save_and_exit_cleanly(data, tmp_path, number):
    """Stopped in a validation that would take minutes: it is given up, and the run can go on."""
    run = tmp_path / "run"
    more = ["--minutes", "5", "--valid-every", "2", "--valid-tokens", "1000000", "--context-length", "8"]
    process = Process(tmp_path, "train.pretrain", *arguments(data, run, *more))
    while process.is_running() and not log_of(run):
        time.sleep(0.05)
    process.send_signal(number)
    status, printed, errors = process.run(seconds=60)
    assert status == 0, errors
    assert "saved; go on with --resume" in printed
    assert load_checkpoint(run)[0].progress.step == max(log_of(run))


def spoiling(trainer, bad):
    """Makes the gradient of some steps infinite or not a number; the weights before each step are kept."""
    before = {}

    def spoil(gradient):
        step = trainer.progress.step
        before.setdefault(step, [p.detach().clone() for p in trainer.model.parameters()])
        return gradient * bad.get(step, 1.0)

    trainer.model.norm.weight.register_hook(spoil)
    return before


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_step_that_is_not_finite_is_skipped(data, tmp_path, optimizer):
    """One bad batch must neither end the run nor reach the weights, nor the log, where NaN is no JSON."""
    config = TrainConfig(steps=6, batch_tokens=512, log_every=1, valid_tokens=1000, optimizer=optimizer)
    trainer = trainer_of(data, tmp_path / "run", config)
    before = spoiling(trainer, {2: math.inf, 3: math.nan})
    trainer.run()
    assert trainer.progress.skipped == 2
    assert list(log_of(trainer.out, "skipped")) == [3, 4]  # steps are counted from 1 there
    assert equal(before[2], before[4])
    assert not equal(before[4], before[5])
    assert json.loads((trainer.out / "best" / "training.json").read_text())["skipped"] == 2
    assert "NaN" not in (trainer.out / "log.jsonl").read_text()


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_float16_skips_the_steps_whose_scale_was_too_high(data, tmp_path, optimizer):
    """The scaler's first scales always overflow. Muon stepped all the same, and the weights were gone."""
    config = TrainConfig(steps=6, batch_tokens=512, log_every=1, valid_tokens=1000, optimizer=optimizer, max_skips=0)
    trainer = trainer_of(data, tmp_path / "run", config)
    scaler = trainer.accelerator.scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    trainer.optimizer = AcceleratedOptimizer(trainer.optimizer.optimizer, device_placement=False, scaler=scaler)
    trainer.accelerator._optimizers = [trainer.optimizer]
    before = spoiling(trainer, {0: math.inf, 1: math.inf})
    trainer.run()
    assert trainer.progress.skipped == 2
    assert scaler.get_scale() == 256  # halved twice
    assert equal(before[0], before[2])
    assert not equal(before[2], before[3])
    assert all(p.isfinite().all() for p in trainer.model.parameters())


def test_too_many_skips_end_the_run_with_the_batch_saved(data, tmp_path):
    """Training on after a NaN writes NaN over the best checkpoint; without the batch nobody can find out why."""
    trainer = trainer_of(data, tmp_path / "run", TrainConfig(steps=50, batch_tokens=512, max_skips=2))
    with torch.no_grad():
        trainer.model.embedding.weight[7] = float("inf")
    with pytest.raises(StorygenError, match=r"loss is nan .*at step 3, after 2 steps .*bad-step\.json.*is kept"):
        trainer.run()
    assert not (trainer.out / "best").exists()
    bad = json.loads((trainer.out / "bad-step.json").read_text())
    assert (bad["step"], bad["loss"]) == (3, "nan")
    row = bad["batches"][0][0]
    assert row["tokens"] == trainer.train.read(row["shard"], row["start"], len(row["tokens"])).tolist()
    assert row["text"] == trainer.tokenizer.decode(row["tokens"])


def test_a_signal_in_the_last_validation_is_no_finished_run(data, tmp_path):
    """The run was reported as done, without its best model; resumed, it must do what is left."""
    trainer = trainer_of(data, tmp_path / "run", TrainConfig(steps=2, batch_tokens=512, valid_tokens=10**6))
    measure = trainer.validation.measure

    def interrupted(*arguments):
        trainer._interrupt.asked = True
        return measure(*arguments)

    trainer.validation.measure = interrupted
    trainer.run()
    assert trainer.was_stopped
    assert not (trainer.out / "best").exists()
    again = trainer_of(data, tmp_path / "run", TrainConfig(steps=2, batch_tokens=512, valid_tokens=10**6))
    again.resume(load_checkpoint(trainer.out)[0])
    again.run()
    assert not again.was_stopped
    assert list(log_of(again.out, "valid_bits_per_byte")) == [2]
    assert (again.out / "best").exists()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA"),
        MemoryError(),
        RuntimeError("DefaultCPUAllocator: can't allocate memory"),
    ],
)
def test_out_of_memory_says_what_to_lower(data, tmp_path, error):
    trainer = trainer_of(data, tmp_path / "run", TrainConfig(steps=5, batch_tokens=512))

    def full(*_):
        raise error

    trainer.model.forward = full
    with pytest.raises(StorygenError, match=r"out of memory at step 1, in a batch of \d+ rows of 64.*batch_tokens"):
        trainer.run()


@pytest.mark.parametrize("error", [RuntimeError("a bug"), NotImplementedError("a bug"), RecursionError("a bug")])
def test_other_errors_are_not_taken_for_out_of_memory(data, tmp_path, error):
    """A failed compiler and a broken network card were told to lower batch_tokens."""
    trainer = trainer_of(data, tmp_path / "run", TrainConfig(steps=5, batch_tokens=512))

    def broken(*_):
        raise error

    trainer.model.forward = broken
    with pytest.raises(type(error), match="a bug"):
        trainer.run()


def test_accumulated_gradients_equal_one_large_batch(data, tmp_path):
    """A mean of means weighs the tokens of a short batch more; here the sums are divided once."""
    config = TrainConfig(steps=1, batch_tokens=512, accumulate=4, clip=1e9, log_every=1)
    trainer = trainer_of(data, tmp_path / "run", config)
    reference = build_model(trainer.model.config)
    reference.load_state_dict(trainer.model.state_dict())
    nats, tokens = 0.0, 0
    for batch in epoch_batches(trainer.windows, 512, config.seed, 0)[:4]:
        inputs, targets = collate(trainer.train, trainer.windows, batch)
        logprobs = reference(inputs)[0].log_softmax(dim=-1)
        chosen = logprobs.gather(-1, targets.clamp(min=0)[..., None])[..., 0]
        nats = nats - chosen[targets >= 0].sum()
        tokens += int((targets >= 0).sum())
    (nats / tokens).backward()
    norm = torch.nn.utils.clip_grad_norm_(reference.parameters(), 1e9)
    progress = trainer.run()
    assert progress.tokens == tokens
    assert log_of(trainer.out)[1] == pytest.approx((nats / tokens).item(), rel=1e-5)
    assert log_of(trainer.out, "gradient_norm")[1] == pytest.approx(norm.item(), rel=1e-3)


@pytest.fixture
def threads():
    """Puts back the number of threads that a test changes."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("shape", "optimizer"), [(SHAPE, "adamw"), (SHAPE, "muon"), (LSTM_SHAPE, "adamw")],
    ids=["transformer", "muon", "lstm"],
)  # fmt: skip
def test_two_processes_equal_accumulation_of_two(data, tmp_path, threads, shape, optimizer):
    """Two gloo processes on the CPU against one that accumulates: the same losses, step for step."""
    more = ["--steps", "50", "--warmup-steps", "10", "--optimizer", optimizer, "--dropout", "0.1"]
    torch.set_num_threads(1)  # as each of the two has: kernels round otherwise when they divide otherwise
    single = train(data, tmp_path / "single", *more, "--accumulate", "2", shape=shape)
    command = arguments(data, tmp_path / "double", *more, shape=shape)
    if shape is SHAPE and optimizer == "adamw":
        torchrun(2, "-m", "train.pretrain", *command)
    else:
        forked(2, tmp_path, "train.pretrain", *command)
    ours, theirs = log_of(single), log_of(tmp_path / "double")
    assert list(ours) == list(theirs) == list(range(1, 51))
    assert [theirs[step] for step in ours] == pytest.approx(list(ours.values()), abs=1e-5)
    valid = [log_of(run, "valid_bits_per_byte")[50] for run in (single, tmp_path / "double")]
    assert valid[0] == pytest.approx(valid[1], abs=1e-5)
    assert json.loads((tmp_path / "double" / "best" / "training.json").read_text())["processes"] == 2


def test_two_processes_go_on_bit_for_bit(data, tmp_path):
    """Each process seeds its dropout and takes its share of the batches by where the run is, not by when it began."""
    more = ["--decay-share", "0", "--warmup-steps", "2", "--dropout", "0.1"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    for run, steps in ((whole, ["12"]), (parts, ["7"]), (parts, ["12", "--resume"])):
        forked(2, tmp_path, "train.pretrain", *arguments(data, run, *more, "--steps", *steps))
    assert log_of(parts) == log_of(whole)
    ours, theirs = weights_of(whole), weights_of(parts)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_sharded_run_equals_accumulation_of_two_and_can_go_on_unsharded(data, tmp_path):
    """FSDP: losses, validation, best model and checkpoint are those of a run that is not split."""
    more = [
        "--warmup-steps",
        "2",
        "--sample-every",
        "5",
        "--valid-every",
        "4",
        "--decay-share",
        "0",
        "--dropout",
        "0.1",
    ]
    single = train(data, tmp_path / "single", *more, "--steps", "12", "--accumulate", "2")
    script = tmp_path / "sharded.py"
    script.write_text(SHARDED)
    run = tmp_path / "sharded"
    forked(2, tmp_path, script, *arguments(data, run, *more, "--steps", "6"), **FSDP)
    assert log_of(run, "start")[0]["sharded"] is True
    assert load_checkpoint(run)[0].progress.step == 6
    forked(2, tmp_path, script, *arguments(data, run, *more, "--steps", "9", "--resume"), **FSDP)
    train(data, run, *more, "--steps", "12", "--accumulate", "2", "--resume")
    for key, tolerance in (("loss", 1e-5), ("valid_bits_per_byte", 2e-5)):
        ours, theirs = log_of(single, key), log_of(run, key)
        assert {step: theirs[step] for step in ours} == pytest.approx(ours, abs=tolerance), key
    assert list(log_of(single, "sample")) == list(log_of(run, "sample")) == [5, 10]
    ours, theirs = weights_of(single), weights_of(run)
    assert all((ours[name] - theirs[name]).abs().max() < 1e-4 for name in ours)
    assert storygen.load(run / "best").artifact.training["steps"] == 12


@pytest.mark.parametrize(("budget", "steps"), [(["--tokens", "2000"], 5), (["--steps", "3"], 3)])
def test_budgets(data, tmp_path, budget, steps):
    run = train(data, tmp_path / "run", *budget)
    assert abs(max(log_of(run)) - steps) <= 1


@pytest.mark.parametrize("schedule", ["wsd", "cosine"])
def test_a_budget_in_minutes_ends_in_time_with_its_decay_done(data, tmp_path, schedule):
    more = ["--minutes", "0.05", "--valid-every", "100000", "--save-every", "100000", "--schedule", schedule]
    started = time.monotonic()
    run = train(data, tmp_path / "run", *more)
    assert time.monotonic() - started < 60
    rates = log_of(run, "learning_rate")
    assert rates[max(rates)] < 0.1 * max(rates.values())


def test_compiled_training_gives_the_same_losses(data, tmp_path):
    eager = train(data, tmp_path / "eager", "--steps", "3")
    compiled = train(data, tmp_path / "compiled", "--steps", "3", "--compile")
    assert list(log_of(compiled).values()) == pytest.approx(list(log_of(eager).values()), abs=1e-4)
    assert storygen.load(compiled / "best").model.config == storygen.load(eager / "best").model.config


def test_a_resume_across_the_end_of_an_epoch(data, tales, tmp_path):
    """Fifty stories are few batches: the run stops in its second epoch and goes on in it."""
    (tmp_path / "few.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in tales[:50]))
    few, tokenizer = tmp_path / "few", str(data / "tokenizer.json")
    prepare.main(["--input", f"{few}.jsonl", "--out", str(few), "--reuse-tokenizer", tokenizer])
    more = ["--batch-tokens", "4096", "--decay-share", "0"]
    whole = train(few, tmp_path / "whole", *more, "--steps", "12")
    cut = train(few, tmp_path / "cut", *more, "--steps", "7")
    assert load_checkpoint(cut)[0].progress.epoch == 1
    train(few, cut, *more, "--steps", "12", "--resume")
    assert load_checkpoint(cut)[0].progress.epoch == 2
    assert log_of(cut) == log_of(whole)
    assert same_weights(cut, whole)


def test_accelerates_own_accumulation_is_turned_off(data, tmp_path, monkeypatch):
    """With this variable set, for another project say, gradients were divided once more."""
    plain = train(data, tmp_path / "plain", "--steps", "2")
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    other = train(data, tmp_path / "other", "--steps", "2")
    assert log_of(other, "gradient_norm") == log_of(plain, "gradient_norm")


def test_trackers_get_the_figures(data, tmp_path):
    run = train(data, tmp_path / "run", "--steps", "3", "--track", "tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    [events] = {path.parent for path in run.rglob("events.out.tfevents.*") if path.parent.name == "storygen"}
    read = EventAccumulator(str(events))
    read.Reload()
    losses = {event.step: event.value for event in read.Scalars("loss")}
    assert losses == pytest.approx(log_of(run), abs=1e-5)


def test_same_settings_same_weights(data, tmp_path):
    """A recipe determines a run: written out and read again, it gives the same weights."""
    first = train(data, tmp_path / "first", "--steps", "4", "--dropout", "0.1", "--optimizer", "muon")
    second = tmp_path / "second"
    pretrain.main(["--data", str(data), "--out", str(second), "--recipe", str(first / "recipe.toml")])
    assert same_weights(first, second)
