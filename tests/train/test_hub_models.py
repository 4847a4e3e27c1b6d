"""Models sent to, fetched from and checked against the Hub: the real client, the stand-in for the Hub."""

import json
import shutil
import time
from pathlib import Path

import pytest

import storygen
from storygen import artifact
from storygen.errors import StorygenError
from tests.hub import OTHER, READ, Cut
from train import publish


def publish_model(folder, repo="ann/tales", *options):
    publish.main(["model", str(folder), repo, *options])


def test_a_model_goes_to_the_hub_and_comes_back(hub, released, tmp_path, capsys):
    """The whole way that a reader of the README goes."""
    publish_model(released, "ann/tales", "--private", "--tag", "v1")
    repo = hub.repo("ann/tales")
    assert repo.private and repo.tags == {"v1": repo.head}
    told = capsys.readouterr().out.splitlines()
    assert told[:2] == [f"{hub.url}/ann/tales", f"revision to pin: {repo.head} (tag v1)"]
    assert told[3] == f"STORYGEN_MODELS=ann/tales@{repo.head}"
    writer = eval(told[2])
    assert writer.artifact.revision == repo.head
    assert set(repo.files) == set(artifact.FILES)
    card = repo.files["README.md"].decode()
    assert 'storygen.load("ann/tales", revision="v1")\n' in card
    for part in ("library_name: storygen", "Public domain.", "| a.jsonl | 1.500 |", "seed 5", "What it can't do"):
        assert part in card
    publish.main(["list"])
    assert capsys.readouterr().out == f"ann/tales@{repo.head}  2026-11-01  private\n"
    publish.main(["pull", "ann/tales", str(tmp_path / "mine"), "--revision", "v1"])
    for name in artifact.FILES:
        assert (tmp_path / "mine" / name).read_bytes() == repo.files[name]
    for command in (["ann/tales", "--revision", "v1"], [str(tmp_path / "mine")]):
        publish.main(["verify", *command])
        out = capsys.readouterr().out
        assert "files: as training.json recorded them" in out
        assert "sample 1 of 1: written again, the same (seed 5)" in out
        assert (f"files: as on the Hub at {repo.head}" in out) == (command[0] == "ann/tales")


def test_publishing_again_adds_a_version_and_moves_no_tag(hub, released, tmp_path, capsys):
    """Who has pinned v1 must go on getting it."""
    publish_model(released, "ann/tales", "--tag", "v1")
    first = hub.repo("ann/tales").head
    publish_model(released, "ann/tales")  # the card names no tag now: that is a commit
    second = hub.repo("ann/tales").head
    publish_model(released, "ann/tales")  # nothing has changed
    assert hub.repo("ann/tales").head == second != first
    with pytest.raises(StorygenError, match=f"'ann/tales' has a tag 'v1', on commit {first}; give another one"):
        publish_model(released, "ann/tales", "--tag", "v1")
    assert hub.repo("ann/tales").tags == {"v1": first}
    assert 'storygen.load("ann/tales")  # revision=' in hub.repo("ann/tales").files["README.md"].decode()


def test_nothing_private_goes_into_a_public_repository(hub, released):
    """The client ignores `private` when the repository exists."""
    publish_model(released)
    before = hub.repo("ann/tales").head
    with pytest.raises(StorygenError, match="'ann/tales' exists and is public; give another name"):
        publish_model(released, "ann/tales", "--private")
    assert hub.repo("ann/tales").head == before


@pytest.mark.parametrize("what", ["metrics", "samples", "README.md"])
def test_a_model_without_figures_samples_or_card_is_not_sent(hub, released, tmp_path, what):
    folder = shutil.copytree(released, tmp_path / "raw")
    if what == "README.md":
        (folder / what).unlink()
    else:
        training = json.loads((folder / "training.json").read_text())
        (folder / "training.json").write_text(json.dumps({key: training[key] for key in training if key != what}))
    word = {"metrics": "figures", "README.md": "card"}.get(what, what)
    with pytest.raises(StorygenError, match=f"has no {word}; `python -m train.publish checkpoint` makes them"):
        publish_model(folder)
    assert hub.repos == {}


@pytest.mark.parametrize(
    ("token", "told"),
    [
        (READ, r"the Hub refuses 'ann/tales': the token in HF_TOKEN may not do that \(You don't have the rights"),
        (OTHER, "the Hub refuses 'ann/tales': the token in HF_TOKEN may not do that"),
        ("hf_wrong", "the Hub refuses 'ann/tales': HF_TOKEN holds no token that it knows"),
        (None, "the Hub refuses 'ann/tales': HF_TOKEN holds no token that it knows"),
    ],
)
def test_who_may_not_publish_is_told_so(hub, released, monkeypatch, token, told):
    monkeypatch.setenv("HF_TOKEN", token) if token else monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(StorygenError, match=told) as error:
        publish_model(released)
    assert "hf_" not in str(error.value).replace("HF_TOKEN", "")


def test_a_repository_of_others_is_not_replaced(hub, released):
    """Its weights of another library stood beside our configuration."""
    hub.put("ann/llama", {"config.json": b"{}", "pytorch_model.bin": b"x"})
    before = hub.repo("ann/llama").head
    with pytest.raises(StorygenError, match="'ann/llama' holds something else than a storygen model"):
        publish_model(released, "ann/llama")
    assert hub.repo("ann/llama").head == before


@pytest.mark.parametrize("repo", [r"user\x/y", r"ann/\1", "a b/c"])
def test_a_name_that_is_none_is_one_clear_line(hub, released, repo):
    with pytest.raises(StorygenError, match="not a valid Hub name"):
        publish_model(released, repo)


def test_a_name_without_a_user_is_refused(hub, released):
    """The client would make it under the name of whose token it is, and the next call would not find it."""
    with pytest.raises(StorygenError, match="'tales' is no Hub repository; it is written user/name"):
        publish_model(released, "tales")
    assert hub.repos == {}


@pytest.mark.parametrize("fault", [500, Cut()])
def test_an_upload_that_broke_off_goes_on(hub, released, monkeypatch, fault):
    """Trying again, wherever it broke, must end in one commit with all files, and the tag on it."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    for place in ("preupload", "objects/batch", "PUT /_lfs", "commit/"):
        hub.faults = {place: [fault] * 50}
        with pytest.raises(StorygenError, match="'ann/tales'"):
            publish_model(released, "ann/tales", "--tag", "v1")
        assert len(hub.faults[place]) < 50
    hub.faults = {}
    publish_model(released, "ann/tales", "--tag", "v1")
    repo = hub.repo("ann/tales")
    assert set(repo.files) == set(artifact.FILES)
    assert [commit.title for commit in repo.commits] == ["initial commit", "Model v1"]
    assert repo.tags == {"v1": repo.head}


def test_verify_names_what_is_wrong(hub, released, tmp_path, capsys):
    """Each kind of damage: a file of the cache, a file of a folder, a sample that does not come out."""
    publish_model(released)
    cached = Path(artifact.locate("ann/tales")[0])
    with (cached / "tokenizer.json").open("a") as file:
        file.write(" ")
    with pytest.raises(
        StorygenError, match=r"tokenizer\.json: not what the Hub has at .*; remove .*, and fetch it again"
    ):
        publish.main(["verify", "ann/tales"])
    folder = shutil.copytree(released, tmp_path / "m")
    training = json.loads((folder / "training.json").read_text())
    training["samples"][0]["story"] += "!"
    (folder / "training.json").write_text(json.dumps(training))
    same = len(training["samples"][0]["story"]) - 1
    with pytest.raises(
        StorygenError, match=rf"sample 1 of 1 \(seed 5\) comes out differently from character {same} on"
    ):
        publish.main(["verify", str(folder)])
    training["samples"] = [{"title": ""}]
    (folder / "training.json").write_text(json.dumps(training))
    with pytest.raises(StorygenError, match=r"sample 1 of 1 in training\.json lacks 'settings'"):
        publish.main(["verify", str(folder)])
    (folder / "config.json").write_text((folder / "config.json").read_text() + " ")
    with pytest.raises(StorygenError, match=r"config\.json: not what training\.json recorded"):
        publish.main(["verify", str(folder)])
    (folder / "training.json").unlink()
    capsys.readouterr()
    publish.main(["verify", str(folder)])
    out = capsys.readouterr().out
    assert "training.json has no hashes to compare with" in out and "samples: training.json has none" in out


def test_pull_replaces_nothing_unasked_and_nothing_by_half(hub, released, tmp_path, monkeypatch):
    publish_model(released)
    out = tmp_path / "out"
    out.mkdir()
    (out / "config.json").write_text("precious")
    with pytest.raises(StorygenError, match="or --overwrite"):
        publish.main(["pull", "ann/tales", str(out)])
    hub.faults["GET .*model.safetensors"] = [403]
    with pytest.raises(StorygenError, match="gated"):
        publish.main(["pull", "ann/tales", str(out), "--overwrite"])
    assert (out / "config.json").read_text() == "precious"
    publish.main(["pull", "ann/tales", str(out), "--overwrite"])
    assert storygen.load(out).name == "out"
    with pytest.raises(StorygenError, match="is a local folder; name a Hub repository"):
        publish.main(["pull", str(out), str(tmp_path / "other")])


def test_models_of_others_are_listed_without_the_private_ones(hub, released, capsys):
    files = {name: (released / name).read_bytes() for name in artifact.FILES}
    hub.put("bob/tales", files)
    hub.put("bob/secret", files, private=True)
    hub.put("bob/other", {"README.md": b"---\ntags: [x]\n---\n"})
    publish.main(["list", "bob"])
    assert capsys.readouterr().out.startswith("bob/tales@")
    publish.main(["list", "bobby"])
    assert capsys.readouterr().out == "no storygen models\n"


def test_who_lists_without_a_token_must_say_of_whom(hub, monkeypatch):
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(StorygenError, match="the Hub wants to know who you are; set HF_TOKEN, or run `hf auth login`"):
        publish.main(["list"])
