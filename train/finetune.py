"""Tunes a trained model: `python -m train.finetune sft --model checkpoints/transformer --data X --out runs/mine`.

`sft` goes on training on a packed corpus, of one's own stories or a genre; `dpo` learns from the preference pairs that
`python -m storygen.arena export` writes; `rank` trains a small reward model on them, which picks the best of several
stories. Each writes the model with its lineage.
"""

from collections.abc import Sequence

from storygen.cli import Parser, run
from train import tune_dpo, tune_rank, tune_sft


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = Parser(prog="python -m train.finetune", description=__doc__.partition("\n\n")[2].replace("\n", " "))
    commands = parser.add_subparsers(required=True, metavar="command")
    for add in (tune_sft.add_command, tune_dpo.add_command, tune_rank.add_command):
        add(commands)
    arguments = parser.parse_args(argv)
    arguments.run(arguments)


if __name__ == "__main__":
    run(main)
