"""The model card of an artifact, written from its training.json."""

from typing import Any

from storygen.errors import StorygenError

CARD = """\
---
license: apache-2.0
language: en
library_name: storygen
pipeline_tag: text-generation
tags: [from-scratch, stories, {architecture}]
---

# {name}

{what} It was written and trained from scratch by the storygen project; no pretrained weights went into it.

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

{metrics}

## Samples

Unedited, with the settings that repeat them.

{samples}
"""


def build_card(name: str, training: dict[str, Any], corpus: str, samples: list[dict[str, Any]]) -> str:
    """The Markdown of README.md. `corpus` says in a sentence or two what the training text is and who has rights in it.

    `training` is the content of training.json; StorygenError when a figure is missing from it.
    """
    try:
        return _card(name, training, corpus, samples)
    except KeyError as error:
        raise StorygenError(f"training.json of {name} lacks {error}, which the model card tells") from None


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
            f"{training['precision']} on {training['device']} with `python -m train.pretrain`: AdamW, learning rate "
            f"{settings['learning_rate']}, {settings['batch_tokens']:,} tokens a batch, warm-up, linear decay over the "
            f"last {settings['decay_share']:.0%}. Tokenizer: {tokenizer['kind']}, {tokenizer['vocab_size']:,} tokens. "
            f"{training.get('note', '')}"
        ).rstrip(),
        corpus=corpus,
        metrics=_metrics(training["metrics"]),
        samples="\n\n".join(_sample(sample) for sample in samples),
    )


def _metrics(metrics: dict[str, Any]) -> str:
    rows = [f"| {name} | {value:.3f} |" for name, value in metrics["bits_per_byte"].items()]
    return "\n".join(["| text | bits per byte |", "|---|---|", *rows, "", metrics["method"]])


def _sample(sample: dict[str, Any]) -> str:
    asked = ", ".join(f"{key} {sample[key]!r}" for key in ("title", "opening") if sample[key]) or "no title, no opening"
    settings = ", ".join(f"{key} {value}" for key, value in sample["settings"].items())
    quoted = "\n".join("> " + line if line else ">" for line in sample["story"].splitlines())
    return f"**{asked}** ({settings})\n\n{quoted}"
