"""The stand-in for the Hub does what the real client needs of it; tests of our own code stand on this."""

import time
from pathlib import Path

import pytest
from huggingface_hub import CommitScheduler, HfApi, constants, snapshot_download
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError, RepositoryNotFoundError, RevisionNotFoundError

from tests.hub import OTHER, READ, Cut, Slow


@pytest.fixture
def folder(tmp_path):
    """A folder with a small text, a file in a subfolder, and one that goes by LFS."""
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "README.md").write_text("---\ntags: [stories]\n---\n# Title\n")
    (folder / "deep" / "a.txt").write_text("one")
    (folder / "model.safetensors").write_bytes(bytes(range(256)) * 400)
    return folder


@pytest.fixture
def api(hub, folder):
    """A client with a repository ann/tales made from the folder."""
    api = HfApi()
    api.create_repo("ann/tales", exist_ok=True)
    api.upload_folder(repo_id="ann/tales", folder_path=folder, commit_message="first")
    return api


@pytest.mark.parametrize("kind", ["model", "dataset", "space"])
def test_what_is_uploaded_comes_back_from_each_kind_of_repository(hub, folder, kind):
    api = HfApi()
    url = api.create_repo("ann/x", repo_type=kind, space_sdk="gradio" if kind == "space" else None, private=True)
    assert url.repo_id == "ann/x" and url.repo_type == kind
    commit = api.upload_folder(repo_id="ann/x", folder_path=folder, repo_type=kind)
    copy = snapshot_download("ann/x", repo_type=kind, revision=commit.oid)
    for path in ("README.md", "deep/a.txt", "model.safetensors"):
        assert (folder / path).read_bytes() == Path(copy, path).read_bytes()
    assert len(hub.asked("PUT /_lfs/")) == 1
    assert {request.token for request in hub.requests if "/_lfs/" not in request.path} == {"hf_write"}
    api.delete_repo("ann/x", repo_type=kind)
    with pytest.raises(RepositoryNotFoundError):
        api.repo_info("ann/x", repo_type=kind)


def test_history_tags_and_listings_are_kept(hub, api, folder):
    """A second upload commits what changed only; a tag stays where it was; old commits can be read."""
    first = hub.repo("ann/tales").head
    api.create_tag("ann/tales", tag="v1")
    with pytest.raises(HfHubHTTPError):
        api.create_tag("ann/tales", tag="v1")
    (folder / "deep" / "a.txt").write_text("two")
    api.upload_folder(repo_id="ann/tales", folder_path=folder, commit_message="second", delete_patterns="*.md")
    assert api.upload_folder(repo_id="ann/tales", folder_path=folder).oid == hub.repo("ann/tales").head
    assert [commit.title for commit in api.list_repo_commits("ann/tales")] == ["second", "first", "initial commit"]
    assert [(tag.name, tag.target_commit) for tag in api.list_repo_refs("ann/tales").tags] == [("v1", first)]
    assert api.list_repo_files("ann/tales") == ["README.md", "deep/a.txt", "model.safetensors"]
    assert Path(snapshot_download("ann/tales", revision="v1"), "deep/a.txt").read_text() == "one"
    assert Path(snapshot_download("ann/tales"), "deep/a.txt").read_text() == "two"
    assert [model.id for model in api.list_models(author="ann", filter="stories")] == ["ann/tales"]
    assert list(api.list_models(author="ann", filter="other")) == []
    hub.put("ann/many", {f"{number:03}.txt": b"x" for number in range(120)})
    assert len(api.list_repo_files("ann/many")) == 120


def test_rights_are_those_of_the_token(hub, api):
    hub.put("ann/secret", {"a": b"1"}, private=True)
    hub.put("ann/gated", 403)
    with pytest.raises(HfHubHTTPError, match="403"):
        HfApi(token=READ).create_repo("ann/other")
    with pytest.raises(HfHubHTTPError, match="403"):
        HfApi(token=OTHER).upload_file(repo_id="ann/tales", path_in_repo="x", path_or_fileobj=b"x")
    with pytest.raises(RepositoryNotFoundError):
        HfApi(token=False).model_info("ann/secret")
    with pytest.raises(GatedRepoError):
        api.model_info("ann/gated")
    with pytest.raises(RevisionNotFoundError):
        snapshot_download("ann/tales", revision="v9")
    assert HfApi(token=READ).model_info("ann/secret").private
    assert api.whoami()["name"] == "ann"
    with pytest.raises(HfHubHTTPError, match="Invalid user token"):
        HfApi(token="hf_wrong").whoami()
    with pytest.raises(HfHubHTTPError, match="409"):
        api.create_repo("ann/tales")


def test_a_space_has_settings(hub):
    api = HfApi()
    api.create_repo("ann/app", repo_type="space", space_sdk="gradio", space_variables=[{"key": "A", "value": "1"}])
    api.add_space_secret("ann/app", "HF_TOKEN", "hf_x", description="to write ratings")
    api.add_space_variable("ann/app", "B", "2")
    api.delete_space_variable("ann/app", "A")
    assert {key: item.value for key, item in api.get_space_variables("ann/app").items()} == {"B": "2"}
    assert api.get_space_secrets("ann/app")["HF_TOKEN"].description == "to write ratings"
    assert api.request_space_hardware("ann/app", "zero-a10g").requested_hardware == "zero-a10g"
    assert hub.repo("spaces/ann/app").secrets["HF_TOKEN"]["value"] == "hf_x"


def test_faults_happen_to_the_requests_that_they_name(hub, api, monkeypatch):
    """A cut download goes on where it broke off, a 500 is tried again, a late answer is waited for."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 500)  # 10 MB, of which the client keeps whole ones
    hub.faults["GET /ann/tales/resolve"] = [Cut(1200)]
    hub.faults["tree/"] = [500]
    hub.faults["POST /api/models/ann/tales/commit"] = [500, Cut()]
    copy = snapshot_download("ann/tales", allow_patterns=["model.safetensors"])
    assert Path(copy, "model.safetensors").read_bytes() == hub.repo("ann/tales").files["model.safetensors"]
    assert [request.headers["Range"] for request in hub.asked("GET /ann/tales/resolve")] == [None, "bytes=1000-"]
    with pytest.raises(HfHubHTTPError, match="500"):
        api.upload_file(repo_id="ann/tales", path_in_repo="x", path_or_fileobj=b"x")
    with pytest.raises(Exception, match="disconnected"):
        api.upload_file(repo_id="ann/tales", path_in_repo="x", path_or_fileobj=b"x")
    assert hub.repo("ann/tales").files["x"] == b"x"  # the answer was lost, not the commit
    hub.faults["whoami"] = [Slow(0.2)]
    started = time.monotonic()
    assert api.whoami()["name"] == "ann"
    assert time.monotonic() - started > 0.2


def test_a_commit_scheduler_pushes_what_was_appended(hub, tmp_path):
    """The real scheduler, a failed push in between: the next one sends everything."""
    votes = tmp_path / "votes" / "a.jsonl"
    with CommitScheduler(repo_id="ann/ratings", repo_type="dataset", folder_path=votes.parent, every=1000) as scheduler:
        scheduler.trigger().result()
        votes.write_text("1\n")
        hub.faults["commit/main"] = [403]
        with pytest.raises(HfHubHTTPError, match="403"):
            scheduler.trigger().result()
        with votes.open("a") as file:
            file.write("2\n")
        scheduler.trigger().result()
        assert hub.repo("datasets/ann/ratings").files == {"a.jsonl": b"1\n2\n"}
        assert len(hub.repo("datasets/ann/ratings").commits) == 2
