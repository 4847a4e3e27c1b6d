"""Makes a trained model ready for others: `python -m train.publish checkpoint runs/x/best checkpoints/x --corpus ...`.

Measures it on validation files, draws samples with fixed seeds, and writes both into training.json and the model card,
with the curve of its run if that is there. `python -m train.publish export checkpoints/x out --format transformers`
writes it for another library to load; `model`, `pull`, `list` and `verify` keep models on the Hub, and `space` makes a
Space of the app.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from storygen import artifact
from storygen.card import build_card
from storygen.cli import Parser, run
from storygen.config import GenerationConfig
from storygen.errors import StorygenError
from storygen.evaluation.likelihood import LikelihoodConfig
from storygen.export import FORMATS, GENERATION
from storygen.folders import output_folder
from storygen.training.curve import light_curve
from storygen.training.log import FILE as LOG
from storygen.training.log import RunLog
from storygen.writer import Writer
from train import hub_models, hub_space
from train.evaluate import measure_model
from train.story_files import named, read_prompts, read_texts, text_files

MAX_WEIGHTS = 16_000_000
"""Bytes of a weights file that may go into this repository."""
SAMPLES = (("The Fox and the Moon", ""), ("", "Once upon a time"), ("A bear learns to bake bread", ""))
SAMPLE_CONFIG = GenerationConfig(strategy="top_p", temperature=0.8, top_p=0.9, max_new_tokens=300)


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = Parser(prog="python -m train.publish", description=__doc__.split(":")[0] + ".")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    checkpoint = commands.add_parser("checkpoint", help="write a released checkpoint with its figures and card")
    checkpoint.add_argument("model", type=Path, help="folder of the trained model")
    checkpoint.add_argument("out", type=Path, help="folder to write")
    checkpoint.add_argument(
        "--corpus", required=True, help="what the training text is, and what rights there are in it"
    )
    checkpoint.add_argument("--text", nargs="+", default=[], help="validation files; default: the built-in tales.valid")
    checkpoint.add_argument(
        "--stories", type=int, default=100, help="write at most so many stories to judge them; 0: none"
    )
    checkpoint.add_argument("--seeds", nargs=len(SAMPLES), type=int, default=[1, 2, 3], help="of the samples")
    checkpoint.add_argument("--overwrite", action="store_true", help="replace OUT if it exists")
    checkpoint.set_defaults(run=publish_checkpoint)
    export = commands.add_parser("export", help="write a model in the format of another library")
    export.add_argument("model", type=Path, help="folder or Hub repository of the model")
    export.add_argument("out", type=Path, help="folder to write")
    export.add_argument("--format", choices=FORMATS, required=True, help="whose library is to load it")
    export.add_argument("--overwrite", action="store_true", help="replace OUT if it is an earlier export")
    export.set_defaults(run=publish_export)
    hub_models.add_commands(commands)
    hub_space.add_command(commands)
    arguments = parser.parse_args(argv)
    arguments.run(arguments)


def publish_checkpoint(arguments: argparse.Namespace) -> None:
    """Writes `out`: the model, its figures on each validation file, three samples and a card."""
    out = output_folder(arguments.out, arguments.overwrite, (artifact.CONFIG,), [arguments.model])
    loaded = artifact.load(arguments.model)
    if "recipe" not in loaded.training:
        raise StorygenError(f"{arguments.model} has no training.json of a run; give the best/ folder of one")
    writer = Writer(loaded)
    texts = {name: read_texts(file) for name, file in named(text_files(arguments.text)).items()}
    asked = read_prompts(text_files([]), arguments.stories) if arguments.stories > 0 else []
    evaluation, measured = measure_model(writer, texts, LikelihoodConfig(), asked)
    corpus = {**loaded.training.get("corpus", {}), "about": arguments.corpus}
    training = {**loaded.training, "corpus": corpus, "metrics": {"evaluation": evaluation}}
    folder = arguments.model.resolve()
    curve = light_curve(RunLog(folder.parent).read()) if folder.name == artifact.BEST else {}
    if curve:
        training["curve"] = curve
    else:
        print(f"note: there is no {LOG} of a run beside {arguments.model}, so it goes without a training curve")
    samples = [
        draw_sample(writer, title, opening, seed)
        for (title, opening), seed in zip(SAMPLES, arguments.seeds, strict=True)
    ]
    card = build_card(out.name, training, arguments.corpus, samples)
    artifact.save(out, loaded.model, loaded.tokenizer, {**training, "samples": samples}, card, loaded.reward)
    size = (out / artifact.WEIGHTS).stat().st_size
    for name, each in measured.items():
        print(f"{name}: {each.bits_per_byte:.4f} bits per byte")
    print(f"written to {arguments.out}; weights are {size / 1e6:.1f} MB")
    if size > MAX_WEIGHTS:
        print(f"note: weights over {MAX_WEIGHTS / 1e6:.0f} MB belong on the Hub, not into a git repository")


def publish_export(arguments: argparse.Namespace) -> None:
    """Writes `out`: weights, shape and tokenizer of the model as the library named by `format` reads them."""
    out = output_folder(arguments.out, arguments.overwrite, (GENERATION,), [arguments.model])
    layout = FORMATS[arguments.format](artifact.load(arguments.model), out)
    print(f"written to {arguments.out} as {layout}")


def draw_sample(writer: Writer, title: str, opening: str, seed: int) -> dict[str, Any]:
    """One story with all that repeats it."""
    config = SAMPLE_CONFIG.replace(seed=seed)
    result = writer.generate(opening, title, config)
    names = ("strategy", *config.settings, "max_new_tokens", "seed")
    settings = {name: getattr(config, name) for name in names}
    return {"title": title, "opening": opening, "settings": settings, "story": result.story.strip()}


if __name__ == "__main__":
    run(main)
