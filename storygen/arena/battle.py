"""Blind battles: the server draws two contestants, holds who is who, and takes exactly one verdict.

A page knows a battle only by its id. Models, settings and seeds leave the server with the reveal, after the verdict.
"""

import hashlib
import hmac
import random
import threading
import time
import uuid
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import storygen
from storygen.arena.board import LiveBoard
from storygen.arena.contestants import Catalogue, Contestant
from storygen.arena.draw import draw_pair
from storygen.arena.ledger import Entrant
from storygen.arena.limit import Limit
from storygen.arena.match import Match, Prompt, Side, Unfit, in_step, write_match
from storygen.arena.mirrors import Mirror
from storygen.arena.personal import count_own
from storygen.arena.pool import Pool
from storygen.arena.record import MODES
from storygen.arena.suggestions import SUGGESTIONS
from storygen.arena.votes import MAX_NOTE, TAGS, VERDICTS, VoteStore
from storygen.config import unknown_name
from storygen.errors import StorygenError
from storygen.writer import Result, Writer

KEPT_BATTLES = 1000
"""Older battles without a verdict expire beyond this number,"""
SECONDS_TO_JUDGE = 3600.0
"""and after this time."""
SECONDS_TO_UNDO = 20.0
KEPT_RATERS, KEPT_FOR_REPEATS = 200, 10
"""Raters who may see a pair again, and how many of their battles are kept for that."""
ROUNDS_A_MINUTE = 20
"""Of one session."""
TRIES = 5
"""Pairs drawn for one battle until both stories are fit."""
REPEATED, ROUNDS_BEFORE_REPEAT = 0.05, 3
"""Share of rounds in which a pair is shown again, sides swapped, and how many rounds ago it was at least."""


@dataclass
class Battle:
    """A match that one session may judge."""

    session: str
    rater: str
    mode: str
    match: Match
    id: str = field(default_factory=lambda: uuid.uuid4().hex)
    begun_at: float = field(default_factory=time.monotonic)
    shown_at: float = 0.0
    is_shown: bool = False
    """Whether both stories are on the screen to their ends."""
    vote: str = ""
    """Id of the vote that was cast."""
    judged_at: float = 0.0


class Arena:
    """Draws battles, keeps them until they are judged, and records the verdicts.

    `secret` makes the ids of raters: with the same secret a rater has the same id after a restart.
    """

    def __init__(
        self,
        writers: Mapping[str, Writer],
        catalogue: Catalogue,
        store: VoteStore,
        board: LiveBoard,
        secret: bytes,
        mirrors: Sequence[Mirror] = (),
        rng: random.Random | None = None,
        suggestions: Sequence[str] = SUGGESTIONS,
    ) -> None:
        self.writers, self.catalogue, self.store, self.board = writers, catalogue, store, board
        self.mirrors = mirrors
        self.secret, self._rng = secret, rng or random.SystemRandom()
        self._battles: OrderedDict[str, Battle] = OrderedDict()  # by session: a new round ends the one before
        self._judged: OrderedDict[str, list[Battle]] = OrderedDict()  # by rater, for repeats
        self._limit = Limit(ROUNDS_A_MINUTE, "rounds")
        self._lock = threading.Lock()
        self.pool = Pool(suggestions, self._write_suggestion, self._is_idle)

    @property
    def contestants(self) -> tuple[Contestant, ...]:
        """All who compete."""
        return self.catalogue.contestants

    def start(self) -> None:
        """Begins to copy votes to the mirrors and to write matches ahead, in threads of their own."""
        for mirror in self.mirrors:
            mirror.start()
        self.pool.start()

    def status(self) -> str:
        """Where votes are kept, and how far their copies are, in one line."""
        if not self.mirrors:
            return f"{self.store.saved} saved, on this machine only"
        return "; ".join(mirror.status() for mirror in self.mirrors)

    def rater(self, identity: str) -> str:
        """The pseudonym of a person: a keyed hash, from which nobody without the secret finds the identity."""
        return hmac.new(self.secret, identity.encode(), hashlib.sha256).hexdigest()[:16]

    def begin(
        self,
        session: str,
        rater: str,
        prompt: Prompt | None = None,
        mode: str = "blind",
        chosen: Sequence[str] = (),
    ) -> Battle:
        """A new battle of two finished stories; the session's earlier one expires.

        Without a prompt it is on a suggestion. `chosen` is empty for mode `blind`, the model for `strategies`, and the
        names of two contestants for `named`. StorygenError if the session asks too often or nothing fit comes out.
        """
        if mode not in MODES:
            raise unknown_name("mode", mode, MODES)
        self._limit.take(session)
        match = self._ready_match(rater) if prompt is None and mode == "blind" else None
        if match is None:
            prompt = prompt or Prompt(self._rng.choice(self.pool.suggestions), source="suggestion")
            match = self._write(prompt, self._pairs(mode, chosen))
        battle = Battle(session, rater, mode, match)
        with self._lock:
            self._battles.pop(session, None)
            self._battles[session] = battle
            while len(self._battles) > KEPT_BATTLES:
                self._battles.popitem(last=False)
        return battle

    def show(self, battle: Battle) -> Iterator[tuple[str, str]]:
        """Both stories as they grow, in step. The battle can be judged only when this has come to its end."""
        battle.shown_at = time.monotonic()
        yield from in_step(tuple(side.text for side in battle.match.sides))
        battle.is_shown = True

    def judge(
        self, session: str, battle_id: str, verdict: str, tags: Sequence[str] = (), note: str = ""
    ) -> tuple[Side, Side]:
        """Records the one verdict of a battle and reveals its sides. StorygenError if it may not be judged (again)."""
        if verdict not in VERDICTS:
            raise unknown_name("verdict", verdict, VERDICTS)
        for tag in tags:
            if tag not in TAGS:
                raise unknown_name("tag", tag, TAGS)
        if not isinstance(note, str) or len(note) > MAX_NOTE:
            raise StorygenError(f"the note is longer than {MAX_NOTE} characters; shorten it and rate again")
        with self._lock:
            battle = self._battles.get(session)
            now = time.monotonic()
            if battle is None or battle.id != battle_id or battle.vote or now > battle.begun_at + SECONDS_TO_JUDGE:
                raise StorygenError("this round has been rated already or has expired; start a new one")
            if not battle.is_shown:
                raise StorygenError("both stories must be finished before they can be rated")
            battle.vote = "being saved"
        try:
            battle.vote = self.store.append(_record(battle, verdict, tags, note, now))["id"]
        except BaseException:
            battle.vote = ""  # it is not on disk, so it may be cast again
            raise
        battle.judged_at = now
        if verdict != "skip":
            self._remember(battle)
        return battle.match.sides

    def can_judge(self, session: str, battle_id: str) -> bool:
        """Whether a session's battle waits for its verdict."""
        battle = self._battles.get(session)
        return battle is not None and battle.id == battle_id and battle.is_shown and not battle.vote

    def rated(self, session: str) -> int:
        """How many verdicts of the rater who is at a session stand."""
        with self._lock:
            battle = self._battles.get(session)
        self.board.ledger.refresh()
        return count_own(self.board.ledger, battle.rater) if battle else 0

    def undo(self, session: str, battle_id: str) -> None:
        """Takes a verdict back. The round stays over, as its contestants are known by now."""
        with self._lock:
            battle = self._battles.get(session)
            if battle is None or battle.id != battle_id or not battle.judged_at:
                raise StorygenError("there is no rating of yours to take back")
            if time.monotonic() > battle.judged_at + SECONDS_TO_UNDO:
                raise StorygenError(f"a rating can be taken back for {SECONDS_TO_UNDO:.0f} seconds only")
            judged_at, battle.judged_at = battle.judged_at, 0.0  # nobody else takes it back meanwhile
        try:
            self.store.append({"retracts": battle.vote})
        except BaseException:
            battle.judged_at = judged_at
            raise

    def rate(self, session: str, rater: str, result: Result, stars: Mapping[str, int], note: str = "") -> None:
        """Records one to five stars for some of the four aspects (TAGS) of a single story."""
        self._limit.take(session)
        stars = {aspect: value for aspect, value in stars.items() if value is not None}
        for aspect, value in stars.items():
            if aspect not in TAGS:
                raise unknown_name("aspect", aspect, TAGS)
            if type(value) is not int or not 1 <= value <= 5:
                raise StorygenError(f"{aspect} has {value!r} stars; it must be 1 to 5")
        if not stars:
            raise StorygenError("give stars for at least one aspect")
        if not isinstance(note, str) or len(note) > MAX_NOTE:
            raise StorygenError(f"the note is longer than {MAX_NOTE} characters; shorten it and rate again")
        story = {
            "model": result.model,
            "revision": result.revision,
            "config": result.config.to_dict(),
            "seed": result.seed,
            "text": result.story,
        }
        prompt = {"title": result.title, "opening": result.opening}
        rating = {"rater": rater, "prompt": prompt, "story": story, "stars": dict(stars), "note": note}
        self.store.append({**rating, **_ABOUT})

    def _pairs(self, mode: str, chosen: Sequence[str]) -> Callable[[], tuple[Contestant, Contestant]]:
        """What draws the pairs of a mode."""
        if mode == "named":
            by_name = {str(contestant): contestant for contestant in self.contestants}
            unknown = next((name for name in chosen if name not in by_name), None)
            if unknown is not None:
                raise unknown_name("contestant", unknown, by_name)
            if len(chosen) != 2 or chosen[0] == chosen[1]:
                raise StorygenError("choose two different contestants")
            return lambda: (by_name[chosen[0]], by_name[chosen[1]])
        entrants = self.contestants
        if mode == "strategies":
            [model] = chosen or [""]
            entrants = [contestant for contestant in entrants if contestant.model == model]
            if len(entrants) < 2:
                raise unknown_name("model", model, self.writers)
        form = self.board.form()
        return lambda: draw_pair(entrants, lambda each: form.get(self._entrant(each), (0, 0.0)), self._rng)

    def _entrant(self, contestant: Contestant) -> Entrant:
        return Entrant(contestant.model, self.writers[contestant.model].revision, contestant.decoding)

    def _write(self, prompt: Prompt, draw: Callable[[], tuple[Contestant, Contestant]]) -> Match:
        for _ in range(TRIES):
            try:
                return write_match(self.writers, prompt, draw(), self.catalogue.characters)
            except Unfit:
                continue
        raise StorygenError("no two whole stories came out of this prompt; please try another, or another round")

    def _write_suggestion(self, suggestion: str) -> Match:
        self.board.latest()  # so that all pairs are drawn by what the votes say by now; here nobody waits for it
        return self._write(Prompt(suggestion, source="suggestion"), self._pairs("blind", ()))

    def _is_idle(self) -> bool:
        return not any(writer.is_busy for writer in self.writers.values())

    def _ready_match(self, rater: str) -> Match | None:
        """Two stories that need no writing: now and then some that the rater has seen, else from the pool."""
        with self._lock:
            seen = self._judged.get(rater, [])[:-ROUNDS_BEFORE_REPEAT]
            fresh = [battle for battle in seen if not battle.match.repeat_of]
            if fresh and self._rng.random() < REPEATED:
                battle = self._rng.choice(fresh)
                self._judged[rater].remove(battle)
                return battle.match.swapped(battle.id)
        return self.pool.take(rater, self._rng)

    def _remember(self, battle: Battle) -> None:
        """Keeps a judged blind battle for a repeat, the last ones of each of the last raters."""
        if battle.mode != "blind":
            return
        with self._lock:
            battles = self._judged.setdefault(battle.rater, [])
            battles.append(battle)
            del battles[:-KEPT_FOR_REPEATS]
            self._judged.move_to_end(battle.rater)
            while len(self._judged) > KEPT_RATERS:
                self._judged.popitem(last=False)


_ABOUT = {"app_version": storygen.__version__}


def _record(battle: Battle, verdict: str, tags: Sequence[str], note: str, now: float) -> dict[str, Any]:
    """The vote as docs/ratings.md describes it."""
    match = battle.match
    left, right = (side.record() for side in match.sides)
    repeat = {"repeat_of": match.repeat_of} if match.repeat_of else {}
    return {
        "battle_id": battle.id,
        "rater": battle.rater,
        "mode": battle.mode,
        "prompt": {"title": match.prompt.title, "opening": match.prompt.opening},
        "prompt_source": match.prompt.source,
        "left": left,
        "right": right,
        "verdict": verdict,
        "tags": list(dict.fromkeys(tags)),
        "note": note,
        "dwell_ms": round((now - battle.shown_at) * 1000),
        **repeat,
        **_ABOUT,
    }
