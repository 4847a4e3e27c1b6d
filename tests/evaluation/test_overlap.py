import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from storygen.errors import StorygenError
from storygen.evaluation.overlap import bleu, others_bleu

STORIES = ["The fox ran home.", "The fox ran to the sea, and home.", "A bear baked bread and ate it at home."]
WORDS = st.lists(st.sampled_from(["the", "fox", "ran", "Fox,", "home."]), max_size=9).map(" ".join)


def test_bleu_is_sacrebleus():
    streams = [STORIES[1:] + STORIES[:1], STORIES[2:] + STORIES[:2]]
    score, signature = bleu(STORIES, streams)
    assert score == sacrebleu.corpus_bleu(STORIES, streams).score > 0
    assert signature == f"nrefs:2|case:mixed|eff:no|tok:13a|smooth:exp|version:{sacrebleu.__version__}"
    assert bleu(STORIES, [STORIES])[0] == 100  # not 100.00000000000004


@pytest.mark.parametrize(
    ("references", "message"),
    [
        ([[text] for text in STORIES], "reference stream 1 has 1 texts for 3 hypotheses.*transposed"),
        ([STORIES, STORIES[:2]], "reference stream 2 has 2 texts for 3"),
        (STORIES, "must be a list of streams"),
        ([], "must be a list of streams"),
        ([["a story", " \n", "another"]], "reference 2 of stream 1 is empty"),
    ],
)
def test_references_of_the_wrong_shape(references, message):
    """sacrebleu cuts a transposed list silently, and gives 100."""
    with pytest.raises(StorygenError, match=message):
        bleu(STORIES, references)


def test_nothing_to_score():
    with pytest.raises(StorygenError, match="at least one"):
        bleu([], [[]])
    with pytest.raises(StorygenError, match="two at least; there are 1"):
        others_bleu(["alone"])
    with pytest.raises(StorygenError, match="3 texts need as many others"):
        others_bleu(STORIES, STORIES[:2])


@settings(max_examples=60)
@given(st.lists(st.tuples(WORDS, WORDS), min_size=2, max_size=5))
def test_others_bleu_is_sacrebleus_mean_over_left_out_texts(pairs):
    """The highest counts of the others must not be those of the text itself, nor of equal texts be lost."""
    texts, pool = zip(*pairs, strict=True)
    metric = sacrebleu.BLEU(effective_order=True)
    for among, given_pool in ((texts, None), (pool, pool)):
        expected = [
            metric.sentence_score(text, [*among[:place], *among[place + 1 :]]).score for place, text in enumerate(texts)
        ]
        assert others_bleu(texts, given_pool) == pytest.approx(sum(expected) / len(expected) / 100)


def test_equal_texts_have_a_self_bleu_of_one():
    assert others_bleu([STORIES[0]] * 3) == 1
    assert others_bleu(["one two three", "four five six"]) == 0
