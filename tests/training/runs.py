"""Small runs, and what is read of them."""

import functools
import os
import subprocess
import sys
import time

import torch

from storygen.data.shards import PackedStories
from storygen.models import build_model
from storygen.tokenizers import load_tokenizer
from storygen.training import machine
from storygen.training.checkpoint import load_checkpoint
from storygen.training.log import RunLog
from storygen.training.trainer import Trainer
from tests.conftest import tiny_config
from tests.processes import Process, start_ranks
from train import pretrain

machine.matmul_rate = functools.cache(machine.matmul_rate)  # it takes as long as a small run

SHAPE = ["--hidden-size", "32", "--num-layers", "1", "--num-heads", "2", "--intermediate-size", "48"]
LSTM_SHAPE = ["--architecture", "lstm", "--hidden-size", "48", "--embedding-size", "24"]
FAST = [
    "--context-length", "64", "--batch-tokens", "512", "--valid-tokens", "2000", "--log-every", "1",
    "--precision", "float32",
]  # fmt: skip


def arguments(data, out, *more, shape=SHAPE):
    return ["--data", str(data), "--out", str(out), *shape, *FAST, *more]


def train(data, out, *more, shape=SHAPE):
    """Trains in this process; the folder of the run."""
    pretrain.main(arguments(data, out, *more, shape=shape))
    return out


def torchrun(processes, *command):
    """Runs `python COMMAND` in so many gloo processes on the CPU."""
    launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(processes)]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *launcher, *command], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]


def forked(processes, folder, module, *arguments, **environment):
    """The same without torchrun, whose imports take longer than such a run."""
    ranks = start_ranks(folder, processes, module, *arguments, **environment)
    try:
        while any(rank.is_running() for rank in ranks) and not any(rank.has_failed() for rank in ranks):
            time.sleep(0.05)
        for rank in sorted(ranks, key=Process.has_failed, reverse=True):  # the others may wait for it in vain
            status, _, errors = rank.run()
            assert status == 0, errors[-3000:]
    finally:
        for rank in ranks:
            rank.kill()


def trainer_of(data, out, config, **changes):
    """A trainer of the tiny Transformer."""
    tokenizer = load_tokenizer(data / "tokenizer.json")
    torch.manual_seed(0)
    model = build_model(tiny_config("transformer", tokenizer.vocab_size, **changes))
    return Trainer(model, tokenizer, PackedStories(data, "train"), PackedStories(data, "valid"), config, out)


def log_of(run, key="loss"):
    """step -> value, of the lines that have the key."""
    return {line["step"]: line[key] for line in RunLog(run).read() if key in line}


def weights_of(run):
    return load_checkpoint(run)[0].model


def same_weights(one, other):
    first, second = weights_of(one), weights_of(other)
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)
