"""Tries the real Hub, as the tests try a stand-in for it: `HF_TOKEN=... python -m scripts.smoke_hub`.

Makes a private model repository in the account of the token, which must be one that may write there; sends a checkpoint
to it, lists it, reads it in each way that the project has, compares what came back, and deletes the repository.
"""

import secrets
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import storygen
from storygen import artifact, hub
from storygen.cli import Parser, run
from storygen.errors import StorygenError
from train import publish

BUNDLED = Path(__file__).parents[1] / "checkpoints" / "transformer"


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line: a line for each thing that works, an error for the first that does not."""
    parser = Parser(prog="python -m scripts.smoke_hub", description=__doc__.partition(":")[0] + ".")
    parser.add_argument("--model", type=Path, default=BUNDLED, help="released checkpoint to send")
    arguments = parser.parse_args(argv)
    api = hub.client()
    with hub.in_one_line("your account"):
        repo = f"{api.whoami()['name']}/storygen-smoke-{secrets.token_hex(4)}"
    started = time.monotonic()
    try:
        _try(repo, arguments.model)
    finally:
        with hub.in_one_line(repo):
            api.delete_repo(repo, missing_ok=True)
    print(f"deleted {repo}; all of it took {time.monotonic() - started:.0f} s")


def _try(repo: str, model: Path) -> None:
    publish.main(["model", str(model), repo, "--private", "--tag", "v1"])
    commit = artifact.locate(repo, "v1")[1]
    print(f"ok: sent to {repo}, tagged, and found by its tag at {commit}")
    with hub.in_one_line(repo):
        _expect(hub.client().model_info(repo).private, "the repository is private")
    _expect(f"{repo}@{commit}" in {f"{each.repo}@{each.commit}" for each in hub.list_models()}, "it is in the list")
    with tempfile.TemporaryDirectory() as work:
        publish.main(["pull", repo, f"{work}/pulled", "--revision", commit])
        same = all(
            (Path(work, "pulled", name)).read_bytes() == (model / name).read_bytes() for name in artifact.REQUIRED
        )
        _expect(same, "what was pulled is what was sent, byte for byte")
    _expect(storygen.load(repo, revision=commit).artifact.revision == commit, "it loads, pinned to its commit")
    publish.main(["verify", repo, "--revision", commit])


def _expect(right: bool, what: str) -> None:
    if not right:
        raise StorygenError(f"it is not so that {what}")
    print(f"ok: {what}")


if __name__ == "__main__":
    run(main)
