import gzip
import json
import re
import shutil

import pytest

import storygen
from storygen import artifact
from storygen.arena.contestants import load_catalogue
from storygen.arena.simulate import write_votes
from storygen.config import GenerationConfig
from storygen.errors import StorygenError
from storygen.evaluation.record import read_record
from storygen.models import build_model
from storygen.tokenizers import CharTokenizer
from tests.conftest import lively, tiny_config
from train import evaluate, publish

TRAINING = {
    "recipe": {
        "model": {"architecture": "lstm", "hidden_size": 32},
        "train": {"learning_rate": 0.002, "batch_tokens": 4096, "decay_share": 0.4},
    },
    "corpus": {"tokenizer": {"kind": "bpe", "vocab_size": 400}},
    "parameters": 12345,
    "precision": "float32",
    "device": "cpu",
    "minutes": 65.2,
    "steps": 100,
    "tokens": 400_000,
    "metrics": {"valid_bits_per_byte": 2.0},
}


@pytest.fixture
def trained(model_folders, tmp_path):
    """A small model with the figures of a training run."""
    loaded = artifact.load(model_folders / "lstm")
    return artifact.save(tmp_path / "run" / "best", loaded.model, loaded.tokenizer, TRAINING)


@pytest.fixture
def text(tmp_path, tales):
    path = tmp_path / "valid.jsonl.gz"
    with gzip.open(path, "wt") as file:
        file.writelines(json.dumps({"text": text}) + "\n" for text in tales[:3])
    return path


def test_the_table_shows_what_the_public_function_gives(model_folders, text, tales, capsys):
    models = [str(model_folders / name) for name in ("transformer", "lstm")]
    evaluate.main(["--model", *models, "--text", str(text)])
    expected = [storygen.bits_per_byte(storygen.load(model), tales[:3]) for model in models]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "| bits per byte | transformer | lstm |"
    cells = lines[2].strip("| ").split(" | ")
    assert [cell.split()[0] for cell in cells] == ["valid.jsonl.gz", f"{expected[0]:.3f}", f"{expected[1]:.3f}"]


def test_stories_are_written_and_judged(model_folders, text, capsys):
    models = [str(model_folders / name) for name in ("transformer", "lstm")]
    command = ["--model", *models, "--text", str(text), "--stories", "12"]
    with pytest.raises(
        StorygenError, match="no story of the files has a prompt or a title; name others with --prompts"
    ):
        evaluate.main([*command, "--prompts", str(text)])
    evaluate.main(command)
    lines = capsys.readouterr().out.splitlines()
    assert "| 12 stories for held-out prompts | transformer | lstm |" in lines
    rows = {line.split(" | ")[0] for line in lines}
    assert "| the story ends by itself before the limit" in rows
    assert "| a held-out text is likeliest after its own prompt, among ten" in rows


def test_the_record_makes_the_same_tables_again(model_folders, text, tmp_path, capsys):
    """Tables come from the JSON alone, so nobody has to measure, or type, to have them in another file."""
    models = [str(model_folders / name) for name in ("transformer", "lstm")]
    out, page = tmp_path / "out", tmp_path / "page.md"
    evaluate.main(["--model", models[0], "--compare", models[1], "--text", str(text), "--train", "--out", str(out)])
    printed = capsys.readouterr().out
    assert {path.name for path in out.iterdir()} == {"evaluation.json", "evaluation.md", "likelihood.png"}
    page.write_text("Before.\n<!-- evaluation: comparison -->\n<!-- /evaluation -->\n")
    evaluate.main(["--record", str(out / "evaluation.json"), "--fill", str(page)])
    assert capsys.readouterr().out == printed == (out / "evaluation.md").read_text()
    assert "| bits per byte | transformer | lstm | xz | zstd | 7-grams |" in printed
    assert "| valid.jsonl.gz | transformer - lstm | " in page.read_text()


def test_a_reader_who_has_seen_enough_costs_no_record(model_folders, text, tmp_path, monkeypatch):
    """With `| head` the command ended while it printed, and hours of measuring were not written down."""

    def closed(*_):
        raise BrokenPipeError

    monkeypatch.setattr("builtins.print", closed)
    command = ["--model", str(model_folders / "lstm"), "--text", str(text), "--out", str(tmp_path / "out")]
    with pytest.raises(BrokenPipeError):
        evaluate.main(command)
    assert "lstm" in read_record(tmp_path / "out" / "evaluation.json")["models"]


def test_figures_go_into_training_json_and_onto_the_card(trained, text, tmp_path, capsys):
    out = tmp_path / "lstm"
    publish.main(["checkpoint", str(trained), str(out), "--text", str(text), "--corpus", "x", "--stories", "0"])
    published = (out / "README.md").read_text()
    evaluate.main(["--model", str(out), "--text", str(text), "--write"])
    assert (out / "README.md").read_text() == published  # the same figures, so the same card
    evaluate.main(["--model", str(out), "--text", str(text), "--write", "--stride", "16"])
    assert "move by 16 tokens" in (out / "README.md").read_text()
    assert artifact.load(out).training["metrics"]["evaluation"]["likelihood"]["settings"]["stride"] == 16


def test_votes_are_set_beside_the_figures(model_folders, text, tmp_path, capsys):
    votes = tmp_path / "votes"
    arguments = ["--model", str(model_folders / "lstm"), "--text", str(text), "--votes", str(votes)]
    with pytest.raises(StorygenError, match="votes is no folder of votes"):
        evaluate.main(arguments)
    write_votes(votes, load_catalogue(("transformer", "lstm")).contestants, 40, 5)
    evaluate.main(arguments)
    assert "That is too little to say whether any figure agrees with people." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "give models to measure with --model, or an earlier record with --record"),
        (["--model", "none/here/at-all"], "there is no model folder 'none/here/at-all'"),
        (["--model", "LSTM", "--text", "none.jsonl"], r"input none\.jsonl does not exist"),
        (["--model", "LSTM", "--stride", "65"], "stride is 65, but the context of lstm holds 64 tokens"),
        (["--model", "LSTM", "--stride", "8", "--carry-state"], r"stride is 8; a carried state needs no windows"),
        (["--model", "LSTM", "--stories", "-1"], "--stories is -1; it must be 0 or more"),
        (["--model", "LSTM", "--stories", "91"], "--stories is 91, but the files have 90 with a prompt or title"),
        (["--model", "LSTM", "--fill", "none.md"], r"--fill none\.md does not exist"),
        (["--record", "none.json"], r"none\.json does not exist"),
    ],
)
def test_what_can_not_be_measured_is_told_in_a_line(model_folders, arguments, message):
    lstm = str(model_folders / "lstm")
    with pytest.raises(StorygenError, match=message):
        evaluate.main([lstm if each == "LSTM" else each for each in arguments])


def test_a_model_without_its_tokenizer(model_folders, tmp_path):
    folder = shutil.copytree(model_folders / "lstm", tmp_path / "lstm")
    (folder / "tokenizer.json").unlink()
    with pytest.raises(StorygenError, match=r"is not a storygen model: tokenizer\.json is missing"):
        evaluate.main(["--model", str(folder)])


def test_a_text_in_letters_that_the_model_does_not_know(tmp_path):
    tokenizer = CharTokenizer("abc ")
    model = lively(build_model(tiny_config("lstm", tokenizer.vocab_size)))
    folder = artifact.save(tmp_path / "abc", model, tokenizer)
    (tmp_path / "moon.jsonl").write_text('{"text": "狐と月"}\n')
    with pytest.raises(StorygenError, match=r"abc on moon\.jsonl: .* knows no character of the text"):
        evaluate.main(["--model", str(folder), "--text", str(tmp_path / "moon.jsonl")])


def test_an_empty_text_file_is_refused(model_folders, tmp_path):
    (tmp_path / "a.jsonl").write_text("\n")
    with pytest.raises(StorygenError, match=r"a\.jsonl holds no story"):
        evaluate.main(["--model", str(model_folders / "lstm"), "--text", str(tmp_path / "a.jsonl")])


def test_a_published_checkpoint_carries_figures_samples_and_card(trained, text, tales, tmp_path):
    out = tmp_path / "lstm"
    publish.main(
        ["checkpoint", str(trained), str(out), "--text", str(text), "--corpus", "Public domain.", "--stories", "12"]
    )
    writer = storygen.load(out)
    training = writer.artifact.training
    measured = training["metrics"]["evaluation"]
    assert measured["likelihood"]["texts"]["valid.jsonl.gz"]["bits_per_byte"] == pytest.approx(
        storygen.bits_per_byte(writer, tales[:3]), abs=1e-4
    )
    assert measured["revision"] == writer.revision
    card = (out / "README.md").read_text()
    assert len(training["samples"]) == 3
    for sample in training["samples"]:
        config = GenerationConfig.from_dict(sample["settings"])
        assert writer.generate(sample["opening"], sample["title"], config).story.strip() == sample["story"]
        assert f"seed {sample['settings']['seed']}" in card
    assert "Public domain." in card
    assert re.search(r"\| valid\.jsonl\.gz \| \d\.\d{3} \|", card)
    assert "| content words of the prompt that are in the story |" in card
    assert card.startswith("---\nlicense:")
    assert training["corpus"]["about"] == "Public domain."
    assert "curve" not in training  # there is no log


def test_the_curve_of_the_run_goes_with_the_model(trained, text, tmp_path, capsys):
    lines = [{"step": n, "tokens": 100 * n, "loss": 4.0 - n} for n in (1, 2)]
    lines.append({"step": 2, "tokens": 200, "valid_bits_per_byte": 1.9})
    (trained.parent / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    arguments = ["--text", str(text), "--corpus", "x", "--stories", "0"]
    publish.main(["checkpoint", str(trained), str(tmp_path / "out"), *arguments])
    curve = {"loss": [[100, 3.0], [200, 2.0]], "valid_bits_per_byte": [[200, 1.9]]}
    assert artifact.load(tmp_path / "out").training["curve"] == curve
    assert "training curve" not in capsys.readouterr().out


def test_a_model_without_a_training_run_is_not_published(model_folders, trained, tmp_path):
    (trained / "training.json").write_text('{"note": "by hand"}')
    with pytest.raises(StorygenError, match=r"has no training\.json of a run"):
        publish.main(["checkpoint", str(trained), str(tmp_path / "out"), "--corpus", "x"])


def test_two_files_of_one_name_are_two_rows(model_folders, text, tmp_path, capsys):
    (tmp_path / "other").mkdir()
    other = tmp_path / "other" / text.name
    other.write_bytes(text.read_bytes())
    evaluate.main(["--model", str(model_folders / "lstm"), "--text", str(text), str(other)])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[2:4]] == [f"| {text}", f"| {other}"]


def test_a_training_file_without_its_figures_is_named(trained, tmp_path):
    (trained / "training.json").write_text(json.dumps({**TRAINING, "steps": None, "recipe": {"model": {}}}))
    with pytest.raises(StorygenError, match=r"training\.json of out lacks"):
        publish.main(["checkpoint", str(trained), str(tmp_path / "out"), "--corpus", "x", "--stories", "1"])


def test_an_existing_checkpoint_is_kept_unless_asked(trained, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("precious")
    with pytest.raises(StorygenError, match="or --overwrite"):
        publish.main(["checkpoint", str(trained), str(tmp_path / "out"), "--corpus", "x"])
    assert (tmp_path / "out" / "config.json").read_text() == "precious"
