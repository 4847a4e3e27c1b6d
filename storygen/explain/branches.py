"""Other ways a story could have gone: a tree whose root is the story, and each branch one token picked otherwise."""

from dataclasses import dataclass, replace

from storygen.config import MAX_ROW_TOKENS, GenerationConfig, field_of
from storygen.decoding import Token
from storygen.errors import StorygenError
from storygen.writer import Result, StoryStream, Writer

MAX_BRANCHES = 30
"""How many a tree may have: each holds a story in the server's memory."""


@dataclass(frozen=True)
class Branch:
    """A story, and where it left another one."""

    result: Result
    parent: int | None = None
    """Number of the story it left; None for the root."""
    at: int = 0
    """Number of the first token that is not its parent's."""


@dataclass(frozen=True)
class Branches:
    """The tree, and which of its stories is being read. It does not change: each step gives another one."""

    nodes: tuple[Branch, ...]
    shown: int = 0

    @classmethod
    def of(cls, result: Result) -> "Branches":
        """A tree of one story."""
        return cls((Branch(result),))

    @property
    def result(self) -> Result:
        """The story that is being read."""
        return self.nodes[self.shown].result

    @property
    def root(self) -> Result:
        """The story that all others have left."""
        return self.nodes[0].result

    def show(self, number: int) -> "Branches":
        """The same tree, read at another place; StorygenError if there is no such branch."""
        if not 0 <= number < len(self.nodes):
            raise StorygenError(f"there is no branch {number}; there are {len(self.nodes)}")
        return replace(self, shown=number)

    def children(self, number: int) -> list[int]:
        """The branches that left this story, in the order of the places where they did."""
        found = [child for child, node in enumerate(self.nodes) if node.parent == number]
        return sorted(found, key=lambda child: self.nodes[child].at)

    def owner(self, at: int) -> int:
        """The story whose own choice token `at` of the shown one would have been, had nobody picked.

        What a branch shares with its parent is the parent's; a branch that leaves there is the parent's child.
        """
        number = self.shown
        while (node := self.nodes[number]).parent is not None and at <= node.at:
            number = node.parent
        return number

    def is_picked(self, at: int) -> bool:
        """Whether token `at` of the shown story stands there because it was picked."""
        number = self.shown
        while (node := self.nodes[number]).parent is not None and at < node.at:
            number = node.parent
        return node.parent is not None and at == node.at

    def find(self, at: int, token: int) -> int | None:
        """The story that goes as the shown one up to `at` and then has this token, if there is one already."""
        owner = self.owner(at)
        for number in (owner, *self.children(owner)):
            node = self.nodes[number]
            if (number == owner or node.at == at) and node.result.tokens[at] == token:
                return number
        return None

    def grow(self, result: Result, at: int) -> "Branches":
        """The tree with one more story, which leaves the shown one at token `at`, and is shown."""
        if len(self.nodes) > MAX_BRANCHES:
            raise StorygenError(f"this story has {MAX_BRANCHES} branches already, which is all that is kept")
        return Branches((*self.nodes, Branch(result, self.owner(at), at)), len(self.nodes))


def branch_off(writer: Writer, branches: Branches, at: int, token: Token) -> StoryStream:
    """The shown story up to token `at`, `token` in its place, and on from there with the same settings and seed.

    It may have as many tokens after that one as the root was allowed in all. StorygenError if there is no room.
    """
    if len(branches.nodes) > MAX_BRANCHES:
        raise StorygenError(f"this story has {MAX_BRANCHES} branches already, which is all that is kept")
    result = branches.result
    written = [*map(Token, result.tokens[:at], result.logprobs[:at]), token]
    most = min(field_of(GenerationConfig, "max_new_tokens").metadata["high"], MAX_ROW_TOKENS // result.config.rows)
    length = min(most, len(written) + branches.root.config.max_new_tokens)
    config = result.config.replace(max_new_tokens=length)
    return writer.stream(result.opening, result.title, config, written=written)
