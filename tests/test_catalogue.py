import shutil

import pytest

from storygen.catalogue import load_writers
from storygen.errors import StorygenError


def test_bundled_models_are_found_the_transformer_first(model_folders):
    writers, notes = load_writers(model_folders, {})
    assert (list(writers), notes) == (["transformer", "lstm"], [])


def test_the_variable_names_folders(model_folders, tmp_path):
    shutil.copytree(model_folders / "lstm", tmp_path / "mine" / "best")
    names = f" {tmp_path / 'mine' / 'best'}, {model_folders / 'lstm'},"
    writers, notes = load_writers(model_folders, {"STORYGEN_MODELS": names})
    assert (list(writers), notes) == (["mine", "lstm"], [])


def test_the_variable_pins_models_of_the_hub(hub, model_folders):
    first = hub.put("ann/tales", model_folders / "lstm").head
    hub.repo("ann/tales").add("gone", {})
    writers, notes = load_writers(model_folders, {"STORYGEN_MODELS": f"ann/tales@{first},{model_folders / 'lstm'}"})
    assert (list(writers), notes) == (["ann/tales", "lstm"], [])
    assert writers["ann/tales"].artifact.revision == first


def test_a_model_that_fails_does_not_take_the_app_down(hub, model_folders):
    """A Space would show an error page to everybody because one repository was renamed."""
    names = f"ann/none@v1,{model_folders / 'lstm'},ann/gated"
    hub.put("ann/gated", 403)
    writers, notes = load_writers(model_folders, {"STORYGEN_MODELS": names})
    assert list(writers) == ["lstm"]
    assert len(notes) == 2
    assert notes[0].startswith("The model ann/none@v1 is missing: 'ann/none' is no folder, and no Hub repository")
    assert notes[1].startswith("The model ann/gated is missing: Hub repository 'ann/gated' is gated")


def test_the_bundled_models_take_the_place_of_those_that_fail(hub, model_folders, tmp_path):
    writers, notes = load_writers(model_folders, {"STORYGEN_MODELS": "ann/none"})
    assert list(writers) == ["transformer", "lstm"]
    assert notes[1] == "The bundled models take the place of the ones that were asked for."
    with pytest.raises(StorygenError, match="no model found: The model ann/none is missing: .* no Hub repository"):
        load_writers(tmp_path, {"STORYGEN_MODELS": "ann/none"})


def test_a_damaged_bundled_model_is_left_out(model_folders, tmp_path):
    shutil.copytree(model_folders, tmp_path / "models")
    (tmp_path / "models" / "transformer" / "model.safetensors").write_bytes(b"torn")
    writers, notes = load_writers(tmp_path / "models", {})
    assert list(writers) == ["lstm"]
    assert "model.safetensors is not a readable safetensors file" in notes[0]


def test_no_model_is_said_clearly(tmp_path):
    with pytest.raises(StorygenError, match="no model found: .* holds none, and STORYGEN_MODELS is not set"):
        load_writers(tmp_path, {})


def test_of_two_models_of_one_name_the_first_is_taken(model_folders):
    """The vote would not say which of them it was for."""
    name = str(model_folders / "lstm")
    writers, notes = load_writers(model_folders, {"STORYGEN_MODELS": f"{name},{name}"})
    assert list(writers) == ["lstm"]
    assert notes == [f"The model {name} is missing: there is another one called lstm."]
