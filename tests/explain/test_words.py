import pytest

from storygen.explain import token_texts, words_of
from storygen.tokenizers import train_tokenizer

TEXT = 'Once upon a time, there was a fox.\n\n"Who   are you?" said the naïve 🦊. Élodie laughed.\n'


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram", "char"])
def test_words_are_what_stands_between_spaces(kind, tales):
    """Whatever the tokens are: spaces of their own, spaces in front, characters in pieces."""
    tokenizer = train_tokenizer(kind, tales, 400 if kind != "unigram" else 600)
    tokens = tokenizer.encode(TEXT)
    texts, words = token_texts(tokenizer, tokens), words_of(tokenizer, tokens)
    assert "".join(texts) == "".join(word.text for word in words) == tokenizer.decode(tokens)
    assert [word.text.strip() for word in words if word.text.strip()] == tokenizer.decode(tokens).split()
    assert [word.first for word in words] == [0, *(word.end for word in words[:-1])]
    assert words[-1].end == len(tokens)
    assert all("".join(texts[word.first : word.end]) == word.text for word in words)


def test_the_end_is_a_word_of_its_own(tokenizer):
    tokens = [*tokenizer.encode("The end."), tokenizer.end_id]
    *_, before, last = words_of(tokenizer, tokens)
    assert before.text.strip() == "end."
    assert (last.text, last.first, last.end) == ("", len(tokens) - 1, len(tokens))


def test_half_a_character_at_the_end_is_not_lost(tokenizer):
    tokens = tokenizer.encode("🦊")[:-1]
    assert "".join(token_texts(tokenizer, tokens)) == tokenizer.decode(tokens) == "\ufffd"
    assert words_of(tokenizer, []) == []
