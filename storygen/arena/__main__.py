"""The owner's commands: `python -m storygen.arena rank votes`."""

import argparse
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path

from storygen.arena.agreement import Share
from storygen.arena.audit import audit, repeated_notes, write_rules
from storygen.arena.board import Board, leaders, make_board
from storygen.arena.contestants import load_catalogue
from storygen.arena.export import export_votes
from storygen.arena.ledger import read_ledger
from storygen.arena.ranking import Standing
from storygen.arena.simulate import coverage, write_votes
from storygen.cli import Parser, run
from storygen.errors import StorygenError
from storygen.folders import output_folder


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    arguments = _parser().parse_args(argv)
    arguments.command(arguments)


def _parser() -> Parser:
    parser = Parser(prog="python -m storygen.arena", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="command")

    def command(name: str, function: object, help: str) -> argparse.ArgumentParser:
        added = commands.add_parser(name, help=help, description=help)
        added.set_defaults(command=function)
        return added

    for name, function, help in (
        ("rank", _rank, "prints the leaderboard"),
        ("audit", _audit, "names raters whose votes look odd"),
        ("export", _export, "writes votes and preference pairs as JSON lines and Parquet, with a data card"),
    ):
        added = command(name, function, help)
        added.add_argument("folders", nargs="+", type=Path, help="folders of votes")
        added.add_argument("--rules", type=Path, help="TOML file of counting rules (see docs/ratings.md)")
        if name == "rank":
            added.add_argument("--by-length", action="store_true", help="take out what longer stories gain")
        if name == "audit":
            added.add_argument("--write", type=Path, metavar="RULES", help="add them to this rule file")
        if name == "export":
            added.add_argument("--out", type=Path, required=True, help="folder to write")
            added.add_argument("--overwrite", action="store_true", help="replace an earlier export")
    added = command("simulate", _simulate, "tells how often the 95 %% intervals hold the truth, with simulated raters")
    for name, default, help in (
        ("contestants", 12, "contestants"),
        ("votes", 3000, "votes in each trial"),
        ("raters", 100, "raters"),
        ("trials", 50, "trials"),
        ("seed", 0, "seed"),
    ):
        added.add_argument(f"--{name}", type=int, default=default, help=f"{help} (default: {default})")
    added.add_argument("--out", type=Path, help="instead, write such votes into this folder, to look at a leaderboard")
    return parser


def _rank(arguments: argparse.Namespace) -> None:
    ledger = read_ledger(arguments.folders, arguments.rules)
    board = make_board(ledger, arguments.by_length)
    for title, ranking in (
        ("contestants", board.contestants), ("models", board.models), ("ways of decoding", board.decodings)
    ):  # fmt: skip
        print(f"\n{title}\n" + table(ranking.standings))
    print()
    for line in summary(board):
        print(line)
    if leaders(board.contestants):
        more = board.to_separate
        needed = f"about {more:,} more votes on this pair" if more else "more than 100,000 votes on this pair"
        print(f"to tell the first two apart: {needed}")


def table(rows: Iterable[Standing]) -> str:
    """The standings as text."""
    lines = [f"{'rank':>4}  {'rating':>6}  {'95 % interval':>15}  {'votes':>7}  {'won':>4}  name"]
    for row in rows:
        place = str(row.rank) if row.rank else "-"
        interval = f"{row.low:.0f} to {row.high:.0f}"
        lines.append(f"{place:>4}  {row.rating:>6.0f}  {interval:>15}  {row.votes:>7,}  {row.won:>4.0%}  {row.name}")
    return "\n".join(lines)


def summary(board: Board) -> list[str]:
    """What is worth knowing beside the table, a line each."""
    counted = board.contestants.votes
    left, low, high = board.contestants.left_side
    lines = [
        f"{counted:,} of {board.votes:,} votes count, by {board.contestants.raters:,} raters",
        *(f"{count:,} not counted: {reason}" for reason, count in board.reasons.items()),
        f"of two equal stories the left one wins {left:.1%} ({low:.1%} to {high:.1%})",
        *_length(board.contestants.longer),
        _agreement("raters who saw a pair again agreed with themselves", board.with_itself),
        _agreement("raters who saw the same two stories agreed", board.with_others),
    ]
    if board.damaged:
        lines.append(f"{board.damaged:,} lines could not be read as votes")
    return lines


def _length(longer: tuple[float, float, float] | None) -> list[str]:
    if longer is None:
        return []
    return ["of two equal stories one twice as long wins {:.1%} ({:.1%} to {:.1%})".format(*longer)]


def _agreement(what: str, share: Share) -> str:
    return f"{what} in {share.value:.0%} of {share.of:,} cases" if share.of else f"{what}: no case yet"


def _audit(arguments: argparse.Namespace) -> None:
    ledger = read_ledger(arguments.folders, arguments.rules)
    suspects = audit(ledger)
    for suspect in suspects:
        print(f"{suspect.rater}  {suspect.votes} votes  " + "; ".join(suspect.oddities))
    print(f"{len(suspects)} suspicious raters")
    for note in repeated_notes(ledger):
        print(f"{note.times} times by {len(note.raters)} raters: {note.text!r}")
    if arguments.write:
        added = write_rules(arguments.write, suspects, datetime.now(UTC).date().isoformat())
        print(f"{added} of them added to {arguments.write}; keep its versions, and use it with --rules")


def _export(arguments: argparse.Namespace) -> None:
    out = output_folder(arguments.out, arguments.overwrite, ("votes.jsonl",), arguments.folders)
    counts = export_votes(read_ledger(arguments.folders, arguments.rules), out)
    print(f"{arguments.out}: " + ", ".join(f"{count:,} {name}" for name, count in counts.items()))


def _simulate(arguments: argparse.Namespace) -> None:
    for name, low in (("contestants", 2), ("votes", 1), ("raters", 1), ("trials", 1), ("seed", 0)):
        if getattr(arguments, name) < low:
            raise StorygenError(f"--{name} is {getattr(arguments, name)}; it must be {low} or more")
    if arguments.out:
        contestants = load_catalogue(("transformer", "lstm")).contestants
        store = write_votes(arguments.out, contestants, arguments.votes, arguments.raters, arguments.seed)
        print(f"{store.saved:,} simulated votes in {arguments.out}")
        return
    held = coverage(arguments.contestants, arguments.votes, arguments.raters, arguments.trials, arguments.seed)
    print(f"{held:.1%} of {arguments.contestants * arguments.trials:,} intervals hold the true rating")


if __name__ == "__main__":
    run(lambda: main(sys.argv[1:]))
