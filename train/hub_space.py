"""The app as a Space on the Hub, for `python -m train.publish space`: checked, then sent with its settings."""

import argparse
import os
import secrets
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from storygen import artifact, hub
from storygen.catalogue import VARIABLE as MODELS
from storygen.errors import StorygenError
from train import space
from train.clean_start import start_clean

ROOT = Path(__file__).parents[1]
RATINGS, SECRET, TOKEN = "STORYGEN_RATINGS", "STORYGEN_SECRET", "STORYGEN_SPACE_TOKEN"
"""Environment variables: the app reads the dataset of the ratings and the key of the raters' pseudonyms; this command
reads the token that the Space shall have as HF_TOKEN."""
OURS = "storygen/__init__.py"
"""A Space that has files must have this one before they are replaced."""


@dataclass(frozen=True)
class Plan:
    """A Space, ready to be sent: its folder of files and its settings."""

    folder: Path
    hardware: str
    private: bool
    ratings: str | None
    closed: tuple[str, ...] = ()
    """Models that not everybody can read."""
    variables: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, str] = field(default_factory=dict)


def add_command(commands: Any) -> None:
    """Adds `space` to the subcommands of a parser."""
    parser = commands.add_parser("space", help="make a Space of the app, or renew it")
    parser.add_argument("repo", help="Space user/name; made if need be")
    parser.add_argument("--hardware", choices=space.HARDWARE, default=space.HARDWARE[0], help="default: cpu-basic")
    parser.add_argument(
        "--models",
        nargs="+",
        default=[],
        metavar="USER/NAME[@REVISION]",
        help="Hub repositories of its models; default, and what it falls back to: the bundled checkpoints",
    )
    parser.add_argument("--ratings", metavar="USER/NAME", help="dataset for the ratings; made, private, if need be")
    parser.add_argument("--private", action="store_true", help="make the Space private")
    parser.add_argument(
        "--torch-index", metavar="URL", help="on cpu-basic: index of PyTorch's wheels for CPUs, which are far smaller"
    )
    parser.add_argument("--dry-run", action="store_true", help="check, and show what would be sent")
    parser.add_argument(
        "--no-start-check", action="store_true", help="don't install and start the app in a clean environment first"
    )
    parser.set_defaults(run=publish_space)


def publish_space(arguments: argparse.Namespace) -> None:
    """Checks the app, then makes the Space and sends what it needs, or only shows it."""
    with tempfile.TemporaryDirectory() as work:
        plan = make_plan(arguments, Path(work, "space"))
        _show(plan, arguments.repo)
        if not arguments.no_start_check:
            print("installing and starting it in a clean environment, which takes some minutes ...", flush=True)
            shutil.copytree(plan.folder, Path(work, "run"))  # so that nothing is sent that the run leaves behind
            gradio = f"gradio=={space.split_readme((plan.folder / space.README).read_text())[0]['sdk_version']}"
            seconds = start_clean(Path(work, "run"), [gradio], plan.variables)
            print(f"it serves its page after {seconds:.1f} s")
        if arguments.dry_run:
            print("nothing was sent")
        else:
            print(send(plan, arguments.repo))


def make_plan(arguments: argparse.Namespace, folder: Path) -> Plan:
    """Writes the files of the Space into a folder and decides on its settings; StorygenError for what is not right."""
    models, public = _pinned(arguments.models)
    readme = (ROOT / space.README).read_text(encoding="utf-8")
    requirements = (ROOT / space.REQUIREMENTS).read_text(encoding="utf-8")
    space.check_settings(space.split_readme(readme)[0], arguments.hardware, ROOT)
    for path in space.app_files(ROOT):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, folder / path)
    (folder / space.README).write_text(space.space_readme(readme, models, public, arguments.ratings), encoding="utf-8")
    (folder / space.REQUIREMENTS).write_text(
        space.space_requirements(requirements, arguments.hardware, arguments.torch_index), encoding="utf-8"
    )
    space.check_sizes(folder)
    variables = {MODELS: ",".join(models), RATINGS: arguments.ratings or ""}
    return Plan(
        folder,
        arguments.hardware,
        arguments.private,
        arguments.ratings,
        tuple(model for model in models if model not in public),
        {name: value for name, value in variables.items() if value},
        _given_token(),
    )


def _given_token() -> dict[str, str]:
    """The secret HF_TOKEN of the Space, if one is given for it."""
    token = os.environ.get(TOKEN)
    if token and token == os.environ.get(hub.TOKEN):
        raise StorygenError(f"{TOKEN} is the token that publishes; give the Space one that may write the ratings only")
    return {hub.TOKEN: token} if token else {}


def _pinned(models: Sequence[str]) -> tuple[list[str], dict[str, list[str]]]:
    """The models as user/name@commit, each of which loads, and of those that everybody can read their files' names."""
    pinned: list[str] = []
    public: dict[str, list[str]] = {}
    for model in models:
        repo, _, revision = model.partition("@")
        if Path(model).exists():
            raise StorygenError(f"a Space can't see the folder {model}; send it with `python -m train.publish model`")
        commit = artifact.load(repo, revision or None).revision
        pinned.append(f"{repo}@{commit}")
        with hub.in_one_line(repo):
            found = hub.client().model_info(repo, revision=commit)
            if not found.private and not found.gated:
                public[pinned[-1]] = [each.rfilename for each in found.siblings or ()]
    return pinned, public


def _show(plan: Plan, repo: str) -> None:
    paths = sorted(path for path in plan.folder.rglob("*") if path.is_file())
    for path in paths:
        print(f"{path.stat().st_size:>12,}  {path.relative_to(plan.folder)}")
    print(f"{space.check_sizes(plan.folder):>12,}  in {len(paths)} files, for the Space {repo} on {plan.hardware}")
    print(f"{space.REQUIREMENTS}: {'; '.join((plan.folder / space.REQUIREMENTS).read_text().splitlines())}")
    print(f"variables: {', '.join(f'{name}={value}' for name, value in plan.variables.items()) or 'none'}")
    print(f"secrets: {', '.join((SECRET, *plan.secrets))}")
    needs = [f"to read {model.partition('@')[0]}" for model in plan.closed]
    needs += [f"to write ratings to {plan.ratings}"] if plan.ratings else []
    if needs and not plan.secrets:
        print(
            f"note: {', and '.join(needs)}, the Space needs a token that may do that and nothing else: give it in "
            f"{TOKEN}, or later on the Space's settings page, as the secret {hub.TOKEN}"
        )
    if plan.hardware != space.ZERO and "index-url" not in (plan.folder / space.REQUIREMENTS).read_text():
        print("note: without --torch-index the Space installs torch for GPUs, some gigabytes that it has no use for")


def send(plan: Plan, repo: str) -> str:
    """Makes the Space, or renews it, and gives its URL. Settings come first: the files make it build and start."""
    api = hub.client()
    with hub.in_one_line(repo):
        url = hub.make_repository(
            api, repo, private=plan.private, kind="space", space_sdk="gradio", space_hardware=plan.hardware
        )
        if hub.holds_other(api, repo, OURS, kind="space"):
            raise StorygenError(f"the Space {repo!r} holds another app; give another name, or delete it first")
        if plan.ratings:
            api.create_repo(plan.ratings, repo_type="dataset", private=True, exist_ok=True)
        if api.get_space_runtime(repo).requested_hardware != plan.hardware:
            api.request_space_hardware(repo, plan.hardware)
        known = api.get_space_variables(repo)
        for name in (MODELS, RATINGS):
            if name in plan.variables and (name not in known or known[name].value != plan.variables[name]):
                api.add_space_variable(repo, name, plan.variables[name])
            elif name in known and name not in plan.variables:
                api.delete_space_variable(repo, name)
        if SECRET not in api.get_space_secrets(repo):  # another one would make new people of all raters
            api.add_space_secret(repo, SECRET, secrets.token_hex(32), description="key of the raters' pseudonyms")
        for name, value in plan.secrets.items():
            api.add_space_secret(repo, name, value, description="may write to the dataset of the ratings only")
        api.upload_folder(
            repo_id=repo, repo_type="space", folder_path=plan.folder, delete_patterns="*", commit_message="The app"
        )
    return url
