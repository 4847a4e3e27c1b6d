"""What a run runs on: `accelerate`, precision and compilation, each with the reason, and what the machine could do."""

import math
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.utils import DistributedType, parse_flag_from_env

from storygen.config import ModelConfig, TransformerConfig
from storygen.errors import StorygenError
from storygen.models import LanguageModel
from storygen.training.cost import check_memory, flops_per_token
from storygen.training.hardware import free_memory, keep_freed_memory, matmul_rate
from storygen.training.settings import TrainConfig

TRACKERS = ("tensorboard", "trackio", "wandb")
COMPILE_PAYS_AFTER = 600.0
"""Seconds of training from which a minute of compiling is earned back twice."""


@dataclass(frozen=True)
class Machine:
    """What a run runs on and how; goes into the log and into training.json."""

    is_main: bool
    """Whether this process is the one that writes."""
    device: str
    processes: int
    threads: int
    sharded: bool
    """Whether the processes share one copy of the model (FSDP) rather than hold one each."""
    precision: str
    precision_because: str
    compile: bool
    compile_because: str
    parameters: int
    flops_per_token: float
    """Of a training step, in rows of the context length."""
    matmul_flops: float
    """Floating-point operations a second that products of large matrices reach in this precision, all processes
    together."""

    def to_dict(self) -> dict[str, Any]:
        """As plain JSON values, the same in all processes."""
        values = asdict(self)
        del values["is_main"]
        return values

    @property
    def choices(self) -> dict[str, Any]:
        """What was chosen for the run, with the reasons; it stays so, or a resumed run could round otherwise."""
        names = ("precision", "precision_because", "compile", "compile_because")
        return {name: getattr(self, name) for name in names}

    def __str__(self) -> str:
        shape = f"{self.processes} x {self.device}" if self.processes > 1 else self.device
        threads = f", {self.threads} threads" if self.device == "cpu" else ""
        return (
            f"{shape}{threads}; {self.precision} ({self.precision_because}); "
            f"{'compiled' if self.compile else 'not compiled'} ({self.compile_because}); "
            f"{self.parameters:,} parameters, {self.flops_per_token / 1e6:.1f} MFLOP a token, "
            f"matmul reaches {self.matmul_flops / 1e9:,.0f} GFLOP/s"
        )


def check_run(model: ModelConfig, config: TrainConfig, longest: int, track: str | None) -> None:
    """Refuses, before anything is built, a run that this machine can't do or follow.

    `longest` is the number of tokens of the longest story.
    """
    check_launch()
    state = _state()
    choose_precision(config.precision, state.device)
    is_sharded = state.device.type != "cpu" and parse_flag_from_env("ACCELERATE_USE_FSDP")
    shards = state.num_processes if is_sharded else 1
    check_memory(model, config, free_memory(state.device), longest, shards)
    if track and find_spec(track) is None:
        raise StorygenError(f"tracker {track!r} is not installed; pip install {track}")


def set_up(
    model: LanguageModel, config: TrainConfig, track: str | None, out: Path, before: Mapping[str, Any]
) -> tuple[Accelerator, Machine]:
    """The `Accelerator` of a run, and what it runs on.

    `before` is what was chosen (`Machine.choices`) for a run that goes on, which holds where nothing else is asked for.
    """
    device = _state().device
    if device.type == "cpu":
        keep_freed_memory()
    wanted = before.get("precision", "auto") if config.precision == "auto" else config.precision
    precision, precision_because = choose_precision(wanted, device)
    if wanted != config.precision:
        precision_because = before["precision_because"]
    accelerator = Accelerator(
        mixed_precision={"float32": "no", "bfloat16": "bf16", "float16": "fp16"}[precision],
        log_with=track,
        project_dir=out if track else None,
    )
    accelerator.gradient_accumulation_steps = 1  # the trainer accumulates; accelerate would divide once more
    sharded = accelerator.distributed_type == DistributedType.FSDP
    if sharded and config.optimizer == "muon":
        raise StorygenError("muon needs whole matrices, and FSDP splits them; use adamw with FSDP, or muon with DDP")
    if sharded and config.lora_rank:
        raise StorygenError("adapters need whole matrices, and FSDP splits them; use lora_rank with DDP")
    measured = torch.tensor(matmul_rate(device, getattr(torch, precision)), device=device)
    rate = accelerator.reduce(measured, "sum").item()  # the same everywhere, as all must decide alike
    flops = flops_per_token(model, model.config.context_length)
    seconds = expected_seconds(config, flops / rate, accelerator.num_processes)
    asked = before.get("compile") if config.compile is None else config.compile
    compiled, compile_because = choose_compile(asked, model.config, device, seconds, sharded)
    if asked != config.compile:
        compile_because = before["compile_because"]
    return accelerator, Machine(
        accelerator.is_main_process, device.type, accelerator.num_processes, torch.get_num_threads(), sharded,
        precision, precision_because,
        compiled, compile_because, model.num_parameters, flops, rate,
    )  # fmt: skip


def first_process() -> bool:
    """Whether this process is the one that writes, of all that run together."""
    check_launch()
    return _state().is_main_process


def _state() -> PartialState:
    return PartialState(cpu=parse_flag_from_env("ACCELERATE_USE_CPU"))


def expected_seconds(config: TrainConfig, seconds_per_token: float, processes: int) -> float:
    """About how long a run will take: the shortest of its budgets."""
    per_step = config.batch_tokens * config.accumulate * processes * seconds_per_token
    return min(
        config.minutes * 60 if config.minutes else math.inf,
        config.steps * per_step if config.steps else math.inf,
        config.tokens * seconds_per_token if config.tokens else math.inf,
    )


def check_launch(environment: Mapping[str, str] = os.environ) -> None:
    """Refuses a launch that was to start several processes and started one.

    `accelerate launch --cpu --num_processes 2` does that (accelerate 1.15): it names a main process to meet at, but
    gives nobody a rank.
    """
    launched = {"ACCELERATE_MIXED_PRECISION", "MASTER_ADDR"} <= environment.keys() and "RANK" not in environment
    if launched and environment.get("ACCELERATE_USE_CPU", "").lower() == "true":
        raise StorygenError(
            "accelerate launch was asked for several processes and started only one, as it does with --cpu; on a CPU "
            "run ACCELERATE_USE_CPU=true torchrun --standalone --nproc_per_node 2 -m train.pretrain ..."
        )


def choose_precision(wanted: str, device: torch.device) -> tuple[str, str]:
    """The precision of the matrix products and the reason for it.

    `auto` is half precision only where the hardware multiplies it faster; a wish that it can't fulfil is refused.
    """
    if device.type == "cuda":
        name = torch.cuda.get_device_name(device)
        native = torch.cuda.is_bf16_supported(including_emulation=False)
        if wanted == "bfloat16" and not native:
            raise StorygenError(f"{name} has no bfloat16; set precision to float16, float32 or auto")
        if wanted != "auto":
            return wanted, "as asked"
        if native:
            return "bfloat16", f"{name} has units for it"
        if torch.cuda.get_device_capability(device) >= (7, 0):
            return "float16", f"{name} has units for it, and none for bfloat16"
        return "float32", f"{name} has no units for half precision"
    if wanted == "float16":
        raise StorygenError(f"float16 needs a GPU, and this is {device.type}; set precision to float32 or auto")
    if wanted != "auto":
        return wanted, "as asked"
    if device.type == "cpu" and torch.cpu._is_amx_tile_supported():
        return "bfloat16", "this CPU has units for it (AMX)"
    return "float32", f"half precision is slower on this {device.type}"


def choose_compile(
    wanted: bool | None, config: ModelConfig, device: torch.device, seconds: float, sharded: bool
) -> tuple[bool, str]:
    """Whether to compile a model that will train for about so many seconds, and the reason.

    StorygenError if that is asked for and does not work.
    """
    if wanted:
        if problem := compile_problem(device):
            raise StorygenError(f"torch.compile does not work here: {problem}; leave compile out, or say --no-compile")
        return True, "as asked"
    if wanted is not None:
        return False, "as asked"
    if not isinstance(config, TransformerConfig):
        return False, "a recurrent model takes longer to compile than it wins"
    if sharded:
        return False, "the model is sharded"
    if device.type not in ("cpu", "cuda"):
        return False, f"not tried on {device.type}"
    if seconds < COMPILE_PAYS_AFTER:
        return False, "the run is too short for it to pay"
    if problem := compile_problem(device):
        return False, f"it does not work here: {problem}"
    return True, "the run is long enough for it to pay"


def compile_problem(device: torch.device) -> str:
    """Why `torch.compile` fails on something small; empty if it works."""
    try:
        torch.compile(lambda x: x * 2 + 1)(torch.ones(8, device=device))
    except Exception as error:  # no compiler, a broken one, no Triton: open-ended
        return str(error).strip().splitlines()[0]
    return ""
