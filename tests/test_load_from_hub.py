"""`storygen.load` with the name of a Hub repository: the real `huggingface_hub` client against the stand-in."""

import json
import shutil
import time

import pytest
from huggingface_hub import constants

import storygen
from storygen.errors import StorygenError
from tests.hub import Cut, Slow


@pytest.fixture(autouse=True)
def no_waits(monkeypatch):
    """The client waits a second and more before it tries again."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)


@pytest.fixture
def repo(hub, model_folders):
    """The repository ann/tales, a small LSTM."""
    return hub.put("ann/tales", model_folders / "lstm")


def refusal(*arguments):
    """What loading says instead of loading: one line."""
    with pytest.raises(StorygenError) as error:
        storygen.load(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_model_is_loaded_at_the_revision_that_was_asked_for(hub, repo, model_folders):
    """A name that moves would change the stories behind a pinned setting."""
    first, files = repo.head, repo.files
    repo.tags["v1"] = first
    repo.add("another", {path.name: path.read_bytes() for path in (model_folders / "transformer").iterdir()})
    for revision in ("v1", first):
        writer = storygen.load("ann/tales", revision=revision)
        assert (writer.name, writer.artifact.revision) == ("ann/tales", first)
        assert writer.artifact.training == {"parameters": writer.model.num_parameters}
    assert storygen.load("ann/tales").artifact.revision == repo.head != first
    assert {request.headers["Authorization"] for request in hub.requests} == {"Bearer hf_write"}
    assert json.loads(files["training.json"])["sha256"].keys() == {
        "config.json", "model.safetensors", "tokenizer.json", "reward.safetensors",
    }  # fmt: skip


def test_a_cached_model_is_not_fetched_again_and_needs_no_hub(hub, repo, monkeypatch):
    """A Space that restarts while the Hub has troubles must come up with what it had."""
    storygen.load("ann/tales")
    before = len(hub.asked("GET /ann/tales/resolve"))
    storygen.load("ann/tales", repo.head)
    assert len(hub.asked("GET /ann/tales/resolve")) == before == 5
    repo.status = 500
    assert storygen.load("ann/tales").artifact.revision == repo.head
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub.requests)
    assert storygen.load("ann/tales").artifact.revision == repo.head
    assert refusal("ann/none") == "HF_HUB_OFFLINE is set, and what is wanted of 'ann/none' is not in the Hub's cache"
    assert len(hub.requests) == asked


def test_only_our_files_are_fetched_and_no_code_is_run(hub, model_folders, tmp_path):
    """A model repository may carry Python that other libraries import, and pickles that run when they are read."""
    shutil.copytree(model_folders / "lstm", tmp_path / "model")
    for name in ("modeling.py", "pytorch_model.bin", "conftest.py", "storygen.py"):
        (tmp_path / "model" / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')")
    hub.put("ann/code", tmp_path / "model")
    storygen.load("ann/code")
    fetched = {request.path.rpartition("/")[2] for request in hub.asked("GET /ann/code/resolve")}
    assert fetched == {"config.json", "model.safetensors", "tokenizer.json", "training.json", "reward.safetensors"}
    assert not (tmp_path / "ran").exists()
    config = json.loads((model_folders / "lstm" / "config.json").read_text())
    hub.put("ann/auto", {"config.json": json.dumps({**config, "auto_map": {"AutoModel": "modeling.A"}}).encode()})
    assert "auto_map" in refusal("ann/auto")


def test_a_repository_that_is_not_ours_is_refused_before_its_weights_come(hub):
    """They may be gigabytes."""
    hub.put("ann/llama", {"config.json": b'{"architectures": ["Llama"]}', "model.safetensors": b"x" * 1000})
    hub.put("ann/data", {"rows.csv": b"1,2"})
    told = "ann/llama is not a storygen model: config.json has no field 'architecture'; it must be one of"
    assert refusal("ann/llama").startswith(told)
    assert refusal("ann/data") == "ann/data is not a storygen model: config.json is missing"
    assert not hub.asked("GET .*model.safetensors")


def test_a_repository_without_weights_is_told_so(hub, repo):
    repo.add("lost", {name: content for name, content in repo.files.items() if name != "model.safetensors"})
    assert refusal("ann/tales") == "ann/tales is not a storygen model: model.safetensors is missing"


def test_a_download_that_breaks_off_goes_on_where_it_was(hub, repo, monkeypatch):
    """Over a bad line a large file would never come whole."""
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 1000)  # 10 MB, of which the client keeps whole ones
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 0.2)
    hub.faults["GET .*model.safetensors"] = [Cut(2500), Slow(0.5), Cut(0)]
    assert storygen.load("ann/tales").artifact.revision == repo.head
    ranges = [request.headers["Range"] for request in hub.asked("GET .*model.safetensors")]
    assert ranges == [None, "bytes=2000-", "bytes=2000-", "bytes=2000-"]


def test_what_came_whole_before_the_line_broke_is_kept(hub, repo):
    """The client gives up on a file after six cuts; trying again must not start from nothing."""
    hub.faults["GET .*model.safetensors"] = [Cut(10)] * 6
    assert "ann/tales" in refusal("ann/tales")
    assert storygen.load("ann/tales").artifact.revision == repo.head
    assert len(hub.asked("GET .*tokenizer.json")) == 1


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (401, "Hub repository 'ann/tales' is gated; ask for access on its page and set HF_TOKEN"),
        (403, "Hub repository 'ann/tales' is gated; ask for access on its page and set HF_TOKEN"),
        (404, "'ann/tales' is no folder, and no Hub repository that can be read (a private one needs HF_TOKEN)"),
        (429, "the Hub refuses 'ann/tales': too many requests; wait some minutes"),
        (500, "the Hub fails (500) for 'ann/tales', which is not in its cache; try again later"),
        (Cut(), "Hub repository 'ann/tales': "),
    ],
)
def test_what_the_hub_refuses_is_one_clear_line(hub, repo, fault, told, name):
    """In the middle of a model as at its beginning: what has come so far must not be taken for all there is."""
    hub.faults[f"resolve/.*/{name}"] = [fault] * 9
    assert refusal("ann/tales").startswith(told)


def test_who_may_not_read_is_told_so(hub, repo, monkeypatch):
    """The client takes a private repository for a missing one, and a wrong token for a broken Hub."""
    hub.put("ann/gated", 403)
    hub.put("bob/private", {"config.json": b"{}"}, private=True)
    gated = "Hub repository 'ann/gated' is gated; ask for access on its page and set HF_TOKEN"
    unreadable = "is no folder, and no Hub repository that can be read (a private one needs HF_TOKEN)"
    assert refusal("ann/gated") == gated
    assert refusal("ann/none") == f"'ann/none' {unreadable}"
    assert refusal("bob/private") == f"'bob/private' {unreadable}"
    assert refusal("ann/tales", "v9") == "Hub repository 'ann/tales' has no revision 'v9'"
    assert refusal("ann/ta les") == "'ann/ta les' is no folder and not a valid Hub name (user/name)"
    monkeypatch.setenv("HF_TOKEN", "hf_out_of_date")
    told = refusal("ann/tales")
    assert told.startswith("the Hub refuses 'ann/tales': HF_TOKEN holds no token that it knows")
    assert "hf_out_of_date" not in told
    monkeypatch.delenv("HF_TOKEN")
    assert refusal("ann/none") == f"'ann/none' {unreadable}"
    assert storygen.load("ann/tales").artifact.revision == repo.head


def test_no_network_is_one_clear_line(hub, monkeypatch):
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/{repo_id}/resolve/{revision}/{filename}"
    )
    told = "'ann/tales' is no folder, and the Hub cannot be reached; check the name or the connection"
    assert refusal("ann/tales") == told
