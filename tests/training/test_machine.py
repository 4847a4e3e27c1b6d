import os
import subprocess
import sys

import pytest
import torch

from storygen.config import LSTMConfig, TransformerConfig
from storygen.errors import StorygenError
from storygen.models import build_model
from storygen.training import machine
from storygen.training.cost import bytes_needed, check_memory, flops_per_token
from storygen.training.machine import check_launch, choose_compile, choose_precision, expected_seconds
from storygen.training.settings import TrainConfig
from tests.conftest import tiny_config
from tests.training.runs import arguments, train

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def gpu(monkeypatch, *, bf16, capability):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Card")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation: bf16)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: capability)


@pytest.mark.parametrize(
    ("bf16", "capability", "expected"),
    [(True, (9, 0), "bfloat16"), (False, (7, 5), "float16"), (False, (6, 1), "float32")],
)
def test_a_gpu_gets_the_half_precision_that_it_has_units_for(monkeypatch, bf16, capability, expected):
    """bfloat16 is emulated on older cards and then slower than float32; float16 without tensor cores is, too."""
    gpu(monkeypatch, bf16=bf16, capability=capability)
    precision, because = choose_precision("auto", CUDA)
    assert precision == expected
    assert "Card" in because


def test_a_cpu_gets_float32_unless_it_multiplies_tiles(monkeypatch):
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: False)
    assert choose_precision("auto", CPU) == ("float32", "half precision is slower on this cpu")
    monkeypatch.setattr(torch.cpu, "_is_amx_tile_supported", lambda: True)
    assert choose_precision("auto", CPU)[0] == "bfloat16"
    assert choose_precision("float32", CPU) == ("float32", "as asked")


def test_what_the_hardware_has_not_is_refused(monkeypatch):
    with pytest.raises(StorygenError, match="float16 needs a GPU, and this is cpu"):
        choose_precision("float16", CPU)
    gpu(monkeypatch, bf16=False, capability=(7, 5))
    with pytest.raises(StorygenError, match="Card has no bfloat16; set precision to float16"):
        choose_precision("bfloat16", CUDA)


@pytest.mark.parametrize(
    ("wanted", "config", "seconds", "works", "expected", "because"),
    [
        (None, TransformerConfig(), 3600, True, True, "long enough"),
        (None, TransformerConfig(), 60, True, False, "too short"),
        (None, TransformerConfig(), 3600, False, False, "it does not work here: no compiler"),
        (None, LSTMConfig(), 3600, True, False, "recurrent"),
        (True, LSTMConfig(), 1, True, True, "as asked"),
        (False, TransformerConfig(), 3600, True, False, "as asked"),
    ],
)
def test_compiling_where_it_pays_and_works(monkeypatch, wanted, config, seconds, works, expected, because):
    """A broken compiler must cost a remark, not the run."""

    def compile_it(function):
        def run(x):
            if not works:
                raise RuntimeError("no compiler\nlong story")
            return function(x)

        return run

    monkeypatch.setattr(torch, "compile", compile_it)
    compiled, reason = choose_compile(wanted, config, CPU, seconds, sharded=False)
    assert compiled == expected
    assert because in reason


def test_compiling_that_was_asked_for_and_does_not_work_is_refused(monkeypatch):
    """It ended in a hundred lines of the compiler's own."""
    monkeypatch.setattr(torch, "compile", lambda _: lambda _: (_ for _ in ()).throw(RuntimeError("no compiler\nlong")))
    with pytest.raises(StorygenError, match="does not work here: no compiler; leave compile out, or say --no-compile"):
        choose_compile(True, TransformerConfig(), CPU, 3600, sharded=False)


def test_expected_time_is_that_of_the_shortest_budget():
    assert expected_seconds(TrainConfig(minutes=2, steps=10**6), 1e-4, 1) == 120
    assert expected_seconds(TrainConfig(tokens=1000), 1e-4, 1) == pytest.approx(0.1)
    assert expected_seconds(TrainConfig(steps=10, batch_tokens=100, accumulate=2), 1e-4, 3) == pytest.approx(0.6)


def test_accelerate_launch_on_a_cpu_is_refused_when_it_starts_one_process_of_two(data, tmp_path):
    """accelerate 1.15 starts one process without a word; the run would have half the batch that was asked for."""
    launcher = ["-m", "accelerate.commands.launch", "--cpu", "--num_processes", "2", "-m", "train.pretrain"]
    command = [sys.executable, *launcher, *arguments(data, tmp_path / "run", "--steps", "1")]
    environment = {name: value for name, value in os.environ.items() if name not in ("RANK", "MASTER_ADDR")}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode != 0
    assert "started only one" in done.stderr
    assert "torchrun --standalone" in done.stderr
    assert not (tmp_path / "run").exists()


LAUNCHED = {"MASTER_ADDR": "x", "ACCELERATE_MIXED_PRECISION": "no", "ACCELERATE_USE_CPU": "true"}


@pytest.mark.parametrize("environment", [{}, {**LAUNCHED, "RANK": "0"}, {**LAUNCHED, "ACCELERATE_USE_CPU": "false"}])
def test_other_launches_are_fine(environment):
    check_launch(environment)


def test_flops_count_what_is_multiplied():
    """A tied matrix once, a looked-up one not at all, attention by how far back it looks."""
    tied = build_model(tiny_config("transformer", tie_embeddings=True))
    loose = build_model(tiny_config("transformer", tie_embeddings=False, positions="learned"))
    matrices = 2 * (32 * 96 + 32 * 32 + 32 * 96 + 48 * 32) + 400 * 32
    assert flops_per_token(tied, 10) == 6 * matrices + 12 * 2 * 32 * 5
    assert flops_per_token(loose, 10_000) == 6 * matrices + 12 * 2 * 32 * 32  # it sees 64 back at most
    lstm = build_model(tiny_config("lstm"))
    assert flops_per_token(lstm, 10) == 6 * (128 * (24 + 32) + 128 * (32 + 32) + 32 * 24 + 400 * 24)


def test_what_can_not_fit_is_refused_before_it_is_built():
    """A model of a hundred billion weights must cost a message, not the machine's memory."""
    huge = TransformerConfig(hidden_size=16_384, num_layers=50, num_heads=64, intermediate_size=32_768)
    once, room = TrainConfig(steps=1), 8_000_000_000
    needed = bytes_needed(huge, once, longest=1000)
    assert needed > 16 * 50 * 10 * 16_384**2
    assert bytes_needed(huge, once, longest=1000, shards=8) < needed / 7  # FSDP is for what does not fit otherwise
    with pytest.raises(StorygenError, match=r"needs at least [\d.]+ GB and 8.0 GB are free; lower batch_tokens"):
        check_memory(huge, once, room, 1000)
    check_memory(TransformerConfig(), once, room, 1000)
    with pytest.raises(StorygenError, match=r"batch_tokens \(1000000000;"):
        check_memory(TransformerConfig(), TrainConfig(steps=1, batch_tokens=10**9), room, 1000)
    long = LSTMConfig(context_length=10_000_000)
    check_memory(long, once, room, longest=2000)  # no row is wider than the longest story


def test_the_run_is_refused_before_the_model_is_built(data, tmp_path):
    """It was built first, and the machine swapped."""
    shape = ["--hidden-size", "65536", "--num-layers", "900", "--num-heads", "64", "--intermediate-size", "262144"]
    with pytest.raises(StorygenError, match="this run needs at least"):
        train(data, tmp_path / "run", "--steps", "1", shape=shape)


def test_a_tracker_that_is_not_installed_is_refused(data, tmp_path, monkeypatch):
    """accelerate says it in a debug message and trains untracked."""
    monkeypatch.setattr(machine, "find_spec", lambda name: None)
    with pytest.raises(StorygenError, match="tracker 'wandb' is not installed; pip install wandb"):
        train(data, tmp_path / "run", "--steps", "1", "--track", "wandb")
