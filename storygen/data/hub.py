"""Stories in the rows of a Hub dataset, streamed: nothing is kept on disk, and no code of the dataset is run.

Knows the `datasets` library and how its reading breaks; cleaning and splitting are for others.
"""

import contextlib
import itertools
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from storygen.config import Config, option
from storygen.data.story import ReadReport, Story
from storygen.errors import StorygenError

WAITS = (1.0, 10.0, 60.0, 120.0)
"""Seconds before each new attempt when reading breaks off; it counts anew once rows have come. The client's own five
attempts at each request (half a minute) come before every one of these.
"""
BATCH = 1000
"""Rows that are taken from the library at once."""
BOOK_ROWS = 10_000
"""Joined rows come from books whose bounds are not known: this many in a row are one source, so that few books have
passages on both sides of a train/validation split.
"""
TAGS = "WP|IP|EU|CW|TT|OT|PM|MP|RF|SP|FF|PI"
"""What kind of prompt a post of r/WritingPrompts is."""

_TAG = re.compile(rf"\s*(?:\[\s*(?:{TAGS})\s*\]\s*)+", re.IGNORECASE)
_NEWLINE = re.compile(r"[ \t]*<newline>[ \t]*")
_OPENING_QUOTE = re.compile(r"`` *")
_CLOSING_QUOTE = re.compile(r" *''")
# Each begins with the space that goes, which makes the search several times faster than looking behind it first.
_BEFORE_CONTRACTION = re.compile(r" (?=(?:n't|'(?:s|m|d|re|ve|ll))\b(?!'))(?<=\w )", re.IGNORECASE)
_IN_SLURRED_WORD = re.compile(
    r" (?:(?=na\b)(?<=\b(?:gon|wan) )|(?=ta\b)(?<=\bgot )|(?=me\b)(?<=\b(?:gim|lem) ))", re.IGNORECASE
)
_BEFORE_MARK = re.compile(r" +(?=(?:[.,;:!?]+|[)\]%])(?:[\s\"]|$))")
_AFTER_BRACKET = re.compile(r"(?<=[(\[]) +")
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class HubSource(Config):
    """A dataset on the Hub, and which of its columns make a story."""

    repo: str = option("", "The dataset's name on the Hub: user/name.")
    config: str = option("", "Which of its configurations; empty for the default one.")
    split: str = option("train", "Which of its splits.")
    revision: str = option("", "Branch, tag or commit; empty for the newest.")
    text: str = option("text", "Column with the story.")
    title: str = option("", "Column with its title, if any.")
    prompt: str = option("", "Column with the writing prompt that it answers, if any.")
    limit: int | None = option(None, "Read at most this many rows.", low=1)
    max_words: int | None = option(
        None, "Cut longer stories after this many words, as Fan et al. (2018) do after 1,000.", low=1
    )
    join: int = option(1, "This many rows in a row make one story: for datasets with a sentence a row.", low=1)
    tags: bool = option(False, "Take tags such as [ WP ] off the prompt.")
    detokenise: bool = option(False, "Undo the spaces and marks of tokenised text.")
    parts: int = option(1, "Divide the data files into so many parts, and read one of them.", low=1)
    part: int = option(0, "Which of the parts, from 0.", low=0)

    def check(self) -> None:
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", self.repo):
            self.refuse("repo", "it must be the name of a dataset, user/name")
        if not self.text:
            self.refuse("text", "it must be the name of a column")
        if self.tags and not self.prompt:
            self.refuse("tags", "that needs a prompt column")
        if self.join > 1 and (self.title or self.prompt):
            self.refuse("join", "joined rows have neither title nor prompt")
        if self.part >= self.parts:
            self.refuse("part", f"with {self.parts} parts it must be at most {self.parts - 1}")

    def stories(self, report: ReadReport) -> Iterator[Story]:
        """The stories, in the dataset's order; rows without text go to the report by their number, from 1.

        A connection that breaks is taken up again where it broke. What cannot be had is refused with a StorygenError.
        """
        held: list[str] = []
        number = 0
        for number, row in enumerate(itertools.islice(self._rows(), self.limit), 1):
            if number == 1:
                self._check_columns(row)
            text = row[self.text]
            if not isinstance(text, str) or not text.strip():
                report.skip(number, f"no text in column {self.text!r}")
                continue
            held.append(text)
            if len(held) == self.join:
                report.stories += 1
                yield self._story(" ".join(held), row, number)
                held = []
        if held:
            report.stories += 1
            yield self._story(" ".join(held), {}, number)

    def _story(self, text: str, row: dict[str, Any], number: int) -> Story:
        title, prompt = (
            value if isinstance(value := row.get(column), str) else "" for column in (self.title, self.prompt)
        )
        if self.max_words:
            text = _first_words(text, self.max_words)
        if self.tags:
            prompt = strip_tag(prompt)
        if self.detokenise:
            text, title, prompt = detokenise(text), detokenise(title), detokenise(prompt)
        # Rows are independent, but for stories that answer one prompt: they go to one side of a split, as in the paper.
        origin = prompt or (number if self.join == 1 else f"block {(number - 1) // BOOK_ROWS}")
        return Story(text, title, prompt, source=f"{self.repo}/{origin}")

    def _check_columns(self, row: dict[str, Any]) -> None:
        for name in (self.text, self.title, self.prompt):
            if name and name not in row:
                raise StorygenError(f"{self._name} has no column {name!r}; there are: {', '.join(row)}")

    def _rows(self) -> Iterator[dict[str, Any]]:
        """The rows, each exactly once, however often reading breaks off."""
        dataset = self._open()
        rows, waits, done = iter(dataset), iter(WAITS), 0
        while True:
            batch, error = _take(rows, BATCH)
            yield from batch
            done += len(batch)
            if batch:
                waits = iter(WAITS)
            if error is None:
                if not batch:
                    return
                continue
            wait = next(waits, None)
            if wait is None or _is_final(error):
                raise self._refusal(error, f"cannot be read on after row {done:,}")
            _log.warning("%s broke off after row %s; trying again in %s s", self._name, f"{done:,}", wait)
            time.sleep(wait)
            # The same commit's files from the same row on; unlike with `skip`, files that are done are not read again.
            dataset.load_state_dict(dataset.state_dict())
            rows = iter(dataset)

    def _open(self) -> Any:
        """The dataset as the library streams it; only its first data file has been looked at."""
        import datasets  # slow to import, and not needed for local files

        # With "hf://" a local folder of that name is not taken for it.
        path, config, revision = f"hf://datasets/{self.repo}", self.config or None, self.revision or None
        try:
            with _quiet():
                dataset = datasets.load_dataset(path, config, split=self.split, revision=revision, streaming=True)
        except Exception as error:  # many kinds, from four libraries
            raise self._refusal(error, "cannot be opened") from None
        if self.parts > dataset.num_shards:
            raise StorygenError(f"{self._name} has {dataset.num_shards} data files; they don't make {self.parts} parts")
        return dataset if self.parts == 1 else dataset.shard(self.parts, self.part, contiguous=False)

    def _refusal(self, error: Exception, what: str) -> StorygenError:
        """The error in one line. The library has one class for most failures, so its message must tell them apart."""
        message = " ".join(str(error).split()) or type(error).__name__
        reasons = {
            "is a gated dataset": "is gated; ask for access on its page and set HF_TOKEN",
            "Cannot access gated repo": "is gated; ask for access on its page and set HF_TOKEN",
            "doesn't exist on the Hub": "does not exist; check the name, or set HF_TOKEN if it is private",
            "Revision '": f"has no revision {self.revision!r}",
            "Couldn't reach": "cannot be reached; is there a network connection?",
            "LocalEntryNotFoundError": "cannot be reached: the network or the Hub fails; try again later",
        }
        reason = next((reason for mark, reason in reasons.items() if mark in message), f"{what}: {message[:200]}")
        return StorygenError(f"{self._name} {reason}")

    @property
    def _name(self) -> str:
        return f"Hub dataset {self.repo!r}"


DATASETS: dict[str, HubSource] = {
    "tinystories": HubSource(repo="roneneldan/TinyStories"),
    "writingprompts": HubSource(
        repo="euclaise/writingprompts", text="story", prompt="prompt", tags=True, detokenise=True
    ),
    "bookcorpus": HubSource(repo="rojagtap/bookcorpus", join=50, detokenise=True),
}
"""Datasets known by name. Their columns are as cards and public code have them, not checked on the live Hub."""


def strip_tag(prompt: str) -> str:
    """The prompt without the tags before it, `[WP]` or `[ WP ]`, and without space around it."""
    match = _TAG.match(prompt)
    return prompt[match.end() if match else 0 :].strip()


def detokenise(text: str) -> str:
    """The text without the marks of a Treebank tokeniser: `<newline>`, quotes as `` and '', spaces before punctuation
    and within contractions. Text that was not tokenised stays as it is.
    """
    text = _NEWLINE.sub("\n", text)
    text = _CLOSING_QUOTE.sub('"', _OPENING_QUOTE.sub('"', text))
    for space in (_BEFORE_CONTRACTION, _IN_SLURRED_WORD, _BEFORE_MARK, _AFTER_BRACKET):
        text = space.sub("", text)
    return text


def _first_words(text: str, count: int) -> str:
    last = next(itertools.islice(re.finditer(r"\S+", text), count - 1, None), None)
    return text[: last.end()] if last else text


def _take(rows: Iterator[dict[str, Any]], count: int) -> tuple[list[dict[str, Any]], Exception | None]:
    """The next rows, at most `count`, and the error that ended them, if one did."""
    taken: list[dict[str, Any]] = []
    try:
        with _quiet():
            for row in itertools.islice(rows, count):
                taken.append(row)  # one by one: a list made at once would lose the rows before an error
    except Exception as error:  # many kinds, from four libraries
        return taken, error
    return taken, None


def _is_final(error: Exception) -> bool:
    """Whether to try again is no use: data files that are broken or differ, or a server that refuses."""
    from datasets.exceptions import DatasetsError

    status = getattr(getattr(error, "response", None), "status_code", 500)
    return isinstance(error, ValueError | DatasetsError) or (400 <= status < 500 and status != 429)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Within the block the Hub libraries write nothing to the screen and leave it to WAITS when reading is tried again:
    by themselves they would try for ten minutes.
    """
    import datasets
    import huggingface_hub.utils

    loggers = [logging.getLogger(name) for name in ("datasets", "huggingface_hub")]
    levels = [logger.level for logger in loggers]
    bars = [library for library in (datasets.utils, huggingface_hub.utils) if not library.are_progress_bars_disabled()]
    attempts = datasets.config.STREAMING_READ_MAX_RETRIES, datasets.config.STREAMING_OPEN_MAX_RETRIES
    try:
        for logger in loggers:
            logger.setLevel(logging.CRITICAL)
        for library in bars:
            library.disable_progress_bars()
        datasets.config.STREAMING_READ_MAX_RETRIES = datasets.config.STREAMING_OPEN_MAX_RETRIES = 1
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
        for library in bars:
            library.enable_progress_bars()
        datasets.config.STREAMING_READ_MAX_RETRIES, datasets.config.STREAMING_OPEN_MAX_RETRIES = attempts
