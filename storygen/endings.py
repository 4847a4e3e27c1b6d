"""Where a story's text ends: before a stop text, or after its last whole sentence. Works on text as it streams in."""

import re
from collections.abc import Sequence

SENTENCE_END = re.compile(
    r"(?<!\bMr)(?<!\bMrs)(?<!\bMs)(?<!\bDr)(?<!\bSt)(?<!\bProf)"  # not the point of an abbreviation
    r"[.!?\u2026]+[\"'\u201d\u2019)\]]*(?=\s|\Z)",
    re.IGNORECASE,
)


class Ending:
    """Passes text on, but for what may have to be cut off; the pieces that it gives add up to the text that stays."""

    def __init__(self, stop: Sequence[str] = (), full_sentence: bool = False) -> None:
        self.stop, self.full_sentence = stop, full_sentence
        self.is_stopped = False
        """Whether a stop text was met; nothing comes after it."""
        self._held = ""
        self._given_any = False

    def push(self, piece: str) -> str:
        """Takes more text and gives what is certain to stay."""
        if self.is_stopped:
            return ""
        self._held += piece
        found = [(at + len(text), at) for text in self.stop if (at := self._held.find(text)) >= 0]
        if found:  # the one that was complete first, so that it does not matter in which pieces the text came
            self._held, self.is_stopped = self._held[: min(found)[1]], True
            certain = len(self._held)
        else:
            certain = len(self._held) - max((_overlap(self._held, text) for text in self.stop), default=0)
        if self.full_sentence:
            certain = _last_sentence_end(self._held[:certain], more_may_come=True)
        return self._give(certain)

    def finish(self, is_complete: bool) -> str:
        """The rest, once all text is there; `is_complete` if the story has come to its own end and needs no cut."""
        end = len(self._held)
        if self.full_sentence and not is_complete:
            end = _last_sentence_end(self._held, more_may_come=False)
            if not end and not self._given_any:
                end = len(self._held)  # there is no whole sentence at all, and some text is better than none
        return self._give(end)

    def _give(self, end: int) -> str:
        given, self._held = self._held[:end], self._held[end:]
        self._given_any = self._given_any or bool(given.strip())
        return given


def _overlap(text: str, stop: str) -> int:
    """How many characters at the text's end could be the beginning of the stop text."""
    longest = min(len(text), len(stop) - 1)
    return next((size for size in range(longest, 0, -1) if stop.startswith(text[-size:])), 0)


def _last_sentence_end(text: str, more_may_come: bool) -> int:
    """The place after the last sentence, 0 if there is none; one at the very end counts only if no more may come."""
    ends = [match.end() for match in SENTENCE_END.finditer(text)]
    if more_may_come and ends and ends[-1] == len(text):
        ends.pop()
    return ends[-1] if ends else 0
