import pytest

from storygen.config import TransformerConfig
from storygen.errors import StorygenError
from storygen.training.recipe import parse_setting, read_recipe, write_recipe
from storygen.training.settings import TrainConfig


def test_written_recipes_are_read_as_they_were(tmp_path):
    recipe = {
        "model": {"architecture": "transformer", **TransformerConfig(norm_eps=1e-6).to_dict()},
        "train": TrainConfig(minutes=0.5, learning_rate=1e-05, compile=False).to_dict(),
        "corpus": {"fingerprint": "abc"},
    }
    write_recipe(tmp_path / "r.toml", recipe)
    read = read_recipe(tmp_path / "r.toml")
    assert TrainConfig(**read["train"]) == TrainConfig(**recipe["train"])
    assert read["model"] == recipe["model"]
    assert read["corpus"] == recipe["corpus"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("learning_rate=1e-3", ("train", "learning_rate", 1e-3)),
        ("steps = 1_000", ("train", "steps", 1000)),
        ("compile=true", ("train", "compile", True)),
        ("optimizer=muon", ("train", "optimizer", "muon")),
        ("optimizer='muon'", ("train", "optimizer", "muon")),
        ("hidden_size=64", ("model", "hidden_size", 64)),
        ("architecture=lstm", ("model", "architecture", "lstm")),
    ],
)
def test_settings_as_text(text, expected):
    assert parse_setting(text) == expected


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("learning_rat=1", "unknown setting 'learning_rat'; did you mean 'learning_rate'"),
        ("steps", "write it as name=value"),
        ("=3", "write it as name=value"),
        ("fingerprint=3", "unknown setting 'fingerprint'"),
    ],
)
def test_settings_with_mistakes_are_refused(text, message):
    with pytest.raises(StorygenError, match=message):
        parse_setting(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[modle]\n", "unknown table 'modle'; did you mean 'model'"),
        ("[train]\nstepps = 3\n", r"unknown name in \[train\] 'stepps'; did you mean 'steps'"),
        ("[model]\nhiden_size = 3\n", "'hiden_size'; did you mean 'hidden_size'"),
        ("nonsense", "is not TOML"),
        ("model = 3\n", "model must be a table"),
    ],
)
def test_recipes_with_mistakes_are_refused(tmp_path, text, message):
    (tmp_path / "r.toml").write_text(text)
    with pytest.raises(StorygenError, match=message):
        read_recipe(tmp_path / "r.toml")
