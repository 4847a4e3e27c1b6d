"""What readers notice of a model's stories: whether they end, repeat themselves, and take up what was asked for."""

import itertools
import random
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from storygen.config import GenerationConfig
from storygen.errors import StorygenError
from storygen.evaluation.diversity import repeated_share
from storygen.evaluation.likelihood import token_nats
from storygen.models import LanguageModel
from storygen.tokenizers import Tokenizer
from storygen.writer import Result, Writer

ASKING = GenerationConfig(strategy="top_p", temperature=0.8, top_p=0.9, max_new_tokens=400)
"""How stories are written to be judged; the seed is the number of the story."""
IN_LINE = 32
"""Stories that are asked for at a time: twice the rows of the engine, so that none waits for the slowest of a batch."""
OTHERS = 9

_WORD = re.compile(r"[^\W\d_]+")
# Words of four letters and more that a prompt has for its grammar, or for being a prompt.
_GRAMMAR = """
about after again along always another away because been before being between both could does doing down during each
ever every from have having here into itself just like made make makes more most much must near never nothing once
only other over said same shall should some something somewhat stories story such tale tales than that their them
then there these they thing things this those through title told under until upon very want wants well went were
what when where whether which while whose will with without would write your
"""
_NO_CONTENT = frozenset(_GRAMMAR.split())


@dataclass(frozen=True)
class StoryFigures:
    """Shares, 0 to 1, over all stories together; the mean length is in words."""

    stories: int
    ended: float
    """That the model ended itself before the limit."""
    repetition: float
    """Of their runs of four words, that had come before in the same story (seq-rep-4, Welleck et al. 2020)."""
    asked_words: float
    """Of the prompts' content words, that are in the story."""
    asked_words_by_chance: float
    """The same in the story that was written for the next prompt."""
    words: float


def content_words(text: str) -> set[str]:
    """Words of four letters and more that tell what a prompt is about, lower-cased, without a plural's s."""
    words = {word.lower() for word in _WORD.findall(text)}
    return {word.removesuffix("s") for word in words if len(word) >= 4 and word not in _NO_CONTENT}


def words_of(text: str) -> set[str]:
    """All words of a text in the form of `content_words`."""
    return {word.lower().removesuffix("s") for word in _WORD.findall(text)}


def write_all(writer: Writer, asked: Iterable[tuple[str, str, GenerationConfig]]) -> Iterator[Result]:
    """A story for each (opening, title, settings), in order; the engine has enough of them for a full batch."""
    asked, running = iter(asked), deque()
    try:
        while True:
            running.extend(writer.stream(*each) for each in itertools.islice(asked, IN_LINE - len(running)))
            if not running:
                return
            for _ in running[0]:
                pass
            yield running.popleft().result
    finally:
        for stream in running:
            stream.close()


def write_for(writer: Writer, prompts: Sequence[str], config: GenerationConfig = ASKING) -> Iterator[Result]:
    """A story for each prompt, many at once; the seed is the prompt's number."""
    return write_all(writer, (("", prompt, config.replace(seed=number)) for number, prompt in enumerate(prompts)))


def judge(prompts: Sequence[str], results: Iterable[Result]) -> StoryFigures:
    """The figures of the stories that were written for the prompts, in the same order."""
    results = list(results)
    if not results:
        raise StorygenError("there is no story to judge; give at least one prompt")
    repeated, runs = (sum(counts) for counts in zip(*(repeated_share(r.story) for r in results), strict=True))
    asked = [content_words(prompt) for prompt in prompts]
    told = [words_of(result.story) for result in results]
    total = max(1, sum(map(len, asked)))
    return StoryFigures(
        stories=len(results),
        ended=sum(result.finish_reason == "end" for result in results) / len(results),
        repetition=repeated / max(1, runs),
        asked_words=sum(len(words & story) for words, story in zip(asked, told, strict=True)) / total,
        asked_words_by_chance=sum(
            len(words & story) for words, story in zip(asked, told[1:] + told[:1], strict=True)
        ) / total,
        words=sum(len(_WORD.findall(result.story)) for result in results) / len(results),
    )  # fmt: skip


def true_prompt_wins(
    model: LanguageModel, tokenizer: Tokenizer, stories: Sequence[tuple[str, str]], others: int = OTHERS, seed: int = 0
) -> Iterator[bool]:
    """For each (prompt, text): whether the text is likelier after its own prompt than after each of some others.

    Prompt ranking of Fan et al. 2018, section 4.2; the others are drawn from the prompts of the rest. Only the text's
    tokens are scored, as many as fit into the context.
    """
    prompts = sorted({prompt for prompt, _ in stories})
    if len(prompts) <= others:
        raise StorygenError(f"ranking needs more than {others} different prompts, and there are {len(prompts)}")
    draw = random.Random(seed)
    for prompt, text in stories:
        wrong = draw.sample([other for other in prompts if other != prompt], others)
        nats = _nats_of_text(model, tokenizer, [prompt, *wrong], text)
        yield bool((nats[0] < nats[1:]).all())


def _nats_of_text(model: LanguageModel, tokenizer: Tokenizer, prompts: Sequence[str], text: str) -> torch.Tensor:
    """Negative log-probability of the text after each of the prompts (prompts,)."""
    context = model.config.context_length
    heads = [tokenizer.head(tokenizer.encode(prompt)[: context // 2]) for prompt in prompts]
    body = [*tokenizer.encode(text), tokenizer.end_id][: context - max(map(len, heads))]
    return nats_of(model, [([*head, *body], len(body)) for head in heads])


@torch.inference_mode()
def nats_of(model: LanguageModel, pieces: Sequence[tuple[Sequence[int], int]]) -> torch.Tensor:
    """Negative log-probability of the last `scored` of each piece's tokens (pieces,); all are read as one batch."""
    return token_nats(model, pieces).double().sum(dim=1).cpu()
