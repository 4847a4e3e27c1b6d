"""The Compare tab: two stories side by side, written by nobody knows whom, and four verdicts."""

import random
from collections.abc import Callable, Iterator
from typing import Any

import gradio as gr

from storygen.arena.battle import MAX_PROMPT, Arena, Reveal
from storygen.decoding.engine import MAX_ROWS
from storygen.errors import StorygenError
from storygen.ui.events import QUIET, warn
from storygen.ui.markdown import plain
from storygen.ui.stream import paced

SUGGESTIONS = (
    "The Lighthouse That Slept",
    "A story about a snail who wants to see the sea",
    "The King's Lost Button",
    "A bear learns to bake bread",
    "The girl who could talk to the wind",
    "Two brothers and a golden key",
    "The Very Small Dragon",
    "A kind stranger comes to the village in winter",
    "The clock that ran backwards",
    "A mouse, a lantern and a long night",
)
LABELS = {"left": "Left is better", "right": "Right is better", "tie": "Equally good", "both_bad": "Both are bad"}


def build_compare_tab(arena: Arena) -> None:
    """Places the tab's widgets and wires them."""
    gr.Markdown(
        "Two contestants, each a model with a way of decoding, write on the same prompt. You rate them blind; then "
        "they are named. Your rating and both stories are stored, without your name or address.",
        elem_classes="hint",
    )
    with gr.Row(equal_height=True):
        prompt = gr.Textbox(
            label="Title, idea or keywords",
            placeholder="Leave it empty for a suggestion",
            max_length=MAX_PROMPT,
            scale=4,
            elem_id="compare-prompt",
        )
        go = gr.Button("New round", variant="primary", scale=1, elem_id="round")
    status = gr.Markdown("Press New round to begin.", elem_classes="hint", elem_id="compare-status")
    stories, reveals = [], []
    with gr.Row():
        for side in ("left", "right"):
            with gr.Column(min_width=320):
                box = gr.Textbox(
                    label=f"Story on the {side}", lines=11, max_lines=11, interactive=False, elem_id=f"{side}-story",
                    elem_classes="story",
                )  # fmt: skip
                stories.append(box)
    with gr.Row(elem_classes="verdicts"):
        verdicts = {
            name: gr.Button(label, interactive=False, min_width=140, elem_id=f"verdict-{name}")
            for name, label in LABELS.items()
        }
    with gr.Row():
        for side in ("left", "right"):
            with gr.Column(min_width=320):
                reveals.append(gr.Markdown(elem_id=f"{side}-reveal", elem_classes="reveal"))
    battle_id = gr.State("")
    buttons = list(verdicts.values())

    def fight(typed: str, request: gr.Request) -> Iterator[tuple[Any, ...]]:
        typed = (typed or "").strip()
        title = typed or random.choice(SUGGESTIONS)
        locked = [gr.update(interactive=False)] * len(buttons)
        try:
            battle = arena.begin(request.session_hash or "", title, prompt_source="user" if typed else "suggestion")
            writing = f"Both are writing on: {plain(title)}"
            yield "", "", "", "", battle.id, writing, gr.update(interactive=False), *locked
            for left, right in paced(arena.fight(battle)):
                yield left, right, *(gr.skip() for _ in range(5 + len(buttons)))
        except StorygenError as error:
            warn(error)
            yield "", "", "", "", "", plain(str(error)), gr.skip(), *locked
            return
        ready = [gr.update(interactive=True)] * len(buttons)
        question = f"Which story on “{plain(title)}” is better?"
        yield *(gr.skip() for _ in range(5)), question, gr.skip(), *ready

    def judge(verdict: str, battle: str, request: gr.Request) -> tuple[Any, ...]:
        """What the page shows after a click on a verdict; a refused one leaves everything on screen."""
        try:
            reveal = arena.judge(request.session_hash or "", battle, verdict)
        except StorygenError as error:
            warn(error)
            return tuple(gr.skip() for _ in range(3 + len(buttons)))
        chosen = LABELS[verdict].lower()
        thanks = f"Thank you, your rating (“{chosen}”) is saved. Press New round to go on."
        return *reveal_texts(reveal), thanks, *([gr.update(interactive=False)] * len(buttons))

    round_over = go.click(
        fight,
        prompt,
        [*stories, *reveals, battle_id, status, go, *buttons],
        concurrency_id="generate",
        concurrency_limit=MAX_ROWS,
        **QUIET,
    )
    # Whatever happened, another round can be had.
    round_over.then(lambda: gr.update(interactive=True), None, go, queue=False, **QUIET)

    def on_click(verdict: str) -> Callable[..., tuple[Any, ...]]:
        def click(battle: str, request: gr.Request) -> tuple[Any, ...]:
            return judge(verdict, battle, request)

        return click

    for verdict, button in verdicts.items():
        button.click(
            on_click(verdict),
            battle_id,
            [*reveals, status, *buttons],
            **QUIET,
        )


def reveal_texts(reveal: Reveal) -> tuple[str, str]:
    """What is shown under the two stories after the verdict."""
    return (
        f"**{reveal.left}**  \nseed {reveal.left_seed}",
        f"**{reveal.right}**  \nseed {reveal.right_seed}",
    )
