"""BLEU: how much of stories is in other texts, word run for word run, by sacrebleu's counts and smoothing."""

from collections import Counter
from collections.abc import Sequence

from sacrebleu.metrics import BLEU
from sacrebleu.metrics.helpers import extract_all_word_ngrams

from storygen.errors import StorygenError

ORDER = 4
SMOOTHING = "exp"


def bleu(hypotheses: Sequence[str], references: Sequence[Sequence[str]]) -> tuple[float, str]:
    """Corpus BLEU, 0 to 100, and the signature by which others can repeat it (Papineni et al. 2002, Post 2018).

    `references` is a list of streams: the first reference of every hypothesis, the second of every hypothesis, ... A
    list for each hypothesis, which sacrebleu cuts silently and scores too well, is refused; where both have the same
    length they can't be told apart.
    """
    if isinstance(hypotheses, str) or not hypotheses:
        raise StorygenError("BLEU needs a list of hypotheses, at least one")
    if isinstance(references, str) or not references or any(isinstance(stream, str) for stream in references):
        raise StorygenError("BLEU's references must be a list of streams, each a list of texts; for one: [texts]")
    for number, stream in enumerate(references, 1):
        if len(stream) != len(hypotheses):
            raise StorygenError(
                f"reference stream {number} has {len(stream)} texts for {len(hypotheses)} hypotheses; a stream has one "
                "for each hypothesis (is the list transposed?)"
            )
        for place, text in enumerate(stream, 1):
            if not text.strip():
                raise StorygenError(f"reference {place} of stream {number} is empty; leave that story out")
    metric = BLEU(max_ngram_order=ORDER, smooth_method=SMOOTHING)
    score = metric.corpus_score(list(hypotheses), [list(stream) for stream in references]).score
    return min(score, 100.0), str(metric.get_signature())  # sacrebleu gives equal texts 100.00000000000004


def others_bleu(texts: Sequence[str], pool: Sequence[str] | None = None) -> float:
    """Mean sentence BLEU-4, 0 to 1, of each text against all of the pool but the one in its own place.

    Without a pool it is self-BLEU (Zhu et al. 2018): texts against each other, lower if they differ more; it rises with
    the number of texts. Equal to sacrebleu's `sentence_score` with `effective_order`, which counts the runs of all
    references again for each text: a minute for what takes a second here.
    """
    counted = [_counted(text) for text in texts]
    among = counted if pool is None else [_counted(text) for text in pool]
    if len(among) < 2 or len(among) < len(counted):
        raise StorygenError(f"{len(counted)} texts need as many others, and two at least; there are {len(among)}")
    largest: dict[tuple[str, ...], tuple[int, int, int]] = {}
    """Of each run: the highest count in a text of the pool, the place of that text, the highest in the others."""
    for place, (runs, _) in enumerate(among):
        for run, count in runs.items():
            first, owner, second = largest.get(run, (0, -1, 0))
            if count > first:
                largest[run] = (count, place, first)
            elif count > second:
                largest[run] = (first, owner, count)
    scores = []
    for place, (runs, length) in enumerate(counted):
        correct = [0] * ORDER
        for run, count in runs.items():
            first, owner, second = largest.get(run, (0, -1, 0))
            correct[len(run) - 1] += min(count, second if owner == place else first)
        total = [max(0, length - n) for n in range(ORDER)]
        lengths = (other for at, (_, other) in enumerate(among) if at != place)
        closest = min(lengths, key=lambda other: (abs(other - length), other))
        scores.append(BLEU.compute_bleu(correct, total, length, closest, SMOOTHING, effective_order=True).score)
    return min(sum(scores) / len(scores) / 100, 1.0)


def _counted(text: str) -> tuple[Counter, int]:
    """How often each run of one to four words comes, and the number of words, after sacrebleu's own tokenizer."""
    return extract_all_word_ngrams(BLEU().tokenizer(text.rstrip()), 1, ORDER)
