import gzip
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from storygen.data.chunk import join_up, sentences
from storygen.data.shards import PackedStories
from storygen.data.sources import builtin_tales
from storygen.tokenizers import load_tokenizer
from train import prepare


def test_sentences():
    text = 'One. "Two?" he said!  Three\n\nA title\n\nMr. Fox met St. George... and went 3.5 miles. "Oh!" They ran.'
    assert sentences(text) == [
        "One. ", '"Two?" he said!  ', "Three\n\n", "A title\n\n",
        "Mr. Fox met St. George... and went 3.5 miles. ", '"Oh!" ', "They ran.",
    ]  # fmt: skip


@given(st.text(alphabet="ab .!?\"'\n)", max_size=200))
def test_no_character_is_lost(text):
    assert "".join(sentences(text)) == text.lstrip() or "".join(sentences(text)) == text


def test_pieces_fill_up_to_the_limit():
    assert join_up(["a", "b", "c", "d"], [2, 3, 4, 1], limit=5) == ["ab", "cd"]
    assert join_up(["a", "b"], [9, 1], limit=5) == ["a", "b"]
    assert join_up([], [], limit=5) == []


@pytest.mark.parametrize("limit", [100, 160])
def test_long_stories_are_packed_in_pieces_that_keep_the_title(tmp_path, tales, limit):
    """A model that sees a story from its middle on under no title learns to begin in the middle."""
    with gzip.open(builtin_tales()[0][0], "rt") as lines:
        rows = [json.loads(line) for line in lines][:40]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    command = ["--input", str(path), "--vocab-size", "500", "--valid-fraction", "0", "--piece-tokens", str(limit)]
    prepare.main([*command, "--out", str(tmp_path / "x")])
    stories, tokenizer = PackedStories(tmp_path / "x", "train"), load_tokenizer(tmp_path / "x" / "tokenizer.json")
    assert stories.chunking == {"kind": "story", "piece_tokens": limit}
    told, titles, parts = [], [], []
    for tokens in stories:
        head, body = tokens.tolist(), tokens.tolist()
        at = head.index(tokenizer.story_id)
        prompt, body = tokenizer.decode(head[:at]), body[at + 1 :]
        ends = body[-1] == tokenizer.end_id
        parts.append((prompt, tokenizer.decode(body[: len(body) - ends]), len(tokens)))
        if ends:
            told.append("".join(text for _, text, _ in parts))
            titles.append([prompt for prompt, _, _ in parts])
            assert all(size <= limit or len(sentences(text)) == 1 for _, text, size in parts[1:])
            parts = []
    assert told == [row["text"] for row in rows]
    for row, prompts in zip(rows, titles, strict=True):
        assert all(prompt.startswith(f"{row['title']} (continued)") for prompt in prompts[1:])
    assert max(map(len, titles)) > 2
