"""What the Why tab shows of a session's stories: the view of one, and the way to the next. No widgets here."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from storygen.decoding import Token
from storygen.errors import StorygenError
from storygen.explain import (
    Attention,
    Branches,
    Step,
    Word,
    branch_off,
    explain,
    look_inside,
    token_texts,
    words_of,
)
from storygen.ui.inside_html import attention_html, memory_html
from storygen.ui.stream import growing
from storygen.ui.texts import say
from storygen.ui.why_html import step_html, story_html, token_name, writing_html
from storygen.writer import Result, Writer


@dataclass(frozen=True)
class View:
    """A session's tree of stories, and what is known of the one that is shown."""

    branches: Branches
    steps: tuple[Step, ...]
    words: tuple[Word, ...]
    texts: tuple[tuple[str, ...], ...]
    """The texts of the tokens of each story in the tree."""
    selected: int | None = None
    """The token that is explained."""

    @property
    def result(self) -> Result:
        """The story that is shown."""
        return self.branches.result

    def word_of(self, token: int) -> Word:
        """The word that a token is part of."""
        return next(word for word in self.words if word.first <= token < word.end)


def hint_html() -> str:
    """What stands in a word's place before one is chosen."""
    return f'<div class="why-hint"><p class="why-note">{say("why.hint")}</p></div>'


def view_of(writer: Writer, branches: Branches, selected: int | None = None) -> View:
    """What there is to show of the shown story; a forward pass of the model."""
    result = branches.result
    texts = tuple(tuple(token_texts(writer.tokenizer, node.result.tokens)) for node in branches.nodes)
    words = tuple(words_of(writer.tokenizer, result.tokens))
    return View(branches, explain(writer, result), words, texts, selected)


def pick(writer: Writer, view: View, token: int) -> Iterator[tuple[str, View | None]]:
    """The branch on which `token` stands in the selected token's place: the story's HTML a few times a second, and at
    the end the view of it. One that is there already is not written again.
    """
    at = view.selected
    choice = next((each for each in view.steps[at].choices if each.id == token), None) if at is not None else None
    if choice is None:
        raise StorygenError("this token is not among the alternatives of the word that is explained")
    number = view.branches.find(at, token)
    if number is None:
        stream = branch_off(writer, view.branches, at, Token(token, math.log(max(choice.before, 1e-45))))
        before = "".join(view.texts[view.branches.shown][:at])
        for text in growing(stream):
            rest = text[len(before) + len(choice.text) :]
            yield writing_html(view.result.opening, before, choice.text, rest, stream.ahead), None
        branches = view.branches.grow(stream.result, at)
    else:
        branches = view.branches.show(number)
    yield "", view_of(writer, branches, at)


def shown_story(writer: Writer, view: View) -> str:
    """The story as words to click."""
    result = view.result
    return story_html(result.opening, view.words, view.steps, len(result.text), view.selected, writer.tokenizer.end_id)


def shown_step(writer: Writer, view: View) -> str:
    """All about the selected token."""
    if view.selected is None:
        return hint_html()
    at, texts = view.selected, view.texts[view.branches.shown]
    is_picked = view.branches.is_picked(at)
    return step_html(writer.tokenizer, view.result.config, view.word_of(at), view.steps, texts, at, is_picked)


def shown_inside(writer: Writer, view: View, layer: int, head: int) -> str:
    """What the model had before it at the selected token; layer and head count from 1, 0 is the mean of all."""
    if view.selected is None:
        return hint_html()
    at = view.selected
    name = token_name(writer.tokenizer, view.result.tokens[at], view.texts[view.branches.shown][at])
    seen = look_inside(writer, view.result, at)
    if isinstance(seen, Attention):
        layers, heads = seen.weights.shape[:2]
        chosen = (layer - 1 if 0 < layer <= layers else None, head - 1 if 0 < head <= heads else None)
        return attention_html(writer.tokenizer, seen, *chosen, name)
    return memory_html(writer.tokenizer, seen, name)
