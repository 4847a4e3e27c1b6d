"""The Compare tab: two stories side by side, written by nobody knows whom, and a verdict."""

from collections.abc import Callable, Iterable, Iterator
from typing import Any

import gradio as gr

from storygen.arena.battle import SECONDS_TO_UNDO, Arena
from storygen.arena.match import MAX_PROMPT, Prompt, Side
from storygen.arena.personal import ENOUGH_OF_ONES_OWN
from storygen.arena.votes import MAX_NOTE, TAGS
from storygen.decoding.engine import MAX_ROWS
from storygen.errors import StorygenError
from storygen.ui.events import QUIET, warn
from storygen.ui.markdown import plain
from storygen.ui.rater import RaterWidgets, rater_of
from storygen.ui.stream import spaced

VERDICT_LABELS = {
    "left": "Left is better",
    "tie": "Equally good",
    "right": "Right is better",
    "both_bad": "Both are bad",
    "skip": "Skip",
}
TAG_LABELS = {"grammar": "Grammar", "sense": "Makes sense", "creative": "Creative", "prompt": "Fits the prompt"}
MODE_LABELS = {"blind": "Any two, blind", "strategies": "One model, two strategies", "named": "Pick both"}
CSS = """
.reveal { min-height: 3.2rem; }
.reveal p { animation: reveal 0.5s ease-out; }
@keyframes reveal { from { opacity: 0; transform: translateY(-0.4rem); } }
.verdicts button { min-height: 3rem; }
@media (max-width: 760px) {
  .verdicts { position: fixed; inset: auto 0 0 0; z-index: 5; padding: 0.5rem; }
  .verdicts { background: var(--body-background-fill); display: grid !important; }
  .verdicts { grid-template-columns: 1fr 1fr 1fr; gap: 0.4rem; }
  .below-verdicts { padding-bottom: 7rem; }
  .verdicts button { min-width: 0 !important; padding: 0.4rem; font-size: 0.9rem; }
}
"""
CONSENT = (
    "Two contestants, each a model with a way of decoding, write on the same prompt; you rate them blind, then they "
    "are named. Your verdict is stored with the prompt and both stories and may be published, under a random name and "
    "without your address. Keys: 1 left, 2 equal, 3 right, 4 both bad, S skip, N new round, U undo."
)


def build_compare_tab(arena: Arena, rater: RaterWidgets) -> None:
    """Places the tab's widgets and wires them."""
    contestants = [str(contestant) for contestant in arena.contestants]
    with gr.Row(equal_height=True):
        prompt = gr.Textbox(
            label="Title, idea or keywords",
            placeholder="Leave it empty for a suggestion",
            max_length=MAX_PROMPT,
            scale=4,
            min_width=240,
            elem_id="compare-prompt",
        )
        mode = gr.Dropdown([(label, name) for name, label in MODE_LABELS.items()], label="Who", scale=1, elem_id="mode")
        go = gr.Button("New round", variant="primary", scale=1, elem_id="round")
    with gr.Row():
        model = gr.Dropdown(list(arena.writers), label="Model", visible=False, elem_id="compare-model")
        left = gr.Dropdown(contestants, label="Left", visible=False, elem_id="pick-left")
        right = gr.Dropdown(contestants, value=contestants[1], label="Right", visible=False, elem_id="pick-right")
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
                reveals.append(gr.Markdown(elem_id=f"{side}-reveal", elem_classes="reveal"))
    with gr.Row(elem_classes="verdicts"):
        buttons = [
            gr.Button(label, interactive=False, min_width=120, elem_id=f"verdict-{name}")
            for name, label in VERDICT_LABELS.items()
        ]
    with gr.Row(equal_height=True):
        tags = gr.CheckboxGroup(
            [(TAG_LABELS[tag], tag) for tag in TAGS], label="What decided it? (optional)", scale=2, elem_id="tags"
        )
        note = gr.Textbox(label="A word to that (optional)", max_length=MAX_NOTE, scale=2, elem_id="note")
        undo = gr.Button("Take it back", visible=False, scale=1, elem_id="undo")
    gr.Markdown(CONSENT, elem_classes="hint below-verdicts")
    battle_id = gr.State("")
    undo_time = gr.Timer(SECONDS_TO_UNDO, active=False)

    outputs = [*stories, *reveals, battle_id, status, go, undo, undo_time, tags, note, *buttons]

    def show(
        texts: Iterable[str] | None = None,
        reveals: Iterable[str] | None = None,
        judged: bool | None = None,
        can_judge: bool | None = None,
        **values: Any,
    ) -> tuple[Any, ...]:
        """An update of `outputs` in which all that is not given stays: `judged` offers the way back for its time."""
        undoing = (gr.skip(), gr.skip()) if judged is None else (gr.update(visible=judged), gr.Timer(active=judged))
        kept = gr.skip()
        return (
            *(texts or (kept, kept)),
            *(reveals or (kept, kept)),
            *(values.get(name, kept) for name in ("battle", "status", "go")),
            *undoing,
            *(values.get(name, kept) for name in ("tags", "note")),
            *[kept if can_judge is None else gr.update(interactive=can_judge)] * len(buttons),
        )

    def show_choices(chosen: str) -> list[Any]:
        wanted = [chosen == "strategies", chosen == "named", chosen == "named"]
        return [gr.update(visible=is_wanted) for is_wanted in wanted]

    def fight(
        typed: str,
        mode: str,
        model: str,
        left: str,
        right: str,
        kept: str,
        open_battle: str,
        profile: gr.OAuthProfile | None,
        request: gr.Request,
    ) -> Iterator[tuple[Any, ...]]:
        """What the page shows of a new round. The round before it stays on screen until the new one has begun."""
        session = request.session_hash or ""
        typed, chosen = (typed or "").strip(), {"strategies": (model,), "named": (left, right)}.get(mode, ())
        waiting = f"Both are writing on: {plain(typed)}" if typed else "Both are writing ..."
        yield show(status=waiting, go=gr.update(interactive=False), can_judge=False)
        try:
            person = rater_of(arena, kept, profile, request)
            battle = arena.begin(session, person, Prompt(typed) if typed else None, mode, chosen)
        except StorygenError as error:
            warn(error)
            yield show(status=plain(str(error)), can_judge=arena.can_judge(session, open_battle))
            return
        yield show(texts=("", ""), reveals=("", ""), battle="", judged=False, tags=[], note="")
        for texts in spaced(arena.show(battle)):
            yield show(texts=texts)
        question = f"Which story on “{plain(battle.match.prompt.title)}” is better?"
        yield show(battle=battle.id, status=question, can_judge=True)

    def judge(verdict: str, battle: str, tags: list[str], note: str, request: gr.Request) -> tuple[Any, ...]:
        """What the page shows after a click on a verdict; a refused one leaves everything on screen."""
        try:
            session = request.session_hash or ""
            sides = arena.judge(session, battle, verdict, tags or (), note or "")
        except StorygenError as error:
            warn(error)
            return show()
        thanks = f"Thank you, “{VERDICT_LABELS[verdict].lower()}” is saved. {progress(arena.rated(session))}"
        return show(reveals=map(reveal, sides), status=thanks, judged=True, can_judge=False)

    def take_back(battle: str, request: gr.Request) -> tuple[Any, ...]:
        try:
            arena.undo(request.session_hash or "", battle)
        except StorygenError as error:
            warn(error)
            return show()
        return show(status="Your rating is taken back and does not count. Press New round to go on.", judged=False)

    mode.change(show_choices, mode, [model, left, right], queue=False, **QUIET)
    gr.on(
        [go.click, prompt.submit],
        fight,
        [prompt, mode, model, left, right, rater.browser, battle_id],
        outputs,
        concurrency_id="generate",
        concurrency_limit=MAX_ROWS,
        trigger_mode="once",
        **QUIET,
    ).then(lambda: gr.update(interactive=True), None, go, queue=False, **QUIET)  # whatever happened

    def on_click(verdict: str) -> Callable[..., tuple[Any, ...]]:
        def click(battle: str, tags: list[str], note: str, request: gr.Request) -> tuple[Any, ...]:
            return judge(verdict, battle, tags, note, request)

        return click

    for verdict, button in zip(VERDICT_LABELS, buttons, strict=True):
        button.click(on_click(verdict), [battle_id, tags, note], outputs, **QUIET)
    undo.click(take_back, battle_id, outputs, **QUIET)
    undo_time.tick(lambda: show(judged=False), None, outputs, queue=False, **QUIET)


def progress(rated: int) -> str:
    """What a rater has reached, and what comes next."""
    missing = ENOUGH_OF_ONES_OWN - rated
    if missing > 0:
        return f"{rated} rated; {missing} more unlock your own ranking."
    return f"{rated} rated; your own ranking is on the Leaderboard tab."


def reveal(side: Side) -> str:
    """Who wrote a story, as Markdown for the time after the verdict."""
    result = side.result
    speed = f"{result.tokens_per_second:.0f} tokens a second" if result.seconds else "written ahead"
    return f"**{plain(str(side.contestant))}**  \nseed {result.seed} · {len(result.tokens)} tokens · {speed}"
