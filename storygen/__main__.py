"""Writes a story in a terminal: `python -m storygen "Once upon a time" --strategy top_p --seed 7`."""

import sys
from collections.abc import Sequence
from pathlib import Path

from storygen.cli import Parser, add_settings, run, settings_in
from storygen.config import GenerationConfig

DEFAULT_MODEL = str(Path(__file__).parents[1] / "checkpoints" / "transformer")


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line: the story goes to standard output as it is written, remarks go to standard error."""
    parser = Parser(prog="python -m storygen", description=__doc__.split(":")[0] + ".")
    parser.add_argument("opening", nargs="?", default="", help="the first words; may be empty")
    parser.add_argument("--title", default="", help="a title, an idea or keywords")
    parser.add_argument(
        "--model", default=DEFAULT_MODEL, help="folder or Hub repository user/name (default: the bundled transformer)"
    )
    parser.add_argument("--revision", help="branch, tag or commit of the Hub repository")
    add_settings(parser, GenerationConfig)
    arguments = parser.parse_args(argv)
    config = GenerationConfig.from_dict(settings_in(arguments, GenerationConfig))  # checked before the model is loaded

    from storygen.writer import load  # torch takes seconds to import; --help and bad settings don't need it

    stream = load(arguments.model, arguments.revision).stream(arguments.opening, arguments.title, config)
    print(stream.opening, end="", flush=True)
    for piece in stream:
        print(piece, end="", flush=True)
    print()
    result = stream.result
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"[{result.model}, {config.strategy}, seed {result.seed}, {result.finish_reason}]", file=sys.stderr)


if __name__ == "__main__":
    run(main)
