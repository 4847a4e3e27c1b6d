import json
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from storygen.errors import StorygenError
from storygen.tokenizers import (
    KINDS,
    SPECIAL_TOKENS,
    StreamDecoder,
    SubwordTokenizer,
    load_tokenizer,
    train_tokenizer,
    word_table,
)
from storygen.tokenizers.char import CharTokenizer, normalise

ODD_TEXTS = [
    "",
    " ",
    "\n\n",
    "\x00\x00a",
    "🦊🌙 naïve — “quoted”",
    "a" * 1_000_000,
    "\ud800 lone",
    "日本語",
    "  two  spaces ",
]


@pytest.fixture(scope="module")
def trained(tales):
    return {kind: train_tokenizer(kind, tales, 600) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_plain_english_survives(trained, kind, tales):
    """WordPiece as BERT has it loses line breaks and the spaces around punctuation; a story needs both."""
    text = tales[0] if kind != "char" else tales[0].lower()
    assert trained[kind].decode(trained[kind].encode(text)) == text


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", ODD_TEXTS, ids=lambda text: repr(text[:8]))
def test_odd_text_does_not_crash(trained, kind, text):
    tokenizer = trained[kind]
    tokens = tokenizer.encode(text)
    assert all(0 <= token < tokenizer.vocab_size - len(SPECIAL_TOKENS) for token in tokens)
    if tokenizer.lossless:
        assert tokenizer.decode(tokens) == text.replace("\ud800", "?")


@settings(max_examples=200)
@given(text=st.text())
def test_lossless_means_lossless(tokenizer, text):
    assert tokenizer.lossless
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_only_byte_level_is_lossless(trained):
    assert {kind: tokenizer.lossless for kind, tokenizer in trained.items()} == {
        "char": False, "bpe": True, "wordpiece": False, "unigram": False,
    }  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
def test_typed_special_tokens_are_text(trained, kind):
    """A user who types <|end|> must not end the story: Unigram would find a trained special token in its lattice."""
    tokenizer = trained[kind]
    text = "the <|end|> of <|story|><|prompt|>"
    tokens = tokenizer.encode(text)
    assert not {tokenizer.prompt_id, tokenizer.story_id, tokenizer.end_id} & set(tokens)
    known = tokenizer.unknown(text)
    assert tokenizer.decode(tokens) == "".join(c for c in text if c not in known) or kind in ("wordpiece", "unigram")


@pytest.mark.parametrize("kind", KINDS)
def test_special_tokens_decode_to_nothing(trained, kind):
    tokenizer = trained[kind]
    framed = tokenizer.framed(tokenizer.encode("fox"), tokenizer.encode("moon"))
    assert framed[0] == tokenizer.prompt_id
    assert framed[-1] == tokenizer.end_id
    assert tokenizer.decode(framed) == "moonfox"
    assert tokenizer.framed(tokenizer.encode("fox"))[0] == tokenizer.story_id


@pytest.mark.parametrize("kind", KINDS)
def test_save_and_load_gives_the_same_ids(trained, kind, tmp_path, tales):
    """The setting that keeps typed special tokens plain is not in the library's file: loading must set it again."""
    trained[kind].save(tmp_path / "tokenizer.json")
    loaded = load_tokenizer(tmp_path / "tokenizer.json")
    text = tales[1] + " <|end|>"
    assert loaded.encode(text) == trained[kind].encode(text)
    assert loaded.fingerprint == trained[kind].fingerprint
    assert (loaded.kind, loaded.vocab_size, loaded.end_id) == (kind, trained[kind].vocab_size, trained[kind].end_id)


@pytest.mark.parametrize("kind", KINDS)
def test_batch_equals_single(trained, kind, tales):
    assert trained[kind].encode_batch(tales[:5]) == [trained[kind].encode(text) for text in tales[:5]]


@given(texts=st.lists(st.text() | st.text("ab Z09'sdtrevl\n\t\r\x0b\x1c.,<|>") | st.sampled_from(SPECIAL_TOKENS)))
def test_words_that_are_looked_up_are_those_of_the_library(tokenizer, texts):
    """A batch is cut into words by our own expression, a single text by the library."""
    assert tokenizer.encode_batch(texts) == [tokenizer.encode(text) for text in texts]
    assert tokenizer.encode_batch(["".join(texts)]) == [tokenizer.encode("".join(texts))]


def test_the_table_of_words_does_not_grow_for_ever(tokenizer, tales, monkeypatch):
    monkeypatch.setattr(word_table, "MOST_WORDS", 50)
    table = word_table.WordTable(tokenizer.encode)
    assert [table.encode(text) for text in tales[:5]] == tokenizer.encode_batch(tales[:5])
    assert len(table) <= 50


def test_a_bpe_that_cuts_otherwise_is_left_to_the_library(tokenizer, tales):
    """A tokenizer.json from elsewhere may put a space before the text, or cut at other places."""
    content = json.loads(tokenizer.to_json())
    spaced = {"pre_tokenizer": {**content["pre_tokenizer"], "add_prefix_space": True}}
    for changes in (spaced, {"normalizer": {"type": "Lowercase"}}):
        other = SubwordTokenizer(json.dumps({**content, **changes}))
        assert other.encode_batch(tales[:3]) == [other.encode(text) for text in tales[:3]]
        assert other.encode_batch(tales[:3]) != tokenizer.encode_batch(tales[:3])


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_our_bytes_agree_with_the_library(trained, kind, tales):
    """We decode by our own table of bytes; the library's decoder is the independent reference."""
    tokens = trained[kind].encode(tales[2])
    assert trained[kind].decode(tokens) == trained[kind]._inner.decode(tokens)


@pytest.mark.parametrize("kind", ["bpe", "wordpiece", "unigram"])
def test_vocabulary_is_what_was_asked_for(trained, kind):
    assert trained[kind].vocab_size == 600


def test_streaming_never_shows_half_a_character(tokenizer):
    """Emoji are several tokens here; showing each token's bytes at once puts U+FFFD on the screen."""
    text = "the fox 🦊 and the moon 🌙"
    decoder = StreamDecoder(tokenizer)
    pieces = [decoder.push(token) for token in tokenizer.encode(text)]
    assert "\ufffd" not in "".join(pieces)
    assert "".join(pieces) + decoder.finish() == text


@settings(max_examples=200)
@given(tokens=st.lists(st.integers(0, 399), max_size=30))
def test_streamed_pieces_add_up_to_decode(tokenizer, tokens):
    """Also for token sequences that are not UTF-8, which a model is free to produce."""
    decoder = StreamDecoder(tokenizer)
    assert "".join([*map(decoder.push, tokens), decoder.finish()]) == tokenizer.decode(tokens)


def test_char_normalises_to_lower_ascii():
    plain, dropped = normalise("“Ça va?” — said the Fœtus…\r\nño 🦊日")
    assert plain == '"ca va?" -- said the foetus...\nno '
    assert dropped == {"🦊": 1, "日": 1}


def test_char_reports_unknown_characters():
    tokenizer = CharTokenizer.train(["abc "])
    assert tokenizer.unknown("Abx x🦊") == {"x": 2, "🦊": 1}
    assert tokenizer.decode(tokenizer.encode("Abx x🦊")) == "ab "


@pytest.mark.parametrize("kind", ["wordpiece", "unigram"])
def test_wordpiece_and_unigram_report_unknown_characters(trained, kind):
    assert trained[kind].unknown("a 🦊 b") == {"🦊": 1}
    assert trained[kind].unknown("a fox🦊 b") == {"🦊": 1}  # WordPiece loses the whole word, for this character


def test_a_tokenizer_that_would_cut_texts_does_not(tokenizer, tmp_path):
    content = json.loads(tokenizer.to_json())
    content["truncation"] = {"direction": "Right", "max_length": 4, "strategy": "LongestFirst", "stride": 0}
    (tmp_path / "tokenizer.json").write_text(json.dumps(content))
    assert len(load_tokenizer(tmp_path / "tokenizer.json").encode("a long text that goes on")) > 4


def test_too_small_a_vocabulary_is_refused():
    with pytest.raises(StorygenError, match="vocabulary of 259 or more, not 100"):
        train_tokenizer("bpe", ["some text"], 100)


def test_no_text_is_refused():
    with pytest.raises(StorygenError, match="too small to learn a char tokenizer"):
        train_tokenizer("char", [""])


@pytest.mark.parametrize("content", ["not json", "[]", '{"kind": "char"}', '{"model": {"type": "BPE"}}'])
def test_a_broken_file_is_refused_by_name(tmp_path, content):
    path = tmp_path / "tokenizer.json"
    path.write_text(content)
    with pytest.raises(StorygenError, match=r"tokenizer\.json"):
        load_tokenizer(path)


def test_a_tokenizer_without_our_special_tokens_is_refused(tmp_path, tokenizer):
    content = json.loads(tokenizer.to_json())
    content["added_tokens"] = []
    path = tmp_path / "tokenizer.json"
    path.write_text(json.dumps(content))
    with pytest.raises(StorygenError, match=r"<\|prompt\|>"):
        load_tokenizer(path)


def test_the_same_text_gives_the_same_bpe_in_every_process():
    """Token numbers that change from run to run would make every packed corpus another one."""
    script = (
        "from storygen.data.files import read_files; from storygen.data.sources import builtin_tales;"
        "from storygen.tokenizers import train_tokenizer;"
        "texts = [story.text for story in read_files(builtin_tales()[1])];"
        "print(train_tokenizer('bpe', texts, 600).fingerprint)"
    )
    printed = {subprocess.run([sys.executable, "-c", script], capture_output=True, text=True).stdout for _ in range(2)}
    assert len(printed) == 1
    assert len(printed.pop().strip()) == 64
