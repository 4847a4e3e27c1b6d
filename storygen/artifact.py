"""One trained model as a folder, the only thing that training and serving share.

config.json (architecture and shape), model.safetensors (float16), tokenizer.json, training.json (how it came to be) and
README.md (the model card); with a reward model also reward.safetensors, and memorisation.safetensors if an index of the
training text goes with it. Nothing in it is ever executed.
"""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from storygen.config import ModelConfig, read_json, write_json
from storygen.errors import StorygenError
from storygen.evaluation.memorisation import FILE as INDEX
from storygen.folders import written_aside
from storygen.hub import fetch_file, fetch_files
from storygen.models import ARCHITECTURES, LanguageModel, build_model, config_from_dict, config_to_dict
from storygen.tokenizers import Tokenizer, load_tokenizer
from storygen.tuning.reward import FILE as REWARD
from storygen.tuning.reward import RewardModel, load_reward, save_reward

CONFIG, WEIGHTS, TOKENIZER, TRAINING, CARD = (
    "config.json", "model.safetensors", "tokenizer.json", "training.json", "README.md",
)  # fmt: skip
REQUIRED = (CONFIG, WEIGHTS, TOKENIZER)
FILES = (*REQUIRED, TRAINING, CARD, REWARD, INDEX)
HASHES = "sha256"
"""Field of training.json: the SHA-256 of each required file, and of the reward model if there is one, by name."""
BEST = "best"
"""Folder of a training run's best model so far; the model goes by the name of the run."""
TIED = "head.weight"
"""Not stored when it is the embedding matrix."""
MAX_JSON = 100_000_000
"""Bytes of a JSON file; a larger one is no model's, and would be read into memory as a whole."""


@dataclass(frozen=True)
class Artifact:
    """A model with its tokenizer, where it came from and how it was trained."""

    model: LanguageModel
    tokenizer: Tokenizer
    name: str
    revision: str = ""
    """Commit of the Hub repository; for a local folder the start of its weights' SHA-256."""
    training: dict[str, Any] = field(default_factory=dict)
    reward: RewardModel | None = None
    """What picks the best of several stories, if one was trained."""
    folder: Path | None = None
    """Where its files are, if it was loaded from any."""


def save(
    directory: str | Path,
    model: LanguageModel,
    tokenizer: Tokenizer,
    training: dict[str, Any] | None = None,
    card: str | None = None,
    reward: RewardModel | None = None,
) -> Path:
    """Writes the folder to the side, then puts it in place of an earlier one, so that a cut write loses nothing."""
    directory = Path(directory)
    if model.config.vocab_size != tokenizer.vocab_size:
        raise StorygenError(
            f"the model has a vocabulary of {model.config.vocab_size}, the tokenizer of {tokenizer.vocab_size}"
        )
    tied = {TIED} if model.config.tie_embeddings else set()
    weights = {
        name: tensor.detach().to("cpu", torch.float16).contiguous()
        for name, tensor in model.state_dict().items()
        if name not in tied
    }
    _check_finite(directory / WEIGHTS, weights)
    with written_aside(directory) as work:
        try:
            save_file(weights, work / WEIGHTS, metadata={"format": "pt"})
        except SafetensorError as error:  # what the library makes of a full disk
            raise StorygenError(f"{directory / WEIGHTS} cannot be written: {error}") from None
        (work / WEIGHTS).chmod(0o644)  # the library lets nobody but the owner read it
        write_json(work / CONFIG, config_to_dict(model.config))
        tokenizer.save(work / TOKENIZER)
        if reward is not None:
            save_reward(work, reward, _sha256(work / WEIGHTS))
        write_json(work / TRAINING, {**(training or {}), HASHES: hashes(work)})
        if card:
            (work / CARD).write_text(card, encoding="utf-8")
    return directory


def load(path_or_repo: str | Path, revision: str | None = None) -> Artifact:
    """The artifact in a local folder or a Hub repository ("user/name"), in float32 and ready for inference.

    Whatever does not fit is refused with a StorygenError that names the file and the field.
    """
    if not isinstance(path_or_repo, (str, Path)):
        raise StorygenError(f"a model is named by a folder or a Hub repository, not by {type(path_or_repo).__name__}")
    directory, revision = locate(path_or_repo, revision)
    for path in (directory / name for name in (CONFIG, TOKENIZER, TRAINING)):
        if path.exists() and path.stat().st_size > MAX_JSON:
            raise StorygenError(f"{path} has {path.stat().st_size:,} bytes; at most {MAX_JSON:,} are read")
    model = _load_model(directory)
    tokenizer = load_tokenizer(directory / TOKENIZER)
    if tokenizer.vocab_size != model.config.vocab_size:
        raise StorygenError(
            f"{directory / TOKENIZER} has {tokenizer.vocab_size} tokens, but vocab_size in {CONFIG} is "
            f"{model.config.vocab_size}"
        )
    training = read_training(directory)
    training.pop(HASHES, None)  # which is about these files, not about the model
    weights = _sha256(directory / WEIGHTS)
    name = str(path_or_repo)
    if not revision:
        folder = directory.resolve()
        name = folder.parent.name if folder.name == BEST else folder.name
        revision = weights[:12]
    reward = load_reward(directory, model, weights) if (directory / REWARD).exists() else None
    return Artifact(model.eval(), tokenizer, name, revision, training, reward, directory)


def locate(path_or_repo: str | Path, revision: str | None = None) -> tuple[Path, str]:
    """The folder that holds an artifact's files, and its commit if it is a Hub repository, else "".

    Of a repository only FILES are fetched, and nothing in them is code; what is not a storygen model is refused.
    """
    path = Path(path_or_repo)
    if path.is_dir():
        if revision:
            raise StorygenError(f"{path} is a local folder, which has no revision {revision!r}")
        folder, commit = path, ""
    else:
        folder = _fetched(str(path_or_repo), revision)
        commit = folder.name
    for name in REQUIRED:
        if not (folder / name).exists():
            raise StorygenError(f"{path_or_repo} is not a storygen model: {name} is missing")
    return folder, commit


def _fetched(repo: str, revision: str | None) -> Path:
    if repo.count("/") != 1 or repo.startswith((".", "/", "~")) or Path(repo).exists():
        raise StorygenError(f"there is no model folder {repo!r}, and a Hub repository is written user/name")
    config = fetch_file(repo, revision, CONFIG)
    if config is None:
        raise StorygenError(f"{repo} is not a storygen model: {CONFIG} is missing")
    folder = config.parent
    try:
        _read_config(folder)  # before the weights, which may be anybody's gigabytes
    except StorygenError as error:
        raise StorygenError(f"{repo} is not a storygen model: {str(error).removeprefix(f'{folder}/')}") from None
    fetch_files(repo, folder.name, FILES)
    return folder


def read_training(directory: Path) -> dict[str, Any]:
    """What training.json holds, hashes included; empty without one."""
    path = directory / TRAINING
    training = read_json(path) if path.exists() else {}
    if not isinstance(training, dict):
        raise StorygenError(f"{path} must hold a JSON object, not {type(training).__name__}")
    return training


def hashes(directory: Path) -> dict[str, str]:
    """The SHA-256 of each required file, and of the reward model if there is one, by name."""
    return {name: _sha256(directory / name) for name in (*REQUIRED, REWARD) if (directory / name).exists()}


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _read_config(directory: Path) -> ModelConfig:
    values = read_json(directory / CONFIG)
    if not isinstance(values, dict) or "architecture" not in values:
        raise StorygenError(
            f"{directory / CONFIG} has no field 'architecture'; it must be one of {', '.join(ARCHITECTURES)}"
        )
    try:
        return config_from_dict(values)
    except StorygenError as error:
        raise StorygenError(f"{directory / CONFIG}: {error}") from None


def _load_model(directory: Path) -> LanguageModel:
    config = _read_config(directory)
    path = directory / WEIGHTS
    with torch.device("meta"):  # shapes only: nothing is allocated until the file has proved to fit them
        expected = {name: tensor.shape for name, tensor in build_model(config).state_dict().items()}
    if config.tie_embeddings:
        del expected[TIED]
    try:
        with safe_open(path, framework="pt") as file:
            found = {name: torch.Size(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118 (not a dict)
            _check_shapes(path, expected, found)
            weights = {name: file.get_tensor(name).float() for name in expected}
    except (SafetensorError, OSError) as error:
        raise StorygenError(f"{path} is not a readable safetensors file: {error}") from None
    _check_finite(path, weights)
    model = build_model(config)
    if config.tie_embeddings:
        weights[TIED] = weights["embedding.weight"]
    model.load_state_dict(weights)
    return model


def _check_shapes(path: Path, expected: dict[str, torch.Size], found: dict[str, torch.Size]) -> None:
    for name in [*expected, *found]:
        if name not in found:
            raise StorygenError(f"{path} lacks the tensor {name!r} that {CONFIG} asks for")
        if name not in expected:
            raise StorygenError(f"{path} has a tensor {name!r} that {CONFIG} has no place for")
        if found[name] != expected[name]:
            raise StorygenError(f"{path}: {name!r} is {list(found[name])}, {CONFIG} asks for {list(expected[name])}")


def _check_finite(path: Path, weights: dict[str, torch.Tensor]) -> None:
    for name, tensor in weights.items():
        if not tensor.isfinite().all():
            raise StorygenError(f"{path}: {name!r} has values that are infinite, not numbers, or too large for float16")
