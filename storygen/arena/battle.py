"""Blind battles: the server draws two contestants, holds who is who, and takes exactly one verdict.

A page knows a battle only by its id. Models, settings and seeds leave the server with the reveal, after the verdict.
"""

import hashlib
import itertools
import random
import secrets
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import storygen
from storygen.arena.votes import VERDICTS, VoteStore
from storygen.config import GenerationConfig, unknown_name
from storygen.errors import StorygenError
from storygen.writer import Result, Writer

KEPT_BATTLES = 1000
"""Older battles without a verdict expire beyond this number."""
MAX_PROMPT = 500
"""Characters of a title or an opening."""
COMPETING = (
    GenerationConfig(strategy="top_p", temperature=0.8, top_p=0.95),
    GenerationConfig(strategy="top_k", temperature=0.8, top_k=40),
    GenerationConfig(strategy="sample", temperature=1.0),
    GenerationConfig(strategy="greedy"),
    GenerationConfig(strategy="beam", num_beams=4),
)
"""The ways of decoding that compete, each with every model. The length is the battle's, the same for both sides."""


@dataclass(frozen=True)
class Contestant:
    """A model and how it is decoded."""

    model: str
    config: GenerationConfig

    def __str__(self) -> str:
        settings = ", ".join(f"{name.replace('_', ' ')} {getattr(self.config, name)}" for name in self.config.settings)
        return f"{self.model}, {self.config.strategy.replace('_', ' ')}" + (f" ({settings})" if settings else "")


@dataclass
class Battle:
    """Two contestants on one prompt."""

    session: str
    title: str
    opening: str
    prompt_source: str
    sides: tuple[Contestant, Contestant]
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    results: tuple[Result, Result] | None = None
    finished_at: float = 0.0


@dataclass(frozen=True)
class Reveal:
    """Who wrote which story, told after the verdict."""

    left: Contestant
    right: Contestant
    left_seed: int
    right_seed: int


class Arena:
    """Draws battles, keeps them until they are judged, and records the verdicts."""

    def __init__(
        self,
        writers: Mapping[str, Writer],
        store: VoteStore,
        max_new_tokens: int = 200,
        draw: random.Random | None = None,
    ) -> None:
        self.writers, self.store = writers, store
        self.contestants = [
            Contestant(model, config.replace(max_new_tokens=max_new_tokens))
            for model in writers
            for config in COMPETING
        ]
        self._draw = draw or random.SystemRandom()
        self._salt = secrets.token_bytes(16)
        self._battles: OrderedDict[str, Battle] = OrderedDict()  # by session: a new round ends the one before
        self._lock = threading.Lock()

    def begin(self, session: str, title: str = "", opening: str = "", prompt_source: str = "user") -> Battle:
        """A new battle between two different contestants, in random order; the session's earlier one expires."""
        for name, text in (("title", title), ("opening", opening)):
            if len(text) > MAX_PROMPT:
                raise StorygenError(f"the {name} has {len(text):,} characters; at most {MAX_PROMPT} are allowed")
        battle = Battle(session, title, opening, prompt_source, tuple(self._draw.sample(self.contestants, 2)))
        with self._lock:
            self._battles.pop(session, None)
            self._battles[session] = battle
            while len(self._battles) > KEPT_BATTLES:
                self._battles.popitem(last=False)
        return battle

    def fight(self, battle: Battle) -> Iterator[tuple[str, str]]:
        """Both stories as they grow, token by token in step, so that the pace does not tell the models apart.

        The battle can be judged only when this has come to its end with two stories.
        """
        streams = [self.writers[side.model].stream(battle.opening, battle.title, side.config) for side in battle.sides]
        texts = [stream.opening for stream in streams]
        try:
            for pieces in in_step(streams):
                texts = [text + piece for text, piece in zip(texts, pieces, strict=True)]
                yield texts[0], texts[1]
        finally:
            for stream in streams:
                stream.close()
        results = (streams[0].result, streams[1].result)
        if not all(result.text.strip() for result in results):
            raise StorygenError("one of the two stories came out empty; please start another round")
        battle.results, battle.finished_at = results, time.monotonic()

    def judge(self, session: str, battle_id: str, verdict: str) -> Reveal:
        """Records the one verdict of a battle and reveals it. StorygenError if it may not be judged (again)."""
        if verdict not in VERDICTS:
            raise unknown_name("verdict", verdict, VERDICTS)
        with self._lock:
            battle = self._battles.get(session)
            if battle is None or battle.id != battle_id:
                raise StorygenError("this round has been rated already or has expired; start a new one")
            if battle.results is None:
                raise StorygenError("both stories must be finished before they can be rated")
            del self._battles[session]
        try:
            self.store.append(self._record(battle, verdict))
        except StorygenError:
            with self._lock:
                self._battles.setdefault(session, battle)  # it is not on disk, so it may be cast again
            raise
        return Reveal(*battle.sides, *(result.seed for result in battle.results))

    def _record(self, battle: Battle, verdict: str) -> dict[str, Any]:
        left, right = (_side(result) for result in battle.results)
        return {
            "battle_id": battle.id,
            "rater": hashlib.sha256(self._salt + battle.session.encode()).hexdigest()[:16],
            "prompt": {"title": battle.title, "opening": battle.opening},
            "prompt_source": battle.prompt_source,
            "left": left,
            "right": right,
            "verdict": verdict,
            "tags": [],
            "note": "",
            "dwell_ms": round((time.monotonic() - battle.finished_at) * 1000),
            "app_version": storygen.__version__,
        }


def in_step(streams: Iterable[Iterator[str]]) -> Iterator[tuple[str, ...]]:
    """The next piece of text of every stream, "" for one that has ended, until all have.

    Empty pieces are passed over: a beam search that is shown waiting while the other side writes would be known by it.
    """
    texts = [(piece for piece in stream if piece) for stream in streams]
    return itertools.zip_longest(*texts, fillvalue="")


def _side(result: Result) -> dict[str, Any]:
    """One side of a vote, complete enough to be written again."""
    return {
        "model": result.model,
        "revision": result.revision,
        "config": result.config.to_dict(),
        "seed": result.seed,
        "text": result.text,
        "logprob": sum(result.logprobs),
        "bytes": len(result.text.encode()),
        "finish_reason": result.finish_reason,
    }
