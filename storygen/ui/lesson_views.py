"""What the How-it-works tab shows, from what is chosen there to HTML.

All of it is computed in the thread that steps the models, between two steps of the stories being written, so that
nothing runs a model at the same time as the engine.
"""

import html
import secrets
from collections.abc import Mapping, Sequence
from functools import cached_property

from storygen.config import STRATEGIES, GenerationConfig
from storygen.decoding.stepper import STEPPER
from storygen.lesson import record
from storygen.lesson.attention import attention_maps
from storygen.lesson.embedding import ENOUGH, families, flat_map, neighbours, word_tokens
from storygen.lesson.next_word import SAMPLED, draw_token, next_logprobs, next_word
from storygen.lesson.tokens import cut, label, tokenizers_of
from storygen.models import LSTM, Transformer
from storygen.tokenizers import Tokenizer, well_formed
from storygen.ui import charts, lesson_charts
from storygen.ui.texts import number, say
from storygen.writer import Writer

MAX_TEXT = 300
"""Characters of the text that is taken apart."""
NEIGHBOURS, CANDIDATES, LOOKING = 10, 15, 24
"""How many neighbours, next tokens and tokens of an attention map are shown."""
SLIDERS = tuple(dict.fromkeys(name for strategy in SAMPLED for name in STRATEGIES[strategy]))
"""Every setting that changes which token is drawn."""


class Lesson:
    """The views of the loaded models."""

    def __init__(self, writers: Mapping[str, Writer]) -> None:
        self.writers = writers

    @cached_property
    def _tokenizers(self) -> list[tuple[Tokenizer, tuple[str, ...]]]:
        return tokenizers_of(self.writers)

    def tokens(self, text: str) -> str:
        """The text as each tokenizer cuts it."""
        text = (text or "")[:MAX_TEXT]
        return STEPPER.run(
            lambda: lesson_charts.token_cards([cut(text, tokenizer, models) for tokenizer, models in self._tokenizers])
        )

    def neighbours(self, model: str, word: str) -> str:
        """The tokens nearest to a word's."""
        writer, word = self.writers[model], well_formed(word or "").strip()[:MAX_TEXT]

        def compute() -> str:
            tokenizer = writer.tokenizer
            found = word_tokens(tokenizer, word)
            if not found:
                return f'<p class="hint">{say("how.no_word" if word else "how.type_a_word")}</p>'
            token = max(found, key=lambda each: len(tokenizer.token_bytes[each]))
            name = label(tokenizer, token)
            pieces = " · ".join(label(tokenizer, each) for each in found)
            note = say("how.in_pieces", word=word, pieces=pieces, longest=name) if len(found) > 1 else ""
            rows = neighbours(writer.model.embedding.weight, token, NEIGHBOURS)
            return lesson_charts.neighbour_bars(name, [(label(tokenizer, each), near) for each, near in rows], note)

        return STEPPER.run(compute)

    def word_map(self, model: str) -> str:
        """A few families of words on a flat map."""
        writer = self.writers[model]

        def compute() -> str:
            groups = families(writer.tokenizer)
            tokens = [token for words in groups.values() for token in words.values()]
            if len(tokens) < ENOUGH:
                return f'<p class="hint">{say("how.map.none")}</p>'
            flat, share = flat_map(writer.model.embedding.weight[tokens])
            low, high = flat.amin(dim=0), flat.amax(dim=0)
            start, size = flat.new_tensor([0.1, 0.25]), flat.new_tensor([0.8, 0.7])  # below there is room to give way
            places = iter((start + size * (flat - low) / (high - low).clamp(min=1e-9)).tolist())
            named = {name: {word: tuple(next(places)) for word in words} for name, words in groups.items()}
            return lesson_charts.word_map(named, say("how.map.says", share=f"{share:.0%}"))

        return STEPPER.run(compute)

    def heads(self, model: str) -> tuple[int, int]:
        """How many layers with attention the model has, and how many heads in each; (0, 0) for an LSTM."""
        config = self.writers[model].model.config
        return (config.num_layers, config.num_heads) if self.has_attention(model) else (0, 0)

    def has_attention(self, model: str) -> bool:
        """Whether it is a Transformer."""
        return isinstance(self.writers[model].model, Transformer)

    def attention(self, model: str, text: str, layer: int | None, head: int | None) -> str:
        """Where the tokens look in one head; layers and heads are counted from 1."""
        writer = self.writers[model]
        if isinstance(writer.model, LSTM):
            config = writer.model.config
            numbers = 2 * config.num_layers * config.hidden_size  # hidden state and cell
            return f'<p class="says">{say("how.attention.none", name=html.escape(model), numbers=number(numbers))}</p>'
        layers, heads = self.heads(model)
        layer, head = min(layer or 1, layers), min(head or 1, heads)  # of a model that was chosen before

        def compute() -> str:
            tokens = self._read(writer, text)
            maps = attention_maps(writer.model, tokens)
            weights = maps[layer - 1, head - 1, -LOOKING:, -LOOKING:].tolist()
            labels = [label(writer.tokenizer, token) for token in tokens[-LOOKING:]]
            title = say("how.attention.title", layer=layer, head=head)
            return lesson_charts.attention_map(labels, weights, title, cut=len(tokens) > LOOKING)

        return STEPPER.run(compute)

    def choice(self, model: str, text: str, strategy: str, *values: float) -> str:
        """The next token's probabilities before and after the strategy; values are those of SLIDERS."""
        writer, config = self.writers[model], _config(strategy, values)

        def compute() -> str:
            word = next_word(next_logprobs(writer.model, self._read(writer, text)), config, CANDIDATES)
            return lesson_charts.next_word_bars(word, [label(writer.tokenizer, c.token) for c in word.candidates])

        return STEPPER.run(compute)

    def draw(self, model: str, text: str, strategy: str, *values: float) -> tuple[str, str]:
        """The text with one more token, drawn as the sliders say, and a sentence (HTML) that tells which."""
        writer, config = self.writers[model], _config(strategy, values)
        text = self._opening(writer, well_formed(text or ""))
        seed = secrets.randbelow(2**31)
        token = STEPPER.run(lambda: draw_token(next_logprobs(writer.model, self._read(writer, text)), config, seed))
        name, grown = label(writer.tokenizer, token), text + writer.tokenizer.decode([token])
        if token == writer.tokenizer.end_id:
            return text, say("how.drew.end")
        if len(grown) > MAX_TEXT:
            return text, say("how.long_enough")
        return grown, say("how.drew", label=html.escape(name))

    def learning(self) -> str:
        """The training curves of the models that have one."""
        curves = {name: record.curve_of(writer.artifact.training) for name, writer in self.writers.items()}
        curves = {name: curve for name, curve in curves.items() if curve}
        tokens = say("how.learning.tokens")
        valid = charts.lines(
            {name: curve.valid for name, curve in curves.items()},
            say("how.learning.valid"),
            tokens,
            say("how.learning.bits"),
        )
        loss = charts.lines(
            {name: curve.loss for name, curve in curves.items()},
            say("how.learning.loss"),
            tokens,
            say("how.learning.nats"),
        )
        return valid + loss or f'<p class="hint">{say("how.learning.none")}</p>'

    def figures(self) -> str:
        """How the models were made and what was measured of them, with the method."""
        training = {name: writer.artifact.training for name, writer in self.writers.items()}
        made = {name: record.making(writer.model, training[name]) for name, writer in self.writers.items()}
        measured = {name: record.measured(values) for name, values in training.items()}
        return (
            lesson_charts.model_table(made, say("how.figures.made"))
            + (
                lesson_charts.model_table(measured, say("how.figures.measured"))
                or f'<p class="hint">{say("how.figures.none")}</p>'
            )
            + lesson_charts.method_list({name: record.methods(values) for name, values in training.items()})
        )

    def reading(self) -> str:
        """What the models read, and what they can't do."""
        return lesson_charts.reading_list(
            {name: record.text_read(writer.artifact.training) for name, writer in self.writers.items()}
        )

    def _read(self, writer: Writer, text: str) -> list[int]:
        """The tokens that the model reads for an opening: the mark of the story's beginning, then the text's."""
        return writer.prompt_tokens(self._opening(writer, (text or "")[:MAX_TEXT]), "")[0]

    @staticmethod
    def _opening(writer: Writer, text: str) -> str:
        """The text without a space at its end if the model's words bring their own."""
        return text if writer.tokenizer.kind == "char" else text.rstrip(" ")


def _config(strategy: str, values: Sequence[float]) -> GenerationConfig:
    return GenerationConfig(strategy=strategy, **dict(zip(SLIDERS, values, strict=True)))
