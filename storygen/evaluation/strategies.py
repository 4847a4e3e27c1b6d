"""What each way of decoding makes of one model, in figures, beside how people went on."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from statistics import fmean, median

from storygen.config import GenerationConfig
from storygen.errors import StorygenError
from storygen.evaluation import diversity
from storygen.evaluation.continuations import Continuation
from storygen.evaluation.memorisation import Copy, Index, copying, unseen_words
from storygen.evaluation.overlap import bleu, others_bleu
from storygen.evaluation.readability import grade

COUNTED_WORDS = 3000
"""Different words are counted in so many, the first of all continuations together: their share falls with length."""

GRID = tuple(
    GenerationConfig(**{"temperature": 1.0, **settings})
    for settings in (
        {"strategy": "greedy"},
        {"strategy": "greedy", "repetition_penalty": 1.1},
        {"strategy": "beam", "num_beams": 4},
        {"strategy": "beam", "num_beams": 4, "no_repeat_ngram": 4},
        {"strategy": "diverse_beam", "num_beams": 4, "num_groups": 2},
        {"strategy": "sample"},
        {"strategy": "sample", "temperature": 0.8},
        {"strategy": "sample", "temperature": 0.5},
        {"strategy": "top_k", "top_k": 5},
        {"strategy": "top_k", "top_k": 40},
        {"strategy": "top_k", "top_k": 40, "temperature": 0.7},
        {"strategy": "top_p", "top_p": 0.8},
        {"strategy": "top_p", "top_p": 0.95},
        {"strategy": "top_p", "top_p": 0.95, "temperature": 0.8},
        {"strategy": "top_k_top_p", "top_k": 40, "top_p": 0.95, "temperature": 0.8},
        {"strategy": "min_p", "min_p": 0.05},
        {"strategy": "min_p", "min_p": 0.1},
        {"strategy": "typical", "typical_p": 0.2},
        {"strategy": "typical", "typical_p": 0.95},
    )
)
"""Every strategy with a few settings; temperature is 1 where it is not told."""


@dataclass(frozen=True)
class Figures:
    """What was measured of continuations; shares are 0 to 1."""

    stories: int
    nats_per_token: float
    """Under the model itself, without what decoding changed."""
    repetition: float
    """Runs of four words that had come before in the same continuation."""
    loops: float
    """Continuations that end in a phrase three times in a row."""
    bleu: float | None
    """Against how the same story's author went on, 0 to 100; None for the authors."""
    like_people: float
    """BLEU-4, 0 to 1, against how the authors of the other stories went on: of the words that people use."""
    self_bleu: float
    """BLEU-4, 0 to 1, against the other continuations."""
    distinct: tuple[float, float, float] | None
    """Different words, pairs and triples over all of them, in the first COUNTED_WORDS; None if there are fewer."""
    zipf: float | None
    words: float
    """Mean length."""
    ended: float
    unseen_words: float
    """Words that the training text does not have."""
    grade: float
    """Median Flesch-Kincaid grade; a loop without a full stop would spoil a mean."""
    seen_runs: float
    """Runs of eight words that the training text has."""
    copied: int
    """Words of the longest run of any continuation that a training story has."""
    copied_median: float
    """Median over continuations of their longest; 0 where it is below eight words."""

    @property
    def perplexity(self) -> float:
        """Of the continuations under the model."""
        return math.exp(self.nats_per_token)


def measure(
    written: Sequence[Continuation],
    people: Sequence[Continuation],
    index: Index,
    copies: Sequence[Copy | None],
) -> Figures:
    """The figures of continuations of some stories, beside those of their authors; of `people` themselves too.

    `copies` are the longest runs that training stories have, as `find_copies` finds them.
    """
    if not len(written) == len(people) == len(copies):
        counts = f"{len(written)} continuations, {len(people)} of people, {len(copies)} copies"
        raise StorygenError(f"{counts}: they must be of the same stories")
    texts, references = [each.whole for each in written], [each.whole for each in people]
    grades = [grade(text) for text in texts if any(map(str.isalpha, text))]
    if not grades:
        raise StorygenError("none of the continuations has a word; there is nothing to measure")
    repeated, runs = _sums(map(diversity.repeated_share, texts))
    unseen, words = _sums(unseen_words(text, index) for text in texts)
    found = [copying(text, index) for text in texts]
    counted = diversity.first_words(texts, COUNTED_WORDS)
    longest = [copy.length if copy else 0 for copy in copies]
    return Figures(
        stories=len(written),
        nats_per_token=sum(each.nats for each in written) / sum(each.tokens for each in written),
        repetition=repeated / max(1, runs),
        loops=fmean(map(diversity.is_loop, texts)),
        bleu=None if written is people else bleu(texts, [references])[0],
        like_people=others_bleu(texts, references),
        self_bleu=others_bleu(texts),
        distinct=tuple(diversity.distinct(counted, length) for length in (1, 2, 3)) if counted else None,
        zipf=diversity.zipf(counted) if counted else None,
        words=words / len(texts),
        ended=fmean(each.ended for each in written),
        unseen_words=unseen / max(1, words),
        grade=median(grades),
        seen_runs=sum(each.seen for each in found) / max(1, sum(each.runs for each in found)),
        copied=max(longest),
        copied_median=median(longest),
    )


def _sums(pairs: Iterable[tuple[int, int]]) -> tuple[int, int]:
    first, second = zip(*pairs, strict=True)
    return sum(first), sum(second)
