"""The same door for a Hub id: the real `huggingface_hub` client against a local stand-in.

Each in a process of its own, as the client reads its address when it is imported.
"""

import os
import subprocess
import sys

import pytest

from tests.hub import HubStandIn

SCRIPT = """
import sys, storygen
from storygen import StorygenError
try:
    writer = storygen.load(sys.argv[1], revision=sys.argv[2] or None)
    result = writer.generate("Once", config=storygen.GenerationConfig(max_new_tokens=3, seed=1))
    print(result.model, result.revision, len(result.tokens))
except StorygenError as error:
    print("refused:", error)
"""


@pytest.fixture
def ask(tmp_path):
    def run(url, repo, revision="", **environment):
        settings = {"HF_ENDPOINT": url, "HF_HOME": str(tmp_path / "hf"), "HF_HUB_DISABLE_XET": "1"}
        environment = {**os.environ, **settings, "HF_HUB_ETAG_TIMEOUT": "2", **environment}
        command = [sys.executable, "-c", SCRIPT, repo, revision]
        return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()

    return run


def test_a_repository_loads_and_its_commit_is_known(ask, model_folders):
    with HubStandIn({"ann/tales": model_folders / "lstm"}) as hub:
        commit = hub.repo("ann/tales").head
        hub.repo("ann/tales").tags["v1"] = commit
        assert ask(hub.url, "ann/tales") == f"ann/tales {commit} 3"
        assert ask(hub.url, "ann/tales", "v1") == f"ann/tales {commit} 3"
    assert ask(hub.url, "ann/tales", HF_HUB_OFFLINE="1") == f"ann/tales {commit} 3"  # from the cache


def test_what_cannot_be_had_is_one_clear_line(ask, model_folders, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "config.json").write_text("{}")
    repos = {"ann/tales": model_folders / "lstm", "ann/other": tmp_path / "other", "ann/gated": 403}
    with HubStandIn(repos) as hub:
        assert ask(hub.url, "ann/none").startswith(
            "refused: there is no folder 'ann/none', and no such model on the Hub"
        )
        assert ask(hub.url, "ann/tales", "v9") == "refused: Hub repository 'ann/tales' has no revision 'v9'"
        assert ask(hub.url, "ann/other") == "refused: ann/other is not a storygen model: model.safetensors is missing"
        assert ask(hub.url, "ann/gated").startswith("refused: Hub repository 'ann/gated' is gated")
    assert "the Hub cannot be reached" in ask(hub.url, "ann/elsewhere")
