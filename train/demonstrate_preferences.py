"""Walks the whole way from votes to a better model, with simulated readers: `python -m train.demonstrate_preferences`.

Readers of a known taste cast votes in the arena, on stories of one model for the titles of the built-in training tales.
The votes are exported, and the model is tuned on them in three ways: by preferences (dpo), on the chosen stories alone
(sft), and with a reward model that picks the best of several stories (rank). Each then meets the untuned model on the
titles of the built-in validation tales. results.json has what came out; what is in --out already is not done again.
"""

import json
import random
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

import storygen
from storygen import artifact
from storygen.arena.battle import Arena
from storygen.arena.board import LiveBoard
from storygen.arena.contestants import Catalogue, Contestant
from storygen.arena.export import export_votes
from storygen.arena.ledger import Ledger
from storygen.arena.match import Match, Prompt, Unfit, write_match
from storygen.arena.rules import Rules
from storygen.arena.simulated_readers import AT_ONCE, Readers, cast_votes
from storygen.arena.votes import VoteReader, VoteStore
from storygen.cli import Parser, run
from storygen.config import GenerationConfig, write_json
from storygen.data.files import read_files
from storygen.data.sources import builtin_tales
from storygen.evaluation.diversity import repeated_share
from storygen.evaluation.stories import content_words, words_of
from storygen.tuning.lineage import LINEAGE
from storygen.tuning.preferences import read_preferences
from storygen.writer import Writer
from train import finetune, prepare

CHARACTERS = 900
"""Of a story at most, as in the app's arena."""
DECODINGS = (
    GenerationConfig(strategy="top_p", temperature=0.8, top_p=0.95),
    GenerationConfig(strategy="top_k", temperature=0.8, top_k=40),
    GenerationConfig(strategy="min_p", temperature=1.0, min_p=0.1),
    GenerationConfig(strategy="sample", temperature=1.0),
)
"""The contestants that votes are cast on: one model, decoded in four ways; in the meetings all decode in the first."""
BEST = DECODINGS[0].replace(strategy="best_of_n", num_stories=4)
AHEAD = 48
"""Matches that are written before they are read, each by three readers."""
TRIES = 5
RESULTS = "results.json"
BOOTSTRAPS = 2000
SAMPLES = 3


def main(argv: Sequence[str] | None = None) -> None:
    """Runs the command line."""
    parser = Parser(prog="python -m train.demonstrate_preferences", description=__doc__)
    parser.add_argument("--model", default="checkpoints/transformer", help="start model (default: %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("runs/preferences"), help="folder (default: %(default)s)")
    parser.add_argument("--votes", type=int, default=3000, help="votes to learn from (default: %(default)s)")
    parser.add_argument("--battles", type=int, default=360, help="meetings of each tuned model (default: %(default)s)")
    arguments = parser.parse_args(argv)
    out, readers, start = arguments.out, Readers(), storygen.load(arguments.model)
    learned, unseen = titles()
    ledger = hold_votes(out / "votes", start, learned, arguments.votes, readers)
    if not (out / "pairs").exists():
        export_votes(ledger, out / "pairs")
    methods = {}
    for method, folder in tune(arguments.model, out).items():
        tuned = storygen.load(folder)
        config = BEST if method == "rank" else DECODINGS[0]
        matches = meet(start, tuned, config, [unseen[n % len(unseen)] for n in range(arguments.battles)])
        methods[method] = {**compare(matches, readers), "lineage": tuned.artifact.training[LINEAGE][-1]}
    votes = {"cast": len(ledger), "pairs": len(read_preferences(out / "pairs"))}
    write_json(out / RESULTS, {"readers": asdict(readers), "votes": votes, "methods": methods})
    for method, found in methods.items():
        won = "{:.1%} ({:.1%} to {:.1%})".format(*found["preferred"])
        print(f"{method}: preferred to the start model in {won} of {found['meetings']} meetings on unseen titles")


def titles() -> tuple[list[str], list[str]]:
    """Titles of the built-in tales: of the training split, in a drawn order, and of the validation split."""
    learned, unseen = (list(dict.fromkeys(story.title for story in read_files(files))) for files in builtin_tales())
    learned = [title for title in learned if title not in set(unseen)]
    random.Random(0).shuffle(learned)
    return learned, unseen


def hold_votes(folder: Path, start: Writer, learned: Sequence[str], count: int, readers: Readers) -> Ledger:
    """The ledger of so many votes in a folder; those that are missing are cast."""
    ledger = Ledger(VoteReader(folder), Rules(ms_per_word=0))  # simulated readers are quick
    ledger.refresh()
    contestants = tuple(Contestant(start.name, config) for config in DECODINGS)
    arena = Arena(
        {start.name: start}, Catalogue(contestants, CHARACTERS), VoteStore(folder), LiveBoard(ledger), b"simulated"
    )
    with tqdm(total=count, initial=len(ledger), unit="vote", disable=None) as bar:
        while (held := len(ledger)) < count:
            first = held // 3
            arena.pool.suggestions = [learned[number % len(learned)] for number in range(first, first + AHEAD)]
            cast_votes(arena, readers, min(3 * AHEAD, count - held), held, bar.update)
            ledger.refresh()
    return ledger


def tune(model: str, out: Path) -> dict[str, Path]:
    """The folders of the tuned models, by method."""
    pairs = ["--model", model, "--pairs", str(out / "pairs")]
    chosen = pack_chosen(model, out)
    commands = {
        "dpo": ["dpo", *pairs],
        "sft": ["sft", "--model", model, "--data", str(chosen)],
        "rank": ["rank", *pairs],
    }
    for method, command in commands.items():
        if LINEAGE not in training_of(out / method):
            finetune.main([*command, "--out", str(out / method), "--overwrite"])
    return {method: out / method / artifact.BEST for method in commands}


def training_of(run: Path) -> dict[str, Any]:
    """training.json of a finished run; empty if there is none."""
    return artifact.read_training(run / artifact.BEST)


def pack_chosen(model: str, out: Path) -> Path:
    """The chosen stories that come to their end, packed as a corpus; a tenth of the titles is for validation."""
    folder = out / "chosen"
    if not folder.exists():
        rows = [row for row in read_preferences(out / "pairs") if row["chosen_ended"]]
        stories = {row["chosen"]: row["prompt"] for row in rows}
        file = out / "chosen.jsonl"
        lines = [json.dumps({"text": text, "title": title, "source": title}) for text, title in stories.items()]
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
        tokenizer = artifact.locate(model)[0] / artifact.TOKENIZER
        more = ["--reuse-tokenizer", str(tokenizer), "--valid-fraction", "0.1"]
        prepare.main(["--input", str(file), "--out", str(folder), *more])
    return folder


def meet(start: Writer, tuned: Writer, config: GenerationConfig, asked: Sequence[str]) -> list[Match]:
    """A match of both on each title, the start model on the left; the seeds follow from the number of the title.

    They differ, or the first of the stories that `rank` has to choose from would be the start model's own. As in the
    arena, two stories that can't be compared are no match: other seeds are tried, then the title is given up.
    """
    writers = {"start": start, "tuned": tuned}

    def write(number: int) -> Match | None:
        for attempt in range(TRIES):
            seed = number + attempt * len(asked)
            left = Contestant("start", DECODINGS[0].replace(seed=seed))
            right = Contestant("tuned", config.replace(seed=seed + TRIES * len(asked)))
            try:
                return write_match(writers, Prompt(asked[number]), (left, right), CHARACTERS)
            except Unfit:
                continue
        return None

    with ThreadPoolExecutor(AT_ONCE) as pool:
        bar = tqdm(pool.map(write, range(len(asked))), tuned.name, len(asked), unit="match", disable=None)
        return [match for match in bar if match is not None]


def compare(matches: Sequence[Match], readers: Readers) -> dict[str, Any]:
    """How often the tuned model's story is preferred, with 95 % intervals, and what both sides' stories are like."""
    named = [match.prompt.title for match in matches]
    preferred, voted = [], []
    for number, (title, match) in enumerate(zip(named, matches, strict=True)):
        start, tuned = (readers.taste.score(title, side.text, side.finish_reason == "end") for side in match.sides)
        preferred.append(0.5 if start == tuned else float(tuned > start))
        verdict = readers.verdict(number % readers.count, title, match.sides, random.Random(number))
        voted.append({"left": 0.0, "right": 1.0, "tie": 0.5}[verdict])
    sides = list(zip(*(match.sides for match in matches), strict=True))
    return {
        "meetings": len(matches),
        "preferred": interval(preferred, named),
        "voted": interval(voted, named),
        "start": look_of(named, sides[0]),
        "tuned": look_of(named, sides[1]),
        "samples": [
            {"title": match.prompt.title, "start": match.sides[0].text, "tuned": match.sides[1].text}
            for match in matches[:SAMPLES]
        ],
    }


def interval(won: Sequence[float], named: Sequence[str]) -> tuple[float, float, float]:
    """The mean, and a 95 % interval by drawing titles again: stories on one title hang together."""
    values = np.array(won)
    _, group = np.unique(named, return_inverse=True)
    sums, counts = np.bincount(group, values), np.bincount(group)
    drawn = np.random.default_rng(0).integers(len(counts), size=(BOOTSTRAPS, len(counts)))
    means = sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return round(float(values.mean()), 4), round(float(low), 4), round(float(high), 4)


def look_of(named: Sequence[str], sides: Sequence[Any]) -> dict[str, float]:
    """What the readers' taste goes by, over all stories, and their mean length in words."""
    repeated, runs = (sum(counts) for counts in zip(*(repeated_share(side.text) for side in sides), strict=True))
    asked = [content_words(title) for title in named]
    told = sum(len(words & words_of(side.text)) for words, side in zip(asked, sides, strict=True))
    return {
        "ended": round(sum(side.finish_reason == "end" for side in sides) / len(sides), 4),
        "repetition": round(repeated / max(1, runs), 4),
        "title_words": round(told / max(1, sum(map(len, asked))), 4),
        "words": round(sum(len(side.text.split()) for side in sides) / len(sides), 1),
    }


if __name__ == "__main__":
    run(main)
