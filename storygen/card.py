"""The model card of an artifact, written from its training.json."""

import re
from typing import Any

from storygen.errors import StorygenError
from storygen.evaluation.tables import card as measured
from storygen.tuning.lineage import LINEAGE, told

CARD = """\
---
license: apache-2.0
language: en
library_name: storygen
pipeline_tag: text-generation
tags: [storygen, from-scratch, stories, {architecture}]
---

# {name}

{what} It was written and trained from scratch by the storygen project; no pretrained weights went into it.

In a copy of the storygen project, with its `requirements.txt` installed:

    import storygen
    writer = storygen.load("{name}")  # the path of this folder
    print(writer.generate("Once upon a time", title="The Fox and the Moon").story)

## What it can't do

It writes short, simple tales in English and nothing else. It knows no facts, follows a title or a prompt loosely,
forgets who is who after a paragraph or two, and often loses the thread of a longer story. What was dated, violent or
sad in the text that it read can come up in what it writes: it is not fit for children without somebody beside them, and
nothing that it says should be relied on.

## Training

{training}

Text: {corpus}

A story reaches the model as `<|prompt|>` title, prompt or keywords `<|story|>` text `<|end|>`; which of
them, if any, is drawn at random. The recipe is in `training.json`.

## Measured

<!-- evaluation: card -->
{metrics}
<!-- /evaluation -->

## Samples

Unedited, with the settings that repeat them.

{samples}
"""

LOADING = re.compile(r"storygen\.load\(.*")
"""The line of the card that says how the model is loaded."""


def build_card(name: str, training: dict[str, Any], corpus: str, samples: list[dict[str, Any]]) -> str:
    """The Markdown of README.md. `corpus` says in a sentence or two what the training text is and who has rights in it.

    `training` is the content of training.json; StorygenError when a figure is missing from it.
    """
    try:
        return _card(name, training, corpus, samples)
    except (KeyError, TypeError, ValueError) as error:
        raise StorygenError(f"training.json of {name} lacks {error}, which the model card tells") from None


def card_for_hub(card: str, repo: str, tag: str | None) -> str:
    """A folder's card for a Hub repository, from which the model is loaded by name, and by tag if it has one."""
    pin = f', revision="{tag}")' if tag else ')  # revision="..." pins a commit'
    return LOADING.sub(lambda _: f'storygen.load("{repo}"{pin}', card, count=1)


def _card(name: str, training: dict[str, Any], corpus: str, samples: list[dict[str, Any]]) -> str:
    model, settings = training["recipe"]["model"], training["recipe"]["train"]
    shape = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in model.items() if key != "architecture")
    kind = {"transformer": "a decoder-only Transformer", "lstm": "an LSTM"}[model["architecture"]]
    tokenizer = training["corpus"]["tokenizer"]
    return CARD.format(
        name=name,
        architecture=model["architecture"],
        what=f"A story writer: {kind} with {training['parameters']:,} parameters ({shape}).",
        training=(
            f"{training['minutes']:.0f} minutes, {training['steps']:,} steps, {training['tokens']:,} tokens, in "
            f"{training['precision']} on {training['device']} with `python -m train.pretrain`: {_optimizer(settings)}, "
            f"{settings['batch_tokens']:,} tokens a batch. Tokenizer: {tokenizer['kind']}, "
            f"{tokenizer['vocab_size']:,} tokens. {_parent(training)}{training.get('note', '')}"
        ).rstrip(),
        corpus=corpus,
        metrics="\n".join(measured({"models": {name: training["metrics"]["evaluation"]}})),
        samples="\n\n".join(_sample(sample) for sample in samples),
    )


def _optimizer(settings: dict[str, Any]) -> str:
    adamw = f"AdamW, learning rate {settings['learning_rate']}"
    if settings.get("optimizer") == "muon":
        adamw = f"Muon for hidden matrices, learning rate {settings['muon_learning_rate']}, and {adamw} for the rest"
    if settings.get("schedule") == "cosine":
        return f"{adamw}; warm-up, then a cosine to 0"
    return f"{adamw}; warm-up, then stable, then in a line to 0 over the last {settings['decay_share']:.0%}"


def _parent(training: dict[str, Any]) -> str:
    if training.get(LINEAGE):
        return "Then: " + " ".join(told(training[LINEAGE])) + " "
    parent = training.get("parent")
    return f"It started from the weights of {parent['name']} at {parent['revision']}. " if parent else ""


def _sample(sample: dict[str, Any]) -> str:
    asked = ", ".join(f"{key} {sample[key]!r}" for key in ("title", "opening") if sample[key]) or "no title, no opening"
    settings = ", ".join(f"{key} {value}" for key, value in sample["settings"].items())
    quoted = "\n".join("> " + line if line else ">" for line in sample["story"].splitlines())
    return f"**{asked}** ({settings})\n\n{quoted}"
