"""The released checkpoints are what their cards and the README say."""

import re
from pathlib import Path

import pytest

import storygen
from storygen.data.files import read_files
from storygen.data.sources import builtin_tales
from storygen.evaluation.record import read_record
from storygen.evaluation.tables import fill

WORD = re.compile(r"[a-z']+")
ROOT = Path(__file__).parents[1]
RECORD = ROOT / "docs" / "figures" / "evaluation.json"
SHAPES = {"transformer": (4096, 512, 5.8), "lstm": (4096, 512, 5.8), "char-lstm": (60, 256, 0.95)}
"""Vocabulary, context length, millions of parameters."""


@pytest.fixture(scope="module", params=SHAPES)
def writer(request):
    return storygen.load(ROOT / "checkpoints" / request.param)


def test_it_is_small_enough_for_the_repository(writer):
    folder = ROOT / "checkpoints" / writer.name
    assert (folder / "model.safetensors").stat().st_size < 16_000_000
    vocab_size, context_length, millions = SHAPES[writer.name]
    assert writer.model.num_parameters == pytest.approx(millions * 1e6, rel=0.05)
    assert writer.tokenizer.vocab_size == vocab_size
    assert writer.model.config.context_length == context_length


def test_its_figure_can_be_measured_again(writer, tales):
    """A figure that was typed, or that is of other weights, misleads everybody who compares with it."""
    recorded = writer.artifact.training["metrics"]["evaluation"]["likelihood"]["texts"]["tales.valid.jsonl.gz"]
    assert storygen.bits_per_byte(writer, tales) == pytest.approx(recorded["bits_per_byte"], abs=1e-3)


def test_the_record_and_its_own_entry_are_of_these_weights(writer):
    """When a checkpoint is replaced, all of its figures must be made again."""
    entry = writer.artifact.training["metrics"]["evaluation"]
    assert entry == read_record(RECORD)["models"][writer.name]
    assert entry["revision"] == writer.revision


def test_its_card_shows_its_entry(writer):
    card = (ROOT / "checkpoints" / writer.name / "README.md").read_text()
    assert "<!-- evaluation: card -->" in card
    assert fill(card, {"models": {writer.name: writer.artifact.training["metrics"]["evaluation"]}}) == card


@pytest.mark.parametrize("page", ["README.md", "docs/evaluation.md"])
def test_tables_are_those_of_the_record(page):
    """Figures that are typed are wrong sooner or later: `python -m train.evaluate --fill` writes them."""
    text = (ROOT / page).read_text()
    assert "<!-- evaluation: likelihood -->" in text
    assert fill(text, read_record(RECORD)) == text


def test_the_card_has_three_samples_with_their_seeds(writer):
    samples = writer.artifact.training["samples"]
    card = (ROOT / "checkpoints" / writer.name / "README.md").read_text()
    assert len(samples) == 3
    for sample in samples:
        assert f"seed {sample['settings']['seed']}" in card
        assert all(line in card for line in sample["story"].splitlines())


def test_it_was_trained_for_an_hour_by_this_project(writer):
    training = writer.artifact.training
    assert training["minutes"] > 60
    assert training["recipe"]["train"]["batch_tokens"] * training["steps"] > training["tokens"] > 5_000_000


def test_it_writes_words(writer):
    """Most words are in the built-in corpus, which lacks "mom" and the names; a damaged model writes fragments."""
    known = {word for story in read_files(builtin_tales()[0]) for word in WORD.findall(story.text.lower())}
    config = storygen.GenerationConfig(strategy="top_k", top_k=5, max_new_tokens=400)
    streams = [writer.stream("Once upon a time", config=config.replace(seed=seed)) for seed in range(1, 7)]  # at once
    for stream in streams:
        list(stream)
    words = WORD.findall(" ".join(stream.result.text for stream in streams).lower())
    assert len(words) > 50 * len(streams)
    assert sum(word in known for word in words) > 0.9 * len(words)
