import json
import resource
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

import storygen
from storygen import artifact
from storygen.errors import StorygenError
from storygen.models import build_model
from tests.conftest import lively, tiny_config


@pytest.fixture
def folder(model_folders, tmp_path):
    """A copy of the small transformer, to be damaged."""
    return shutil.copytree(model_folders / "transformer", tmp_path / "model")


def edit_config(folder, **changes):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("tie", [True, False])
@pytest.mark.parametrize("architecture", ["transformer", "lstm"])
def test_round_trip(tmp_path, tokenizer, architecture, tie):
    """Tied weights are shared memory, which safetensors refuses to save twice."""
    model = lively(build_model(tiny_config(architecture, tie_embeddings=tie)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half().float())
    artifact.save(tmp_path / "m", model, tokenizer, {"steps": 3})
    loaded = artifact.load(tmp_path / "m")
    assert (loaded.name, len(loaded.revision), loaded.training) == ("m", 12, {"steps": 3})
    assert loaded.model.config == model.config
    assert not loaded.model.training
    assert (loaded.model.head.weight is loaded.model.embedding.weight) == tie
    tokens = torch.arange(20)[None]
    assert torch.equal(loaded.model(tokens)[0], model(tokens)[0])
    assert loaded.tokenizer.fingerprint == tokenizer.fingerprint
    weights = load_file(tmp_path / "m" / "model.safetensors")
    assert ("head.weight" in weights) != tie
    assert all(tensor.dtype == torch.float16 for tensor in weights.values())


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "tokenizer.json"])
def test_a_missing_file_is_named(folder, name):
    (folder / name).unlink()
    with pytest.raises(StorygenError, match=f"not a storygen model: {name} is missing"):
        storygen.load(folder)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"architecture": "transfomer"}, "'transfomer'; did you mean 'transformer'"),
        ({"architecture": ["x"]}, "unknown architecture"),
        ({"num_layers": 3}, r"lacks the tensor 'blocks\.2\.attention\.out\.weight'|lacks the tensor 'blocks\.2"),
        ({"num_layers": 1}, r"has a tensor 'blocks\.1.*' that config\.json has no place for"),
        (
            {"intermediate_size": 50},
            r"'blocks\.0\.feed_forward\.gate_up\.weight' is \[96, 32\], .* asks for \[100, 32\]",
        ),
        (
            {"hidden_sise": 32},
            r"config\.json: unknown TransformerConfig field 'hidden_sise'; did you mean 'hidden_size'",
        ),
        ({"num_heads": 5}, r"config\.json: TransformerConfig\.hidden_size is 32; it must be a multiple"),
        ({"hidden_size": 10**9}, "hidden_size|head width|is .* asks for"),
    ],
)
def test_a_config_that_does_not_fit_names_file_and_field(folder, changes, message):
    edit_config(folder, **changes)
    with pytest.raises(StorygenError, match=message):
        storygen.load(folder)


def test_a_config_without_architecture(folder):
    (folder / "config.json").write_text("{}")
    with pytest.raises(StorygenError, match=r"config\.json has no field 'architecture'"):
        storygen.load(folder)


def test_a_config_that_asks_for_too_much_allocates_nothing(folder):
    """A few bytes of JSON must not take all memory: 260 GB of embeddings, which the file of weights does not have."""
    edit_config(folder, vocab_size=1_000_000, hidden_size=65_536, num_heads=1)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StorygenError, match=r"'embedding\.weight' is \[400, 32\], .* asks for \[1000000, 65536\]"):
        storygen.load(folder)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100_000  # kB


def test_weights_whose_header_lies_about_their_size(folder):
    """The header says a million rows, the file has 400: the library must not be asked to read them."""
    path = folder / "model.safetensors"
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    header = json.loads(content[8 : 8 + length])
    header["embedding.weight"]["shape"] = [1_000_000, 32]
    lying = json.dumps(header).encode()
    path.write_bytes(len(lying).to_bytes(8, "little") + lying + content[8 + length :])
    with pytest.raises(StorygenError, match=r"model\.safetensors is not a readable safetensors file"):
        storygen.load(folder)
    path.write_bytes((1 << 62).to_bytes(8, "little") + content[8:])
    with pytest.raises(StorygenError, match=r"model\.safetensors is not a readable safetensors file"):
        storygen.load(folder)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "training.json"])
def test_a_huge_json_file_is_not_read(folder, name):
    with (folder / name).open("r+b") as file:
        file.truncate(2**40)  # of holes: a terabyte that takes no room
    with pytest.raises(StorygenError, match=f"{name} has 1,099,511,627,776 bytes; at most"):
        storygen.load(folder)


@pytest.mark.parametrize("name", ["config.json", "training.json"])
def test_broken_json_is_named(folder, name):
    (folder / name).write_text("{")
    with pytest.raises(StorygenError, match=f"{name} is not valid JSON"):
        storygen.load(folder)


def test_a_truncated_weights_file(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(StorygenError, match=r"model\.safetensors is not a readable safetensors file"):
        storygen.load(folder)


def test_an_extra_tensor(folder):
    weights = load_file(folder / "model.safetensors")
    save_file({**weights, "extra": torch.zeros(1)}, folder / "model.safetensors")
    with pytest.raises(StorygenError, match="has a tensor 'extra'"):
        storygen.load(folder)


def test_a_tokenizer_of_another_size(folder, tales):
    storygen.tokenizers.train_tokenizer("bpe", tales, 300).save(folder / "tokenizer.json")
    with pytest.raises(StorygenError, match=r"tokenizer\.json has 300 tokens, but vocab_size in config\.json is 400"):
        storygen.load(folder)


@pytest.mark.parametrize("name", ["no-such-folder", "./no/such", "a/b/c", ""])
def test_what_is_neither_folder_nor_repository(name):
    with pytest.raises(StorygenError, match="no model folder .* a Hub repository is written user/name|not a storygen"):
        storygen.load(name)


def test_a_local_folder_has_no_revision(folder):
    with pytest.raises(StorygenError, match="local folder, which has no revision 'v1'"):
        storygen.load(folder, revision="v1")


def test_saving_over_an_old_one_replaces_it_whole(tmp_path, tokenizer):
    model = lively(build_model(tiny_config("lstm")))
    artifact.save(tmp_path / "m", model, tokenizer, card="old")
    artifact.save(tmp_path / "m", model, tokenizer)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m"]
    assert not (tmp_path / "m" / "README.md").exists()


def test_a_failing_save_keeps_the_old_one(tmp_path, tokenizer, monkeypatch):
    model = lively(build_model(tiny_config("lstm")))
    artifact.save(tmp_path / "m", model, tokenizer)

    def full_disk(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(artifact, "save_file", full_disk)
    with pytest.raises(OSError, match="No space left"):
        artifact.save(tmp_path / "m", model, tokenizer)
    assert artifact.load(tmp_path / "m").model.config == model.config


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e6])
def test_weights_that_float16_cannot_hold_are_neither_saved_nor_loaded(tmp_path, tokenizer, value):
    """They would be found out by the first reader, as a crash in sampling."""
    model = lively(build_model(tiny_config("lstm")))
    artifact.save(tmp_path / "m", model, tokenizer)
    weights = load_file(tmp_path / "m" / "model.safetensors")
    with torch.no_grad():
        model.projection.weight[0, 0] = value
    with pytest.raises(StorygenError, match="'projection.weight' has values that are infinite"):
        artifact.save(tmp_path / "m", model, tokenizer)
    weights["projection.weight"][0, 0] = value
    save_file(weights, tmp_path / "m" / "model.safetensors")
    with pytest.raises(StorygenError, match="'projection.weight' has values that are infinite"):
        artifact.load(tmp_path / "m")


def test_neighbours_with_telling_names_are_left_alone(tmp_path, tokenizer):
    """`m.old` is somebody's backup."""
    (tmp_path / "m.old").mkdir()
    for _ in range(2):
        artifact.save(tmp_path / "m", lively(build_model(tiny_config("lstm"))), tokenizer)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["m", "m.old"]


@pytest.mark.parametrize("name", [None, 5])
def test_a_name_of_another_type(name):
    with pytest.raises(StorygenError, match="named by a folder or a Hub repository"):
        storygen.load(name)


def test_a_model_and_a_tokenizer_that_do_not_fit_are_not_saved(tmp_path, tokenizer):
    with pytest.raises(StorygenError, match="vocabulary of 300, the tokenizer of 400"):
        artifact.save(tmp_path / "m", build_model(tiny_config("lstm", vocab_size=300)), tokenizer)


def test_a_run_is_called_by_its_name_not_best(model_folders, tmp_path):
    """Two runs loaded side by side would both be called best."""
    shutil.copytree(model_folders / "lstm", tmp_path / "my-run" / "best")
    assert storygen.load(tmp_path / "my-run" / "best").name == "my-run"
