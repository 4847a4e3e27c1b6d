import shutil

import pytest

from storygen.catalogue import load_writers
from storygen.errors import StorygenError


def test_bundled_models_are_found_the_transformer_first(model_folders):
    assert list(load_writers(model_folders, {})) == ["transformer", "lstm"]


def test_the_variable_names_folders(model_folders, tmp_path):
    shutil.copytree(model_folders / "lstm", tmp_path / "mine" / "best")
    names = f" {tmp_path / 'mine' / 'best'}, {model_folders / 'lstm'},"
    assert list(load_writers(model_folders, {"STORYGEN_MODELS": names})) == ["mine", "lstm"]


def test_no_model_is_said_clearly(tmp_path):
    with pytest.raises(StorygenError, match="no model found: .* holds none, and STORYGEN_MODELS is not set"):
        load_writers(tmp_path, {})


def test_two_models_of_one_name_are_refused(model_folders):
    """The vote would not say which of them it was for."""
    name = str(model_folders / "lstm")
    with pytest.raises(StorygenError, match="two models are called 'lstm'"):
        load_writers(model_folders, {"STORYGEN_MODELS": f"{name},{name}"})
