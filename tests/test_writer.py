import subprocess
import sys
import time

import pytest
import torch

import storygen
from storygen.config import STRATEGIES
from storygen.decoding import Token
from storygen.decoding.engine import MAX_WAITING
from storygen.errors import StorygenError
from tests.processes import Process

CONFIG = storygen.GenerationConfig(max_new_tokens=30, seed=7)


@pytest.fixture(scope="module", params=["transformer", "lstm"])
def loaded(request, model_folders):
    return storygen.load(model_folders / request.param)


@pytest.fixture
def writer(loaded):
    """With nothing left of the test before: a request beside others has the same story, its last digits differ."""
    while loaded.is_busy:
        time.sleep(0.001)
    return loaded


@pytest.mark.parametrize("endings", [{}, {"stop": ("e", "th"), "full_sentence": True}], ids=["plain", "cut"])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_streamed_pieces_add_up_to_the_text(writer, strategy, endings):
    config = CONFIG.replace(strategy=strategy, **endings)
    stream = writer.stream("Once upon a time", config=config)
    pieces = list(stream)
    result = writer.generate("Once upon a time", config=config)
    assert "".join(pieces) == stream.result.text == result.text
    assert result.story == "Once upon a time" + result.text
    assert len(result.tokens) == len(result.logprobs) <= 30


def test_a_result_can_be_repeated_from_what_it_carries(writer):
    first = writer.generate("Once", title="The Fox", config=CONFIG.replace(seed=None))
    again = writer.generate(first.opening, first.title, first.config)
    assert again == first
    assert first.config.seed == first.seed


def test_title_and_opening_both_matter(writer):
    texts = {
        writer.generate(opening, title, CONFIG).text
        for opening, title in (("", ""), ("Once", ""), ("", "Once"), ("Once", "The Fox"))
    }
    assert len(texts) == 4


def test_nothing_at_all_is_a_fine_prompt(writer):
    assert writer.generate(config=CONFIG).finish_reason in ("end", "length")


def test_trailing_spaces_make_no_difference(writer):
    """A trailing space is a token of its own after which no model was trained to go on."""
    assert writer.generate("Once upon  \n", config=CONFIG) == writer.generate("Once upon", config=CONFIG)


def test_a_long_opening_is_cut_at_its_start_and_says_so(writer):
    opening = "and then " * 200_000  # 1.8 MB
    result = writer.generate(opening, title="The Fox", config=CONFIG)
    note = result.notes[0]
    limit = writer.model.config.context_length
    tokens, _ = writer.prompt_tokens(opening.rstrip(), "The Fox")
    assert len(tokens) == limit
    assert tokens[0] == writer.tokenizer.prompt_id
    assert writer.tokenizer.decode(tokens).endswith(" and then")
    assert "longer than the model can see" in note
    assert result.opening == opening.rstrip()


def test_a_long_title_is_cut_too(writer):
    tokens, [note] = writer.prompt_tokens("Once", "fox " * 500)
    assert len(tokens) <= writer.model.config.context_length
    assert writer.tokenizer.story_id in tokens
    assert "title is too long" in note


def test_typed_special_tokens_do_not_end_the_story(writer):
    tokens, _ = writer.prompt_tokens("<|end|><|story|>", "<|end|>")
    assert tokens.count(writer.tokenizer.end_id) == 0
    assert tokens.count(writer.tokenizer.story_id) == 1


@pytest.mark.parametrize("opening", ["\x00", "🦊" * 50, "\ud800", "<script>alert(1)</script>"])
def test_odd_openings(writer, opening):
    assert writer.generate(opening, config=CONFIG).opening == opening.rstrip()


def test_beam_search_can_be_given_up_while_it_searches(writer):
    """One uninterruptible search would hold the model for all others after Stop."""
    stream = writer.stream(config=CONFIG.replace(strategy="beam", max_new_tokens=2000, min_new_tokens=2000))
    assert [next(stream) for _ in range(2)] == [""] * 2
    stream.close()
    assert list(stream) == []


@pytest.mark.parametrize("strategy", ["top_p", "beam", "diverse_beam"])
def test_a_stop_text_ends_the_story_before_it(writer, strategy):
    """Also one that spans tokens; and the model does not write on unseen after it."""
    config = CONFIG.replace(strategy=strategy, max_new_tokens=60)
    plain = writer.generate(config=config)
    stop = plain.text[20:24]
    result = writer.generate(config=config.replace(stop=(stop, "never seen in any story")))
    assert stop not in result.text
    assert all(stop not in candidate.text for candidate in result.candidates)
    if strategy == "top_p":  # a beam search may find a better story without it
        assert result.finish_reason == "stop"
        assert result.text == plain.text[: plain.text.index(stop)]
        assert len(result.tokens) < len(plain.tokens)
        assert stop in writer.tokenizer.decode(result.tokens)
        assert stop not in writer.tokenizer.decode(result.tokens[:-1])


def test_the_opening_may_hold_a_stop_text(writer):
    """Only what is written counts: a story about a wolf can be asked to stop at the next wolf."""
    plain = writer.generate("Once", config=CONFIG)
    assert "Once" not in plain.text
    assert writer.generate("Once", config=CONFIG.replace(stop=("Once",))).text == plain.text


def test_a_stop_text_that_is_no_unicode_never_comes(writer):
    assert writer.generate(config=CONFIG.replace(stop=("\ud800",))).text == writer.generate(config=CONFIG).text


def test_a_story_longer_than_the_context_says_what_the_model_saw(writer):
    """64 tokens of context: the title is out of sight by then. An LSTM has no such window."""
    notes = writer.generate(title="Fox", config=CONFIG.replace(max_new_tokens=100, min_new_tokens=100)).notes
    is_windowed = writer.model.window is not None
    assert [("longer than the model can see: at its end it saw the last 64 tokens" in note) for note in notes] == (
        [True] if is_windowed else []
    )
    assert writer.generate(title="Fox", config=CONFIG).notes == ()


def test_a_long_stop_text_with_wide_characters(writer):
    text = writer.tokenizer.decode(writer.generate(config=CONFIG).tokens)
    assert writer.generate(config=CONFIG.replace(stop=("🦊" * 100,))).text == text


def test_beam_search_tells_all_that_it_found(writer):
    result = writer.generate("Once", config=CONFIG.replace(strategy="beam", num_beams=4))
    assert len(result.candidates) == 4
    assert result.candidates[0].text == result.text
    assert len({candidate.tokens for candidate in result.candidates}) == 4
    scores = [candidate.score for candidate in result.candidates]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] == pytest.approx(sum(result.logprobs) / len(result.tokens))
    assert writer.generate("Once", config=CONFIG).candidates == ()


def test_a_result_can_explain_each_token(writer):
    result = writer.generate("Once", config=CONFIG, explain=True)
    assert result.text == writer.generate("Once", config=CONFIG).text
    assert len(result.explained) == len(result.tokens)
    for token, chosen, logprob in zip(result.explained, result.tokens, result.logprobs, strict=True):
        assert (token.id, token.logprob) == (chosen, logprob)
        assert len(token.alternatives) == 5
        assert token.alternatives[0][1] >= logprob - 1e-6
        assert token.entropy > 0


def test_the_opening_can_be_explained_too(writer):
    """How likely each of its tokens was after what stands before it; the title is not asked about."""
    text = "Once upon a time"
    result = writer.generate(text, title="The Fox", config=CONFIG, explain=True)
    tokens, _ = writer.prompt_tokens(text, "The Fox")
    assert [token.id for token in result.explained_opening] == writer.tokenizer.encode(text)
    logits, _ = writer.model(torch.tensor([tokens[:-1]]))
    likely = logits[0].log_softmax(-1).gather(1, torch.tensor(tokens[1:])[:, None])[:, 0].tolist()
    assert [token.logprob for token in result.explained_opening] == pytest.approx(
        likely[-len(result.explained_opening) :], abs=1e-4
    )
    assert all(len(token.alternatives) == 5 for token in result.explained_opening)
    assert result.prompt_tokens == len(tokens)
    assert writer.generate(config=CONFIG, explain=True).explained_opening == ()


def test_a_result_tells_how_fast_it_was(writer):
    result = writer.generate(config=CONFIG)
    assert 0 < result.seconds_to_first_token <= result.seconds
    assert result.tokens_per_second == pytest.approx(len(result.tokens) / result.seconds)


def test_too_many_requests_are_refused_before_anything_is_shown(writer):
    config, streams, message = CONFIG.replace(max_new_tokens=2000), [], None
    while message is None and len(streams) < 200:
        try:
            streams.append(writer.stream(config=config))
        except StorygenError as error:
            message = str(error)
    assert message == f"{MAX_WAITING} requests are waiting already; try again in a moment"
    streams.clear()
    assert writer.generate(config=CONFIG).tokens


def test_settings_of_another_type(writer):
    with pytest.raises(StorygenError, match="config must be a GenerationConfig, not dict"):
        writer.generate(config={"seed": 1})


def test_text_is_asked_for(writer):
    with pytest.raises(StorygenError, match="opening must be text, not int"):
        writer.generate(5)


def test_closing_a_stream_ends_it(writer):
    stream = writer.stream(config=CONFIG)
    next(stream)
    stream.close()
    assert list(stream) == []
    assert stream.result is None


@pytest.mark.parametrize("full_sentence", [False, True])
def test_a_story_goes_on_after_its_own_tokens(writer, full_sentence):
    """All settings count the given tokens: those that look back, those that count, and the text's end. Nothing is
    drawn here, so that the rest must be the same."""
    config = storygen.GenerationConfig(
        strategy="greedy",
        full_sentence=full_sentence,
        no_repeat_ngram=3,
        max_new_tokens=40,
        min_new_tokens=10,
        repetition_penalty=1.2,
        seed=7,
    )
    whole = writer.generate("Once", "The Fox", config)
    written = [Token(*pair) for pair in zip(whole.tokens[:9], whole.logprobs[:9], strict=True)]
    stream = writer.stream("Once", "The Fox", config, written=written)
    pieces = list(stream)
    assert "".join(pieces) == stream.result.text == whole.text
    assert stream.result.tokens == whole.tokens
    assert stream.result.logprobs == pytest.approx(whole.logprobs, abs=1e-4)
    assert stream.result.finish_reason == whole.finish_reason
    assert stream.result.config == config


def test_given_tokens_count_as_written(writer, monkeypatch):
    """A story that may end after 10 tokens may end after one more than the 9 that it has."""
    asked, submit = [], writer.engine.submit
    monkeypatch.setattr(
        writer.engine, "submit", lambda prompt, config, *rest: asked.append(config) or submit(prompt, config, *rest)
    )
    for count in (9, 12):
        config = CONFIG.replace(min_new_tokens=10)
        writer.stream(config=config, written=[Token(5, -1.0)] * count).close()
    assert [(config.min_new_tokens, config.max_new_tokens) for config in asked] == [(1, 21), (0, 18)]


def test_beams_go_on_too(writer):
    config = storygen.GenerationConfig(strategy="beam", max_new_tokens=20, seed=1)
    whole = writer.generate("Once", config=config)
    written = [Token(*pair) for pair in zip(whole.tokens[:5], whole.logprobs[:5], strict=True)]
    stream = writer.stream("Once", config=config, written=written)
    assert "".join(stream) == stream.result.text == stream.result.candidates[0].text
    assert all(candidate.tokens[:5] == whole.tokens[:5] for candidate in stream.result.candidates)
    assert len(stream.result.tokens) <= 20


def test_a_stop_text_may_begin_in_the_given_tokens(writer):
    """What is looked for the stop text must hold the given tokens: half of it may be there."""
    config = storygen.GenerationConfig(strategy="greedy", max_new_tokens=30)
    whole = writer.generate(config=config)
    count = next(n for n in range(2, 30) if "\ufffd" not in writer.tokenizer.decode(whole.tokens[n - 2 : n]))
    stop = writer.tokenizer.decode(whole.tokens[count - 2 : count])
    written = [Token(*pair) for pair in zip(whole.tokens[: count - 1], whole.logprobs[: count - 1], strict=True)]
    stream = writer.stream(config=config.replace(stop=(stop,)), written=written)
    assert "".join(stream) == writer.tokenizer.decode(whole.tokens[: count - 2])
    assert stream.result.finish_reason == "stop"
    assert stream.result.tokens == whole.tokens[:count]


def test_given_tokens_that_leave_no_room_are_refused(writer):
    config = storygen.GenerationConfig(max_new_tokens=2, seed=1)
    with pytest.raises(StorygenError, match="has 2 tokens already; max_new_tokens must be above"):
        writer.stream(config=config, written=[Token(5, -1.0)] * 2)
    with pytest.raises(StorygenError, match="ended already"):
        writer.stream(config=config, written=[Token(writer.tokenizer.end_id, -1.0)])


def test_bits_per_byte_is_finite_and_positive(writer):
    assert 0 < storygen.bits_per_byte(writer, ["a story", "another"]) < 100


def test_command_line_streams_the_same_story(writer, model_folders, tmp_path):
    settings = ["--strategy", "top_p", "--seed", "7", "--max-new-tokens", "30"]
    command = ["storygen", "Once upon", "--model", str(model_folders / writer.name), "--title", "Fox", *settings]
    status, printed, errors = Process(tmp_path, *command).run()
    assert status == 0
    assert printed == writer.generate("Once upon", "Fox", CONFIG).story + "\n"
    assert "seed 7" in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--top-p", "3"], "error: GenerationConfig.top_p is 3.0; it must be a number from 0.0 to 1.0\n"),
        (
            ["--model", "nowhere"],
            "error: there is no model folder 'nowhere', and a Hub repository is written user/name\n",
        ),
    ],
)
def test_command_line_errors_are_one_line(arguments, message):
    process = subprocess.run([sys.executable, "-m", "storygen", *arguments], capture_output=True, text=True)
    assert (process.returncode, process.stdout, process.stderr) == (2, "", message)
