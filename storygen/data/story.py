"""A story as text, and the record of what could not be read."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Story:
    """One story, as text, with what is known of it."""

    text: str
    title: str = ""
    prompt: str = ""
    source: str = ""
    """Stories of one source (a book, a site) go to the same side of a train/validation split."""


@dataclass
class ReadReport:
    """What was read of one file, and which lines could not be used."""

    file: str
    stories: int = 0
    skipped: int = 0
    """Lines that could not be used."""
    repaired: int = 0
    """Lines that were not UTF-8."""
    empty: int = 0
    """Stories of which cleaning left nothing."""
    examples: list[str] = field(default_factory=list)
    """The first few skipped or repaired places, as `file:line: reason`."""

    def skip(self, line: int, reason: str) -> None:
        """Counts a line that could not be used; line 0 is the file as a whole."""
        self.skipped += 1
        self._remember(line, reason)

    def repair(self, line: int, reason: str) -> None:
        """Counts a line that was used after a repair."""
        self.repaired += 1
        self._remember(line, reason)

    def _remember(self, line: int, reason: str) -> None:
        if len(self.examples) < 5:
            self.examples.append(f"{self.file}:{line}: {reason}" if line else f"{self.file}: {reason}")
