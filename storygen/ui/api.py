"""The page's own API for programs: one typed endpoint, for gradio_client and, where it is switched on, for MCP."""

from collections.abc import Iterator, Mapping

import gradio as gr

from storygen.arena.limit import Limit
from storygen.config import MAX_OPENING, MAX_TITLE, GenerationConfig, unknown_name
from storygen.errors import StorygenError
from storygen.ui.events import WRITING
from storygen.ui.stream import growing
from storygen.writer import Writer

DEFAULTS = GenerationConfig()
STORIES_A_MINUTE = 30
"""That one address may ask for here, whatever limits the server has for its other API."""


def build_api(writers: Mapping[str, Writer]) -> None:
    """Adds the endpoint /generate_story to the page that is being built."""
    limit = Limit(STORIES_A_MINUTE, "stories")

    def generate_story(
        title: str = "",
        opening: str = "",
        model: str = "",
        strategy: str = DEFAULTS.strategy,
        temperature: float = DEFAULTS.temperature,
        top_k: int = DEFAULTS.top_k,
        top_p: float = DEFAULTS.top_p,
        num_beams: int = DEFAULTS.num_beams,
        max_new_tokens: int = DEFAULTS.max_new_tokens,
        seed: int | None = None,
        request: gr.Request = None,
    ) -> Iterator[str]:
        """Writes a short story on a title, an idea or keywords, or on from an opening; both may be empty.

        Args:
            title: A title, an idea or a few keywords.
            opening: The first words of the story, which it goes on from.
            model: Name of the model; empty for the first one.
            strategy: greedy, sample, top_k, top_p, top_k_top_p, min_p, typical, beam, diverse_beam or best_of_n.
            temperature: Low is cautious, high is wild, 0 is greedy.
            top_k: Draw from this many of the likeliest tokens (strategies top_k and top_k_top_p).
            top_p: Draw from the fewest tokens of this probability (strategies top_p and top_k_top_p).
            num_beams: Stories that a beam search follows at once.
            max_new_tokens: Longest continuation; a token is about four letters.
            seed: The same one gives the same story again; empty draws one.
            request: Who asks, as Gradio tells it; not a field of the endpoint.

        Returns:
            The story, its opening included, as far as it is written.

        """
        try:
            limit.take(request.client.host if request and request.client else "")
            for name, text, most in (("title", title, MAX_TITLE), ("opening", opening, MAX_OPENING)):
                if len(text) > most:
                    raise StorygenError(f"the {name} has {len(text):,} characters; at most {most:,} are allowed")
            if model and model not in writers:
                raise unknown_name("model", model, writers)
            writer = writers[model or next(iter(writers))]
            config = GenerationConfig(
                strategy=strategy, temperature=temperature, top_k=top_k, top_p=top_p, num_beams=num_beams,
                max_new_tokens=max_new_tokens, seed=seed,
            )  # fmt: skip
            stream = writer.stream(opening, title, config)
            yield from growing(stream, stream.opening)
        except StorygenError as error:
            raise gr.Error(str(error), print_exception=False) from None

    generate_story.__annotations__["return"] = str  # what a client gets each time; Gradio knows nothing of iterators
    gr.api(generate_story, **WRITING)
