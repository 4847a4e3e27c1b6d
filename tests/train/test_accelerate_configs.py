"""The shipped launch configurations, read by accelerate itself."""

from pathlib import Path

import pytest
from accelerate.commands.config.config_args import load_config_from_file
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env

FOLDER = Path(__file__).parents[2] / "train" / "accelerate"
CONFIGS = sorted(FOLDER.glob("*.yaml"))


def launch_arguments(path):
    parser = launch_command_parser()
    arguments = parser.parse_args(["--config_file", str(path), "-m", "train.pretrain", "--help"])
    arguments, _, _ = _validate_launch_command(arguments)
    return arguments


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_accelerate_reads_it(path):
    """A misspelt or retired key is refused by accelerate only when somebody has paid for eight GPUs."""
    config = load_config_from_file(str(path))
    assert config.num_processes == {"one-gpu": 1, "one-node": 8, "nodes": 16, "fsdp": 8}[path.stem]


@pytest.mark.parametrize("name", ["one-node", "nodes", "fsdp"])
def test_what_the_launcher_makes_of_it(name, monkeypatch):
    """The environment of the processes: as many as there are GPUs, sharded only where that is asked for."""
    monkeypatch.setattr("accelerate.commands.launch.is_cuda_available", lambda: True, raising=False)
    arguments = launch_arguments(FOLDER / f"{name}.yaml")
    environment = prepare_multi_gpu_env(arguments)
    assert (environment.get("ACCELERATE_USE_FSDP") == "true") == (name == "fsdp")
    if name == "fsdp":
        assert environment["FSDP_VERSION"] == "2"
        assert environment["FSDP_TRANSFORMER_CLS_TO_WRAP"] == "Block"
        assert environment["FSDP_CPU_RAM_EFFICIENT_LOADING"] == "false"
        assert environment["FSDP_RESHARD_AFTER_FORWARD"] == "true"
    assert int(arguments.num_machines) == (2 if name == "nodes" else 1)
