"""Models on the Hub, for `python -m train.publish`: send one, fetch one, list them, check that one is what it says."""

import argparse
import shutil
import tempfile
from itertools import count, takewhile
from pathlib import Path
from typing import Any

from storygen import artifact, hub
from storygen.card import card_for_hub
from storygen.config import GenerationConfig, write_json
from storygen.errors import StorygenError
from storygen.folders import output_folder, written_aside
from storygen.writer import Writer


def add_commands(commands: Any) -> None:
    """Adds `model`, `pull`, `list` and `verify` to the subcommands of a parser."""
    model = commands.add_parser("model", help="send a released checkpoint to the Hub")
    model.add_argument("model", type=Path, help="folder that `checkpoint` has written")
    model.add_argument("repo", help="Hub repository user/name; made if need be")
    model.add_argument("--private", action="store_true", help="make the repository private")
    model.add_argument("--tag", help="name of this version, v1 for instance")
    model.set_defaults(run=send)
    pull = commands.add_parser("pull", help="fetch a model from the Hub into a folder")
    pull.add_argument("repo", help="Hub repository user/name")
    pull.add_argument("out", type=Path, help="folder to write")
    pull.add_argument("--revision", help="branch, tag or commit (default: main)")
    pull.add_argument("--overwrite", action="store_true", help="replace OUT if it is a model")
    pull.set_defaults(run=pull_model)
    listing = commands.add_parser("list", help="list the storygen models of a user of the Hub")
    listing.add_argument("author", nargs="?", help="user or organisation (default: whose token it is)")
    listing.set_defaults(run=list_models)
    verify = commands.add_parser("verify", help="check a model: hashes, loading, recorded samples")
    verify.add_argument("model", help="folder or Hub repository")
    verify.add_argument("--revision", help="branch, tag or commit of the Hub repository")
    verify.set_defaults(run=verify_model)


def send(arguments: argparse.Namespace) -> None:
    """Sends the model to the Hub with hashes of its files and a card that says how to load it from there."""
    folder, repo = arguments.model, arguments.repo
    with tempfile.TemporaryDirectory() as work:
        _write_release(folder, repo, arguments.tag, Path(work))
        sent = hub.send_model(Path(work), repo, private=arguments.private, tag=arguments.tag)
    print(sent.url)
    print(f"revision to pin: {sent.commit}{f' (tag {arguments.tag})' if arguments.tag else ''}")
    print(f'storygen.load("{repo}", revision="{sent.commit}")')
    print(f"STORYGEN_MODELS={repo}@{sent.commit}")


def _write_release(folder: Path, repo: str, tag: str | None, work: Path) -> None:
    """Puts what the repository will hold into `work`."""
    training = artifact.load(folder).training
    for what, there in (
        ("figures", "metrics" in training),
        ("samples", "samples" in training),
        ("card", (folder / artifact.CARD).exists()),
    ):
        if not there:
            raise StorygenError(f"{folder} has no {what}; `python -m train.publish checkpoint` makes them")
    sums = artifact.hashes(folder)
    for name in (*sums, artifact.INDEX):
        if (folder / name).exists():
            shutil.copyfile(folder / name, work / name)
    write_json(work / artifact.TRAINING, {**training, artifact.HASHES: sums})
    card = card_for_hub((folder / artifact.CARD).read_text(encoding="utf-8"), repo, tag)
    (work / artifact.CARD).write_text(card, encoding="utf-8")


def pull_model(arguments: argparse.Namespace) -> None:
    """Writes the folder `out` with the model of a Hub repository, once all of it has come and loads."""
    out = output_folder(arguments.out, arguments.overwrite, (artifact.CONFIG,))
    if Path(arguments.repo).is_dir():
        raise StorygenError(f"{arguments.repo} is a local folder; name a Hub repository, user/name")
    cached, commit = artifact.locate(arguments.repo, arguments.revision)
    artifact.load(cached)
    with written_aside(out) as work:
        for name in artifact.FILES:
            if (cached / name).exists():
                shutil.copyfile(cached / name, work / name)
    print(f"{arguments.repo} at {commit} written to {arguments.out}")


def list_models(arguments: argparse.Namespace) -> None:
    """Prints a line for each model: what pins it, the day it was changed, and whether it is private."""
    found = hub.list_models(arguments.author)
    for each in found:
        print(f"{each.repo}@{each.commit}  {each.changed}{'  private' if each.private else ''}")
    if not found:
        print("no storygen models")


def verify_model(arguments: argparse.Namespace) -> None:
    """Checks the files against the Hub and against their recorded hashes, loads them, writes the samples again."""
    name = arguments.model
    folder, commit = artifact.locate(name, arguments.revision)
    if commit:
        _none_differs(hub.differing(name, commit), f"what the Hub has at {commit}; remove {folder}, and fetch it again")
        print(f"files: as on the Hub at {commit}")
    recorded = artifact.read_training(folder).get(artifact.HASHES)
    if recorded:
        found = artifact.hashes(folder)
        _none_differs([each for each in found if found[each] != recorded.get(each)], "what training.json recorded")
    print(f"files: {'as training.json recorded them' if recorded else 'training.json has no hashes to compare with'}")
    loaded = artifact.load(folder)
    print(f"model: loads, {loaded.model.num_parameters:,} parameters")
    writer, samples = Writer(loaded), loaded.training.get("samples", [])
    for number, sample in zip(count(1), samples):
        _write_again(writer, sample, f"sample {number} of {len(samples)}")
    if not samples:
        print("samples: training.json has none")


def _none_differs(names: list[str], right: str) -> None:
    if names:
        raise StorygenError(f"{', '.join(sorted(names))}: not {right}")


def _write_again(writer: Writer, sample: dict[str, Any], which: str) -> None:
    try:
        config = GenerationConfig.from_dict(sample["settings"])
        opening, title, told = sample["opening"], sample["title"], sample["story"]
    except (KeyError, TypeError) as error:
        raise StorygenError(f"{which} in training.json lacks {error}") from None
    story = writer.generate(opening, title, config).story.strip()
    if story != told:
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(story, told, strict=False)))
        raise StorygenError(
            f"{which} (seed {config.seed}) comes out differently from character {same} on; with right hashes it is "
            "the machine: another processor or release of torch may round otherwise"
        )
    print(f"{which}: written again, the same (seed {config.seed})")
