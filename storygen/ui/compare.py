"""The Compare tab: two stories side by side, written by nobody knows whom, and a verdict."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import gradio as gr

from storygen.arena.battle import SECONDS_TO_UNDO, Arena
from storygen.arena.match import MAX_PROMPT, Prompt, Side
from storygen.arena.personal import ENOUGH_OF_ONES_OWN
from storygen.arena.record import MODES
from storygen.arena.votes import MAX_NOTE, TAGS
from storygen.errors import StorygenError
from storygen.ui.events import QUIET, WRITING, after, warn
from storygen.ui.markdown import plain
from storygen.ui.rater import RaterWidgets, rater_of
from storygen.ui.stream import progress as place
from storygen.ui.stream import spaced
from storygen.ui.texts import fixed, say
from storygen.writer import Writer

VERDICTS = ("left", "tie", "right", "both_bad", "skip")
"""In the order of the buttons."""
CSS = """
.reveal { min-height: 3.2rem; }
.reveal p { animation: reveal 0.5s ease-out; }
@keyframes reveal { from { opacity: 0; transform: translateY(-0.4rem); } }
.verdicts button { min-height: 3rem; }
@media (min-width: 761px) {  /* so high that all of a round is on the screen */
  #left-story textarea, #right-story textarea { height: clamp(8rem, 100vh - 33.5rem, 21rem) !important; }
}
@media (max-width: 760px) {
  .verdicts { position: fixed; inset: auto 0 var(--bar) 0; z-index: 5; padding: 0.5rem; }
  .verdicts { background: var(--body-background-fill); display: grid !important; }
  .verdicts { grid-template-columns: 1fr 1fr 1fr; gap: 0.4rem; }
  .below-verdicts { padding-bottom: 7rem; }
  .verdicts button { min-width: 0 !important; padding: 0.4rem; font-size: 0.9rem; }
}
"""


def build_compare_tab(arena: Arena, rater: RaterWidgets) -> None:
    """Places the tab's widgets and wires them."""
    contestants = [str(contestant) for contestant in arena.contestants]
    with gr.Row(equal_height=True):
        prompt = gr.Textbox(
            label=fixed("prompt"),
            placeholder=fixed("compare.placeholder"),
            max_length=MAX_PROMPT,
            scale=4,
            min_width=240,
            elem_id="compare-prompt",
        )
        mode = gr.Dropdown(
            [(fixed(f"compare.mode.{name}"), name) for name in MODES],
            label=fixed("compare.mode"),
            scale=1,
            elem_id="mode",
        )
        go = gr.Button(fixed("compare.round"), variant="primary", scale=1, elem_id="round")
    with gr.Row():
        model = gr.Dropdown(list(arena.writers), label=fixed("model"), visible=False, elem_id="compare-model")
        left = gr.Dropdown(contestants, label=fixed("compare.left"), visible=False, elem_id="pick-left")
        right = gr.Dropdown(
            contestants, value=contestants[1], label=fixed("compare.right"), visible=False, elem_id="pick-right"
        )
    status = gr.Markdown(fixed("compare.begin"), elem_classes="hint", elem_id="compare-status")
    stories, reveals = [], []
    with gr.Row():
        for side in ("left", "right"):
            with gr.Column(min_width=320):
                box = gr.Textbox(
                    label=fixed(f"compare.story.{side}"), lines=11, max_lines=11, interactive=False,
                    elem_id=f"{side}-story", elem_classes="story",
                )  # fmt: skip
                stories.append(box)
                reveals.append(gr.Markdown(elem_id=f"{side}-reveal", elem_classes="reveal"))
    with gr.Row(elem_classes="verdicts"):
        buttons = [
            gr.Button(fixed(f"verdict.{name}"), interactive=False, min_width=120, elem_id=f"verdict-{name}")
            for name in VERDICTS
        ]
    with gr.Row(equal_height=True):
        tags = gr.CheckboxGroup(
            [(fixed(f"tag.{tag}"), tag) for tag in TAGS], label=fixed("compare.tags"), scale=2, elem_id="tags"
        )
        note = gr.Textbox(label=fixed("note"), max_length=MAX_NOTE, scale=2, elem_id="note")
        undo = gr.Button(fixed("compare.undo"), visible=False, scale=1, elem_id="undo")
    gr.Markdown(fixed("compare.consent"), elem_classes="hint below-verdicts")
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
        waiting = say("compare.writing_on", prompt=plain(typed)) if typed else say("compare.writing")
        status = f"{waiting} {place_of_next(arena.writers)}"
        yield show(status=status, go=gr.update(interactive=False), can_judge=False)
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
        question = say("compare.question", prompt=plain(battle.match.prompt.title))
        yield show(battle=battle.id, status=question, can_judge=True)

    def judge(verdict: str, battle: str, tags: list[str], note: str, request: gr.Request) -> tuple[Any, ...]:
        """What the page shows after a click on a verdict; a refused one leaves everything on screen."""
        try:
            session = request.session_hash or ""
            sides = arena.judge(session, battle, verdict, tags or (), note or "")
        except StorygenError as error:
            warn(error)
            return show()
        thanks = say("compare.thanks", verdict=say(f"verdict.{verdict}").lower())
        thanks += " " + progress(arena.rated(session))
        return show(reveals=map(reveal, sides), status=thanks, judged=True, can_judge=False)

    def take_back(battle: str, request: gr.Request) -> tuple[Any, ...]:
        try:
            arena.undo(request.session_hash or "", battle)
        except StorygenError as error:
            warn(error)
            return show()
        return show(status=say("compare.undone"), judged=False)

    mode.change(show_choices, mode, [model, left, right], queue=False, **QUIET)
    fought = gr.on(
        [go.click, prompt.submit],
        fight,
        [prompt, mode, model, left, right, rater.browser, battle_id],
        outputs,
        trigger_mode="once",
        **WRITING,
        **QUIET,
    )
    after(fought, lambda: gr.update(interactive=True), [], [go])

    def on_click(verdict: str) -> Callable[..., tuple[Any, ...]]:
        def click(battle: str, tags: list[str], note: str, request: gr.Request) -> tuple[Any, ...]:
            return judge(verdict, battle, tags, note, request)

        return click

    for verdict, button in zip(VERDICTS, buttons, strict=True):
        button.click(on_click(verdict), [battle_id, tags, note], outputs, **QUIET)
    undo.click(take_back, battle_id, outputs, **QUIET)
    undo_time.tick(lambda: show(judged=False), None, outputs, queue=False, **QUIET)


def place_of_next(writers: Mapping[str, Writer]) -> str:
    """How many stories come before those of a round that begins now; empty if none has to wait."""
    waiting = max((writer.engine.waiting for writer in writers.values() if isinstance(writer, Writer)), default=0)
    return place(waiting) if waiting else ""


def progress(rated: int) -> str:
    """What a rater has reached, and what comes next."""
    missing = ENOUGH_OF_ONES_OWN - rated
    if missing > 0:
        return say("rated.more", rated=rated, missing=missing)
    return say("rated.enough", rated=rated)


def reveal(side: Side) -> str:
    """Who wrote a story, as Markdown for the time after the verdict."""
    result = side.result
    speed = say("compare.speed", count=f"{result.tokens_per_second:.0f}") if result.seconds else say("compare.ahead")
    facts = (f"{say('seed')} {result.seed}", say("compare.tokens", count=len(result.tokens)), speed)
    return f"**{plain(str(side.contestant))}**  \n{' · '.join(facts)}"
