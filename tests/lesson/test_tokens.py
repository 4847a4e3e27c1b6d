import pytest

import storygen
from storygen.lesson.tokens import cut, label, small_tokenizer, tokenizers_of
from storygen.tokenizers import KINDS
from storygen.tokenizers.figures import measure_tokenizer

HARD = "The café-owner’s dragon 🐉 said:\nBrrrh"


@pytest.mark.parametrize("kind", KINDS)
def test_a_small_tokenizer_of_each_kind_ships(kind, tales):
    """A file that is missing from the package, or of another kind than its name, breaks the page only when opened."""
    tokenizer = small_tokenizer(kind)
    assert tokenizer.kind == kind
    assert measure_tokenizer(tokenizer, tales[:3]).bytes_per_token >= (1.0 if kind == "char" else 3.0)


def test_bytes_that_are_no_character_are_shown_as_bytes():
    """An emoji is four tokens of a BPE that never met it; decoded one by one they would be four question marks."""
    shown = cut("a 🐉", small_tokenizer("bpe"))
    assert shown.labels == ("a", "␣", "⟨F0⟩", "⟨9F⟩", "⟨90⟩", "⟨89⟩")
    assert (shown.size, shown.lost.total(), shown.is_same) == (6, 0, True)
    assert shown.bytes_per_token == 1.0
    assert cut("\x00", small_tokenizer("bpe")).labels == ("⟨00⟩",)


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_tokenizer_loses_is_told(kind):
    shown = cut(HARD, small_tokenizer(kind))
    assert shown.is_same == (kind == "bpe")
    assert bool(shown.lost) == (kind != "bpe")
    assert shown.lost["🐉"] == (kind != "bpe")
    if kind == "char":
        assert shown.read_back == "the cafe-owner's dragon  said:\nbrrrh"
        assert "↵" in shown.labels
    else:
        assert ("⟨unknown⟩" in shown.labels) == (kind != "bpe")


def test_a_loss_without_lost_characters_shows_too():
    """Capitals are no unknown characters to the char tokenizer, and yet they don't come back."""
    shown = cut("The Fox", small_tokenizer("char"))
    assert not shown.lost
    assert not shown.is_same


def test_special_tokens_have_names(tokenizer):
    names = [label(tokenizer, token) for token in (tokenizer.prompt_id, tokenizer.story_id, tokenizer.end_id)]
    assert names == ["⟨prompt⟩", "⟨story⟩", "⟨end⟩"]


def test_nothing_and_half_characters_can_be_cut():
    empty = cut("", small_tokenizer("bpe"))
    assert (empty.ids, empty.bytes_per_token, empty.is_same) == ((), 0.0, True)
    assert cut("\ud800", small_tokenizer("bpe")).labels == ("?",)


def test_models_with_one_tokenizer_share_it_and_every_kind_is_there(model_folders):
    writers = {name: storygen.load(model_folders / name) for name in ("transformer", "lstm")}
    found = tokenizers_of(writers)
    assert [models for _, models in found] == [("transformer", "lstm"), (), (), ()]
    assert [tokenizer.kind for tokenizer, _ in found] == ["bpe", "char", "wordpiece", "unigram"]
