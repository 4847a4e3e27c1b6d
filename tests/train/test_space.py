"""The app as a Space: which files and settings are sent, what is refused before, and the real client's calls."""

import importlib.metadata
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from storygen.errors import StorygenError
from tests.hub import READ
from train import clean_start, hub_space, publish, space

ROOT = Path(__file__).parents[2]
FRONT = space.split_readme((ROOT / "README.md").read_text())[0]


@pytest.fixture
def project(tmp_path, monkeypatch, model_folders):
    """A small project in place of this one: an app with one module, its data, and what the app does not need."""
    root = tmp_path / "project"
    for path, text in {
        "app.py": "from storygen import page\nimport torch",
        "storygen/__init__.py": "",
        "storygen/page.py": "def show():\n    import storygen.arena.draw\n    from storygen.data.sources import CORPUS",
        "storygen/unused.py": "",
        "storygen/arena/__init__.py": "",
        "storygen/arena/draw.py": "from storygen.page import show; NAMES = 'contestants.toml'",
        "storygen/arena/contestants.toml": "a = 1",
        "storygen/arena/notes.txt": "",
        "storygen/data/__init__.py": "",
        "storygen/data/sources.py": "CORPUS = 'corpus'",
        "storygen/data/corpus/tales.txt": "Once.",
        "storygen/training/__init__.py": "",
        "train/publish.py": "",
        "requirements.txt": "# Remark.\ntorch==2.13.0\ngradio>=6.31,<7\nnumpy>=2.0\n",
        "README.md": (ROOT / "README.md").read_text(),
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    shutil.copytree(model_folders / "lstm", root / "checkpoints" / "lstm")
    (root / "checkpoints" / "lstm" / "optimizer.pt").write_text("large")
    monkeypatch.setattr(hub_space, "ROOT", root)
    return root


def publish_space(*options):
    publish.main(["space", "ann/app", "--no-start-check", *options])


def test_the_files_of_a_space_are_those_that_the_app_needs(project):
    """A module that is imported inside a function must be there, the training code and all else must not."""
    assert [path.as_posix() for path in space.app_files(project)] == [
        "app.py",
        *(
            f"checkpoints/lstm/{name}"
            for name in ("config.json", "model.safetensors", "reward.safetensors", "tokenizer.json", "training.json")
        ),
        "storygen/__init__.py",
        "storygen/arena/__init__.py",
        "storygen/arena/contestants.toml",
        "storygen/arena/draw.py",
        "storygen/data/__init__.py",
        "storygen/data/corpus/tales.txt",
        "storygen/data/sources.py",
        "storygen/page.py",
    ]


def test_this_project_can_be_a_space():
    """Front matter and files drift: a new gradio is installed, a large file is added."""
    for hardware in space.HARDWARE:
        space.check_settings(FRONT, hardware, ROOT)
    paths = {path.as_posix() for path in space.app_files(ROOT)}
    assert {"app.py", "storygen/ui/page.py", "storygen/zerogpu.py", "checkpoints/lstm/model.safetensors"} <= paths
    assert not any(path.startswith(("train/", "tests/", "storygen/training/", "storygen/export")) for path in paths)
    assert sum((ROOT / path).stat().st_size for path in paths) < 40_000_000


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"sdk_version": "6.0.0"}, f"'6.0.0'; it must be {importlib.metadata.version('gradio')}, which is installed"),
        ({"sdk_version": 6.31}, "sdk_version in the front matter of README.md is 6.31"),
        ({"sdk": "docker"}, "sdk in the front matter of README.md is 'docker'; it must be gradio"),
        ({"app_file": "main.py"}, "app_file in the front matter of README.md is 'main.py'; it must be app.py"),
        ({"colorFrom": "teal"}, "colorFrom in the front matter of README.md is 'teal'; it must be one of red, yellow"),
        ({"python_version": "3.10"}, "is '3.10'; it must be 3.11 or newer, in quotes"),
        ({"python_version": "3.13"}, "is '3.13'; it must be 3.12 on zero-a10g"),
        ({"short_description": "x" * 61}, "it must be at most 60 characters"),
        ({"license": None, "title": ""}, "the front matter of README.md lacks title, license"),
    ],
)
def test_settings_that_would_fail_on_the_hub_are_refused_here(changes, told):
    """There it is found out after minutes of building, or, as with an old gradio, by visitors."""
    with pytest.raises(StorygenError) as error:
        space.check_settings({**FRONT, **changes}, space.ZERO, ROOT)
    assert told in str(error.value)


@pytest.mark.parametrize("text", ["# No settings\n", "---\na: [\n---\n", "---\njust words\n---\n"])
def test_a_readme_without_settings_is_refused(text):
    with pytest.raises(StorygenError, match=r"front matter"):
        space.split_readme(text)


def test_the_readme_names_what_the_space_uses():
    text = (ROOT / "README.md").read_text()
    pinned = ["ann/open@1234", "ann/closed@5678"]
    there = ["README.md", "config.json", "model.safetensors", "tokenizer.json", "notes.txt"]
    values, page = space.split_readme(space.space_readme(text, pinned, {pinned[0]: there}, "ann/votes"))
    assert {key: values[key] for key in FRONT} == FRONT
    assert (values["models"], values["datasets"]) == (["ann/open", "ann/closed"], ["ann/votes"])
    [preloaded] = values["preload_from_hub"]
    assert preloaded == "ann/open config.json,model.safetensors,tokenizer.json,README.md 1234"
    assert "Models: ann/open@1234, ann/closed@5678." in page and "ann/votes" in page
    values, page = space.split_readme(space.space_readme(text, [], {}, None))
    assert values == FRONT
    assert "`checkpoints/`" in page and "dataset" not in page


def test_requirements_fit_the_hardware():
    """ZeroGPU does not install the torch that runs here; the Space, not the file, decides on gradio."""
    text = "# Remark.\ntorch==2.13.0\ngradio>=6.31,<7\ntorchtools>=1\n"
    assert space.space_requirements(text, space.ZERO, None) == "torch>=2.8\ntorchtools>=1\n"
    assert space.space_requirements(text, "cpu-basic", None) == "torch==2.13.0\ntorchtools>=1\n"
    expected = "--extra-index-url https://index.test/cpu\ntorch==2.13.0\ntorchtools>=1\n"
    assert space.space_requirements(text, "cpu-basic", "https://index.test/cpu") == expected


def test_a_large_file_is_refused_unless_it_is_weights(tmp_path):
    with (tmp_path / "model.safetensors").open("wb") as file:
        file.truncate(11_000_000)
    assert space.check_sizes(tmp_path) == 11_000_000
    with (tmp_path / "index.json").open("wb") as file:
        file.truncate(11_000_000)
    with pytest.raises(StorygenError, match=r"index\.json has 11 MB; a Space takes files of 10 MB"):
        space.check_sizes(tmp_path)


def test_a_space_is_made_with_its_settings_and_renewed(hub, project, released, monkeypatch, capsys):
    """Models are pinned; the raters' key outlives a renewal; what is no longer asked for goes away."""
    publish.main(["model", str(released), "ann/tales", "--private"])
    publish.main(["model", str(released), "ann/open"])
    publish_space("--models", "ann/tales", "--dry-run")
    assert "note: to read ann/tales, the Space needs a token" in capsys.readouterr().out
    monkeypatch.setenv("STORYGEN_SPACE_TOKEN", "hf_for_the_space")
    capsys.readouterr()
    publish_space(
        "--models", "ann/tales", "ann/open@main", "--ratings", "ann/votes", "--hardware", "zero-a10g", "--private"
    )
    made, dataset = hub.repo("spaces/ann/app"), hub.repo("datasets/ann/votes")
    assert capsys.readouterr().out.endswith(f"\n{hub.url}/spaces/ann/app\n")
    assert (made.sdk, made.hardware, made.private, dataset.private) == ("gradio", "zero-a10g", True, True)
    pinned = [f"{name}@{hub.repo(name).head}" for name in ("ann/tales", "ann/open")]
    assert {key: item["value"] for key, item in made.variables.items()} == {
        "STORYGEN_MODELS": ",".join(pinned),
        "STORYGEN_RATINGS": "ann/votes",
    }
    key = made.secrets["STORYGEN_SECRET"]["value"]
    assert made.secrets["HF_TOKEN"]["value"] == "hf_for_the_space"
    assert len(key) == 64
    paths = {path.as_posix() for path in space.app_files(project)}
    assert set(made.files) == {*paths, "README.md", "requirements.txt"}
    assert made.files["requirements.txt"] == b"torch>=2.8\nnumpy>=2.0\n"
    front = yaml.safe_load(made.files["README.md"].decode().split("---\n")[1])
    assert [line.split()[0] for line in front["preload_from_hub"]] == ["ann/open"]
    sent = [request for request in hub.requests if "spaces/ann/app" in request.path and request.method == "POST"]
    assert "commit" in sent[-1].path  # the app starts with this, so the rest must be there
    (project / "storygen" / "arena" / "draw.py").write_text("")
    publish_space()
    assert set(made.files) == {*paths, "README.md", "requirements.txt"} - {"storygen/arena/contestants.toml"}
    assert made.variables == {}
    assert made.secrets["STORYGEN_SECRET"]["value"] == key
    assert made.hardware == "cpu-basic"


def test_dry_run_sends_nothing_and_shows_no_secret(hub, project, monkeypatch, capsys):
    monkeypatch.setenv("STORYGEN_SPACE_TOKEN", "hf_for_the_space")
    publish_space("--dry-run", "--ratings", "ann/votes")
    out = capsys.readouterr().out
    assert hub.requests == [] and hub.repos == {}
    assert "storygen/arena/contestants.toml\n" in out
    assert "requirements.txt: torch==2.13.0; numpy>=2.0\n" in out
    assert "variables: STORYGEN_RATINGS=ann/votes\nsecrets: STORYGEN_SECRET, HF_TOKEN\n" in out
    assert "hf_for_the_space" not in out
    monkeypatch.delenv("STORYGEN_SPACE_TOKEN")
    publish_space("--dry-run", "--ratings", "ann/votes")
    assert "note: to write ratings to ann/votes, the Space needs a token" in capsys.readouterr().out


def test_what_is_not_right_is_refused_before_anything_is_made(hub, project, monkeypatch):
    """A half-made Space shows an error to whoever has its address."""
    with pytest.raises(StorygenError, match="'ann/none' is no folder, and no Hub repository"):
        publish_space("--models", "ann/none")
    with pytest.raises(StorygenError, match="a Space can't see the folder .*lstm; send it with"):
        publish_space("--models", str(project / "checkpoints" / "lstm"))
    monkeypatch.setenv("STORYGEN_SPACE_TOKEN", "hf_write")
    with pytest.raises(StorygenError, match="STORYGEN_SPACE_TOKEN is the token that publishes") as error:
        publish_space()
    assert "hf_write" not in str(error.value)
    monkeypatch.delenv("STORYGEN_SPACE_TOKEN")
    (project / "README.md").write_text("# Title\n")
    with pytest.raises(StorygenError, match="must begin with front matter"):
        publish_space()
    assert hub.repos == {}


def test_another_app_is_not_overwritten(hub, project):
    """A slip in the name would delete somebody's Space."""
    other = hub.put("spaces/ann/app", {"app.py": b"precious", "README.md": b""}, sdk="gradio")
    with pytest.raises(StorygenError, match="the Space 'ann/app' holds another app; give another name"):
        publish_space()
    assert other.files["app.py"] == b"precious"
    assert other.secrets == {}


def test_what_an_account_may_not_have_is_told_in_one_line(hub, project, monkeypatch):
    hub.faults["POST /api/repos/create"] = [402]
    with pytest.raises(
        StorygenError, match="the Hub refuses 'ann/app': it asks for a subscription or a payment method"
    ):
        publish_space()
    monkeypatch.setenv("HF_TOKEN", READ)
    with pytest.raises(StorygenError, match="the Hub refuses 'ann/app': the token in HF_TOKEN may not do that"):
        publish_space()
    assert hub.repos == {}


SERVER = """
import http.server, os
assert not [name for name in os.environ if name in ("HF_TOKEN", "STORYGEN_MODELS")], "not clean"
assert os.environ["STORYGEN_RATINGS"] == "ann/votes"
class Page(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
http.server.HTTPServer(("127.0.0.1", int(os.environ["GRADIO_SERVER_PORT"])), Page).serve_forever()
"""


def test_the_app_is_started_without_what_only_this_machine_has(tmp_path, monkeypatch):
    """With the publisher's token at hand, an app that can't start without one would pass."""
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    monkeypatch.setenv("STORYGEN_MODELS", "elsewhere")
    (tmp_path / "app.py").write_text(SERVER)
    seconds = clean_start.seconds_to_page([sys.executable, "app.py"], tmp_path, {"STORYGEN_RATINGS": "ann/votes"})
    assert 0 < seconds < 60


def test_an_app_that_does_not_start_is_refused_with_its_last_words(tmp_path, monkeypatch):
    (tmp_path / "app.py").write_text("import a_package_that_is_missing")
    with pytest.raises(StorygenError, match="does not start in a clean environment: .*a_package_that_is_missing"):
        clean_start.seconds_to_page([sys.executable, "app.py"], tmp_path, {})
    monkeypatch.setattr(clean_start, "PATIENCE", 0.2)
    (tmp_path / "app.py").write_text("import time; time.sleep(60)")
    with pytest.raises(StorygenError, match="it says nothing"):
        clean_start.seconds_to_page([sys.executable, "app.py"], tmp_path, {})
