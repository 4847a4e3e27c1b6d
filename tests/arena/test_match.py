import random
import time
from collections import Counter

import pytest

import storygen
from storygen.arena.contestants import CATALOGUE, Contestant, describe_decoding, load_catalogue
from storygen.arena.draw import draw_pair
from storygen.arena.match import Match, Prompt, Unfit, in_step, write_match
from storygen.arena.surface import cut, surface
from storygen.config import GenerationConfig
from storygen.errors import StorygenError
from storygen.writer import Writer


@pytest.fixture(scope="module")
def writers(model_folders):
    return {name: storygen.load(model_folders / name) for name in ("transformer", "lstm")}


PAIR = (Contestant("transformer", GenerationConfig()), Contestant("lstm", GenerationConfig(strategy="top_k")))


def written(writers, monkeypatch, text, reason="end", pair=PAIR, characters=300):
    """What becomes of a match in which every model writes `text`, and then its own name."""
    originals = {name: writer._write for name, writer in writers.items()}

    def write(name):
        def instead(*asked):
            pieces = originals[name](*asked)
            while True:
                try:
                    next(pieces)
                except StopIteration as stop:
                    result = stop.value
                    break
            story = text(name) if callable(text) else text
            yield story
            return storygen.writer.Result(**{**vars(result), "text": story, "finish_reason": reason})

        return instead

    for name, writer in writers.items():
        monkeypatch.setattr(writer, "_write", write(name))
    return write_match(writers, Prompt("The Fox"), pair, characters)


def test_a_match_can_be_written_again_from_its_record():
    """With the released models, and a limit within which any story has a whole sentence; the others rarely end one."""
    writers = {name: storygen.load(f"checkpoints/{name}") for name in ("transformer", "lstm")}
    pair = tuple(Contestant(each.model, each.config.replace(seed=7)) for each in PAIR)
    match = write_match(writers, Prompt("The Fox"), pair, 400)
    for side in match.sides:
        record = side.record()
        again = writers[record["model"]].generate("", "The Fox", GenerationConfig.from_dict(record["config"]))
        assert again.text == side.result.text
        assert record["seed"] == again.seed
        assert record["logprob"] == pytest.approx(sum(again.logprobs), abs=1e-3)
        assert record["text"] == cut(surface(again.story), 400)


def test_both_have_the_same_length_in_characters_whatever_their_tokens(writers, monkeypatch):
    """200 tokens are 800 letters to one tokenizer and 200 to another."""
    match = written(writers, monkeypatch, lambda name: f"{name} " + "It rained. " * 200)
    lengths = [len(side.text) for side in match.sides]
    assert all(280 < length <= 300 for length in lengths)
    assert all(side.text.endswith("It rained.") for side in match.sides)
    # whoever learns from the votes must not take the cut for the story's end
    assert {side.record()["finish_reason"] for side in match.sides} == {"length"}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "end"),
        ("  \n ", "end"),
        ("no end to this sentence", "length"),
        ("It ends. But oddly", "exhausted"),
        (lambda name: "The same story.", "end"),
        ("a word and another " * 200, "end"),
    ],
)
def test_what_cannot_be_compared_is_no_match(writers, monkeypatch, text, reason):
    """Empty, unfinished and failed stories lost battles once, for reasons that no reader had."""
    with pytest.raises(Unfit):
        written(writers, monkeypatch, text, reason)


def test_a_model_without_capitals_is_not_known_by_them(writers, monkeypatch):
    """The char model writes small ASCII letters: beside it the other side must look the same."""
    lstm = writers["lstm"].tokenizer
    monkeypatch.setattr(Writer, "has_capitals", property(lambda self: self.tokenizer is not lstm))
    lower, bo = "one day Anna met Zoë. “hm,” she said.", "Bo SAT."
    match = written(writers, monkeypatch, lambda name: lower if name == "lstm" else bo)
    assert [side.text for side in match.sides] == ["Bo sat.", 'One day anna met zoe. "Hm," she said.']


def test_an_error_in_one_model_leaves_nothing_running(writers, monkeypatch):
    def broken(*_):
        raise StorygenError("64 requests are waiting already")

    monkeypatch.setattr(writers["lstm"], "stream", broken)
    with pytest.raises(StorygenError, match="waiting already"):
        write_match(writers, Prompt(), PAIR, 100_000)
    end = time.monotonic() + 5  # a story of 2,000 tokens takes longer
    while writers["transformer"].is_busy:
        assert time.monotonic() < end
        time.sleep(0.01)


def test_swapped_sides_are_the_same_match():
    sides = (FakeSide("a"), FakeSide("b"))
    match = Match(Prompt(), sides)
    assert match.swapped("x") == Match(Prompt(), sides[::-1], "x")


class FakeSide:
    def __init__(self, text):
        self.text = text


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ({"title": "x" * 501}, "the title has 501 characters; at most 500"),
        ({"opening": "x" * 501}, "the opening has 501 characters"),
        ({"title": 5}, "the title must be text, not int"),
    ],
)
def test_bad_prompts_are_refused(prompt, message):
    with pytest.raises(StorygenError, match=message):
        Prompt(**prompt)


def test_stories_grow_in_step():
    """The pace must not tell the models apart: at each moment both show as much, in whole words."""
    left, right = "word " * 60, "longer words " * 24
    steps = list(in_step((left, right)))
    assert steps[-1] == (left, right)
    for one, other in steps[:-1]:
        assert abs(len(one) - len(other)) <= len("longer ")
        assert left.startswith(one) and right.startswith(other)
        assert one.endswith(" ") and other.endswith(" ")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("“Well,” said he—‘no’…", "\"Well,\" said he - 'no'..."),
        ("a  b\t c\r\n\n\n\nd ,e", "A b c\n\nD ,e"),
        ("he said . then  went , home", "He said. Then went, home"),
        ("mr. fox ran.\nit was late", "Mr. Fox ran.\n\nIt was late"),
        ('he sat. "why?" asked he. "go." and so', 'He sat. "Why?" asked he. "Go." And so'),
        ("", ""),
    ],
)
def test_surface(text, expected):
    assert surface(text) == expected


def test_the_surface_of_a_surface_is_the_same():
    text = surface("“One” -- two… \n three . four\n\n\n\n“five”")
    assert surface(text) == text


def test_cut_keeps_whole_sentences():
    assert cut("One. Two. Three.", 100) == "One. Two. Three."
    assert cut("One. Two. Three.", 10) == "One. Two."
    assert cut("no end in sight", 10) == ""


def test_the_catalogue_that_comes_with_the_package():
    catalogue = load_catalogue(["transformer", "lstm"])
    assert len({str(each) for each in catalogue.contestants}) == len(catalogue.contestants) >= 10
    assert CATALOGUE.exists()


def test_a_decoding_may_be_for_some_models_only(tmp_path):
    path = tmp_path / "c.toml"
    path.write_text(
        'characters = 500\n[[decoding]]\nstrategy = "greedy"\n[[decoding]]\nstrategy = "beam"\nmodels = ["lstm"]\n'
    )
    assert [str(each) for each in load_catalogue(["transformer", "lstm"], path).contestants] == [
        "transformer, greedy",
        "lstm, greedy",
        "lstm, beam (num beams 4)",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("characters = 500", r"has no \[\[decoding\]\]"),
        ("characters = 5", "characters is 5; it must be a whole number from 100"),
        ('characters = 500\n[[decoding]]\nstrategy = "gredy"', "1: unknown GenerationConfig.strategy 'gredy'"),
        ("characters = 500\n[[decoding]]\nseed = 5", "1: seed is the battle's"),
        ('characters = 500\n[[decoding]]\nmodels = "lstm"', "models must be a list"),
        ("characters = 500\n[[decoding]]\n[[decoding]]", "top p .* is there twice"),
        ('characters = 500\n[[decoding]]\nmodels = ["x"]', "gives 0 contestants"),
        ("character = 500", "unknown entry 'character'; did you mean 'characters'"),
        ("= 5", "is not TOML"),
    ],
)
def test_bad_catalogues_are_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(StorygenError, match=message):
        load_catalogue(["transformer", "lstm"], path)


def test_the_name_tells_what_matters_and_nothing_else():
    config = GenerationConfig(strategy="beam", length_penalty=0.5, no_repeat_ngram=3, seed=5, full_sentence=True)
    assert describe_decoding(config) == "beam (num beams 4, length penalty 0.5, no repeat ngram 3)"


CONTESTANTS = tuple(Contestant(name, GenerationConfig()) for name in "abcd")


def drawn(form, count=4000):
    rng = random.Random(0)
    return Counter(draw_pair(CONTESTANTS, lambda each: form[each.model], rng) for _ in range(count))


def test_sides_are_drawn_by_coin_flip_and_pairs_evenly_at_first():
    """A model that always stands on the left wins or loses by its place."""
    counts = drawn(dict.fromkeys("abcd", (0, 0.0)))
    assert len(counts) == 12
    assert all(abs(count - 4000 / 12) < 70 for count in counts.values())


def test_who_has_few_votes_and_who_is_close_meets_more_often():
    counts = drawn({"a": (100, 0.0), "b": (100, 0.0), "c": (100, 3.0), "d": (0, 0.0)})
    met = Counter()
    for (one, other), count in counts.items():
        met[frozenset((one.model, other.model))] += count
    assert met[frozenset("ad")] > 3 * met[frozenset("ab")]
    assert met[frozenset("ab")] > 3 * met[frozenset("ac")]
    assert met[frozenset("ac")] > 0


def test_what_a_writer_knows_of_its_letters(writers):
    """A char model has 900 tokens for what others have in 250, and no capitals."""
    char = storygen.load("checkpoints/char-lstm")
    assert (char.has_capitals, char.characters_per_token) == (False, 1)
    assert writers["lstm"].has_capitals
    assert 1.5 < writers["lstm"].characters_per_token < 6
