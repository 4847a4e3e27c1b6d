import math

import pytest
import torch

from storygen.lesson.embedding import LETTERS, WORDS, families, flat_map, neighbours, word_tokens
from storygen.lesson.tokens import small_tokenizer


def turned(*degrees):
    """Vectors of the plane by their angles, none of length 1."""
    angles = [math.radians(each) for each in degrees]
    return torch.tensor([[(n + 2) * math.cos(a), (n + 2) * math.sin(a)] for n, a in enumerate(angles)])


def test_neighbours_are_the_nearest_angles_without_the_token_itself():
    matrix = turned(0, 60, 10, 180, 0, 0, 0)  # the last three are the special tokens, which stand for no text
    found = neighbours(matrix, 0, 10)
    assert [token for token, _ in found] == [2, 1, 3]
    cosines = [cosine for _, cosine in found]
    assert cosines == pytest.approx([math.cos(math.radians(10)), 0.5, -1.0], abs=1e-6)
    assert neighbours(matrix, 0, 1) == found[:1]


def test_length_does_not_matter():
    """A dot product in place of a cosine would name long vectors, frequent tokens, as everybody's neighbours."""
    matrix = torch.cat([turned(0, 5), 100 * turned(80), turned(0, 0, 0)])
    assert neighbours(matrix, 0, 1)[0][0] == 1


def test_a_word_is_looked_up_as_it_stands_in_a_sentence(tokenizer):
    [inside] = word_tokens(tokenizer, "the")
    assert tokenizer.token_bytes[inside] == b" the"
    assert len(word_tokens(tokenizer, "grandmother")) > 1
    assert word_tokens(tokenizer, "") == word_tokens(small_tokenizer("char"), "🐉") == []


def test_a_letter_is_itself_and_not_the_space_before_it():
    char = small_tokenizer("char")
    assert char.decode(word_tokens(char, "a")) == "a"


def test_families_are_single_tokens_or_letters():
    bpe, char = small_tokenizer("bpe"), small_tokenizer("char")
    words = families(bpe)
    assert words.keys() <= WORDS.keys()
    assert all(bpe.decode([token]).strip() == word for family in words.values() for word, token in family.items())
    assert families(char).keys() == LETTERS.keys()


def test_the_map_shows_a_plane_as_it_is():
    """Distances on the map are those of the vectors if these lie in a plane, wherever that is."""
    generator = torch.Generator().manual_seed(0)
    plane = torch.linalg.qr(torch.randn(20, 2, generator=generator)).Q  # two directions of a space of 20
    flat = torch.randn(7, 2, generator=generator)
    places, share = flat_map(flat @ plane.T + 3.0)
    assert share == pytest.approx(1.0)
    torch.testing.assert_close(torch.cdist(places, places), torch.cdist(flat, flat), atol=1e-4, rtol=1e-4)


def test_the_map_takes_the_widest_directions_first_and_tells_what_is_left_out():
    spread = torch.tensor([[3.0, 0, 0], [-3, 0, 0], [0, 2, 0], [0, -2, 0], [0, 0, 1], [0, 0, -1]])
    places, share = flat_map(spread)
    assert share == pytest.approx((9 + 4) / (9 + 4 + 1))
    torch.testing.assert_close(places.abs().amax(dim=0), torch.tensor([3.0, 2.0]))
    assert (places.amax(dim=0) > 0).all()


def test_a_single_point_and_equal_points_have_a_place():
    for vectors in (torch.ones(1, 5), torch.ones(3, 5)):
        places, share = flat_map(vectors)
        assert places.shape == (len(vectors), 2)
        assert places.isfinite().all()
        assert share == 1.0
