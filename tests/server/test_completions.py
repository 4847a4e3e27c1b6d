"""What the stock OpenAI client gets."""

import itertools
import json
import urllib.request

import openai
import pytest

from storygen.config import GenerationConfig
from storygen.decoding import Token
from storygen.server.completions import logprobs_of, token_text
from storygen.server.schema import SETTINGS, CompletionRequest
from storygen.tokenizers import train_tokenizer

SETTING = {"max_tokens": 20, "seed": 7}
CONFIG = GenerationConfig(max_new_tokens=20, seed=7)


def ask(server, **body):
    """The JSON of an answer, as any HTTP client gets it."""
    request = urllib.request.Request(
        f"{server.url}/v1/completions", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def test_a_story_is_the_writers(client, writers):
    """The same text, end and counts as in Python, through the client that others write for another server."""
    result = writers["lstm"].generate("Once upon ", "The Fox", CONFIG)
    answer = client.completions.create(model="lstm", prompt="Once upon ", extra_body={"title": "The Fox"}, **SETTING)
    assert (answer.object, answer.model, answer.system_fingerprint) == ("text_completion", "lstm", result.revision)
    [choice] = answer.choices
    assert (choice.text, choice.index, choice.logprobs) == (result.text, 0, None)
    assert choice.finish_reason == {"end": "stop"}.get(result.finish_reason, "length")
    assert choice.model_extra == {"ending": result.finish_reason, "seed": 7, "notes": list(result.notes)}
    usage = answer.usage
    assert (usage.prompt_tokens, usage.completion_tokens) == (result.prompt_tokens, len(result.tokens))
    assert usage.total_tokens == usage.prompt_tokens + usage.completion_tokens
    assert result.prompt_tokens == len(writers["lstm"].prompt_tokens("Once upon", "The Fox")[0])


@pytest.mark.parametrize("strategy", ["top_p", "beam"])
@pytest.mark.parametrize("endings", [{}, {"stop": ["e", "th"], "full_sentence": True}])
def test_a_stream_adds_up_to_the_whole(client, strategy, endings):
    own = {"strategy": strategy, **endings}
    asked = {"model": "transformer", "prompt": "Once", "logprobs": 2, "echo": True, "extra_body": own, **SETTING}
    [whole] = client.completions.create(**asked).choices
    chunks = list(client.completions.create(**asked, stream=True, stream_options={"include_usage": True}))
    assert len({chunk.id for chunk in chunks}) == 1
    *pieces, end, usage = chunks
    assert "".join(chunk.choices[0].text for chunk in (*pieces, end)) == whole.text
    assert {chunk.choices[0].finish_reason for chunk in pieces} == {None}
    assert {chunk.usage for chunk in (*pieces, end)} == {None}
    assert end.choices[0].finish_reason == whole.finish_reason
    assert end.choices[0].logprobs == whole.logprobs
    assert end.choices[0].seed == whole.seed
    assert (usage.choices, usage.usage.completion_tokens > 0) == ([], True)


def test_a_stream_tells_usage_only_if_asked(client):
    chunks = list(client.completions.create(model="lstm", prompt="", stream=True, **SETTING))
    assert all(chunk.choices and chunk.usage is None for chunk in chunks)


def test_prompts_and_choices_are_numbered_in_order(client, writers):
    """n for each prompt, next to each other; the i-th of each is what its seed alone gives."""
    asked = {"model": "transformer", "prompt": ["Once", "The king"], "n": 2, **SETTING}
    answer = client.completions.create(**asked)
    expected = [
        writers["transformer"].generate(prompt, "", CONFIG.replace(seed=seed)).text
        for prompt in ("Once", "The king")
        for seed in (7, 8)
    ]
    assert [choice.text for choice in answer.choices] == expected
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    texts = ["", "", "", ""]
    for chunk in client.completions.create(
        model="transformer", prompt=["Once", "The king"], n=2, stream=True, **SETTING
    ):
        texts[chunk.choices[0].index] += chunk.choices[0].text
    assert texts == expected


def test_what_is_not_given_is_as_on_the_page(server, writers):
    answer = ask(server)
    seed = answer["choices"][0]["seed"]
    assert (
        answer["choices"][0]["text"] == next(iter(writers.values())).generate(config=GenerationConfig(seed=seed)).text
    )


def test_every_setting_reaches_the_writer(server):
    """A field that is described but never read would be passed over without a word."""
    given = {
        "strategy": "diverse_beam", "num_beams": 4, "num_groups": 4, "length_penalty": 0.5, "early_stopping": "never",
        "diversity_penalty": 2.0, "repetition_penalty": 1.2, "no_repeat_ngram": 3, "min_new_tokens": 2,
        "stop": ["x"], "full_sentence": True, "max_tokens": 50, "seed": 1,
    }  # fmt: skip
    config = CompletionRequest(**given).generation_config()
    expected = {**given, "max_new_tokens": given["max_tokens"], "stop": ("x",)}
    del expected["max_tokens"]
    assert config == GenerationConfig(**expected)
    rest = {"typical": "typical_p", "min_p": "min_p", "top_k_top_p": "top_k", "top_p": "top_p", "sample": "temperature"}
    rest["best_of_n"] = "num_stories"
    for strategy, name in rest.items():
        value = 3 if name in ("top_k", "num_stories") else 0.3
        assert getattr(CompletionRequest(strategy=strategy, **{name: value}).generation_config(), name) == value
    assert {*given, *rest.values()} == set(SETTINGS)


def test_log_probabilities_are_those_of_the_tokens(client, writers):
    writer = writers["transformer"]
    result = writer.generate("Once", config=CONFIG, explain=True)
    asked = {"model": "transformer", "prompt": "Once", **SETTING}
    told = client.completions.create(**asked, logprobs=3).choices[0].logprobs
    assert told.token_logprobs == pytest.approx(result.logprobs)
    assert told.token_ids == list(result.tokens)
    assert told.tokens == [token_text(writer.tokenizer, token) for token in result.tokens]
    assert [len(each) for each in told.top_logprobs] == [3] * len(result.tokens)
    first = result.explained[0].alternatives
    assert told.top_logprobs[0] == {token_text(writer.tokenizer, id): pytest.approx(value) for id, value in first[:3]}
    bare = client.completions.create(**asked, logprobs=0).choices[0].logprobs
    assert (bare.token_logprobs, bare.top_logprobs) == (pytest.approx(told.token_logprobs), None)


def test_echo_with_log_probabilities_scores_the_prompt(client, writers):
    """What evaluation tools ask for: how likely is this text? Against one pass of the model over it."""
    import torch

    writer, text = writers["lstm"], "Once upon a time there was a fox"
    told = client.completions.create(model="lstm", prompt=text, max_tokens=1, logprobs=1, echo=True, seed=1).choices[0]
    tokens, _ = writer.prompt_tokens(text, "")
    with torch.inference_mode():
        logits, _ = writer.model(torch.tensor([tokens[:-1]]))
    expected = logits[0].log_softmax(-1).gather(1, torch.tensor(tokens[1:])[:, None])[:, 0].tolist()
    assert told.logprobs.token_logprobs[:-1] == pytest.approx(expected, abs=1e-4)
    assert "".join(told.logprobs.tokens[:-1]) == text
    offsets = told.logprobs.text_offset
    assert [told.text[a:b] for a, b in itertools.pairwise(offsets)] == told.logprobs.tokens[:-1]


def test_half_a_character_is_told_by_its_bytes(tokenizer):
    """A fox is four bytes, which no small vocabulary has as one token; the offsets count characters."""
    ids = tokenizer.encode("a🦊b")
    told = logprobs_of([Token(id, -1.0) for id in [*ids, tokenizer.end_id]], tokenizer, 0, 5)
    assert told["tokens"] == ["a", "bytes:\\xf0", "bytes:\\x9f", "bytes:\\xa6", "bytes:\\x8a", "b", "<|end|>"]
    assert told["text_offset"] == [5, 6, 6, 6, 6, 7, 8]


def test_a_lossy_tokenizer_has_tokens_too(tales):
    wordpiece = train_tokenizer("wordpiece", tales[:20], 300)
    assert [token_text(wordpiece, token) for token in range(wordpiece.vocab_size)][-1] == "<|end|>"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"top_p": 3}, "top_p is 3; it must be a number from 0.0 to 1.0"),
        ({"max_tokens": 0}, "max_tokens is 0; it must be a whole number from 1 to 2000"),
        ({"temperature": "hot"}, "temperature is 'hot'; it must be a number"),
        ({"strategy": "topp"}, "unknown strategy 'topp'; did you mean 'top_p'?"),
        ({"tittle": "x"}, "unknown field 'tittle'; did you mean 'title'?"),
        (
            {"top_k": 5, "strategy": "top_p"},
            "top_k is given, but strategy 'top_p' has no use for it; those that have: top_k, top_k_top_p",
        ),
        ({"prompt": [1, 2]}, "prompt: Input should be a valid string"),
        ({"prompt": []}, "prompt: List should have at least 1 item"),
        ({"prompt": "x" * 20_001}, "prompt: String should have at most 20000 characters"),
        ({"n": 17}, "n: Input should be less than or equal to 16"),
        ({"n": 2, "strategy": "beam"}, "n is 2; strategy 'beam' has one story for a prompt, so n must be 1"),
        ({"prompt": [""] * 9, "n": 2, "max_tokens": 5}, "prompts x n x beams is 18; a request may ask for 16"),
        ({"prompt": [""] * 9, "max_tokens": 2000}, "prompts x n x beams x max_tokens is 18000; it may be 8000"),
        ({"strategy": "beam", "num_beams": 16, "max_tokens": 600}, "with 16 beams it must be at most 500"),
        ({"best_of": 3}, "best_of is not offered here"),
        ({"suffix": "x"}, "suffix is not offered here"),
        ({"presence_penalty": 1}, "presence_penalty is not offered here"),
        ({"logit_bias": {"5": 1}}, "logit_bias is not offered here"),
        ({"stop": ""}, "stop is ('',); each text must have 1 to 100 characters"),
        ({"logprobs": 6}, "logprobs: Input should be less than or equal to 5"),
    ],
)
def test_a_bad_request_is_told_what_would_be_right(client, body, message):
    with pytest.raises(openai.BadRequestError) as refused:
        client.post("/completions", body=body, cast_to=object)
    assert message in refused.value.body["message"]
    assert (refused.value.body["type"], refused.value.status_code) == ("invalid_request_error", 400)


def test_what_clients_send_without_meaning_it_is_taken(client):
    """LangChain sends OpenAI's defaults with every request."""
    answer = client.completions.create(
        model="lstm", prompt="Once", n=1, best_of=1, presence_penalty=0, frequency_penalty=0, logit_bias={}, suffix="",
        user="somebody", top_p=1, temperature=0.7, max_tokens=3, stop=None, extra_body={"strategy": "beam"},
    )  # fmt: skip
    assert answer.usage.completion_tokens <= 3


def test_models_are_listed(client, writers):
    assert [(model.id, model.revision) for model in client.models.list()] == [
        (name, writer.revision) for name, writer in writers.items()
    ]
    assert client.models.retrieve("lstm").owned_by == "storygen"


def test_a_filter_without_a_strategy_implies_one(client, writers):
    """Clients of other servers know of no strategies: top_k alone was refused."""
    asked = {"model": "lstm", "prompt": "Once", "max_tokens": 10, "seed": 7}
    for given, strategy in (({"top_k": 5}, "top_k_top_p"), ({"min_p": 0.2}, "min_p")):
        config = GenerationConfig(strategy=strategy, max_new_tokens=10, seed=7, **given)
        answer = client.completions.create(**asked, extra_body=given)
        assert answer.choices[0].text == writers["lstm"].generate("Once", config=config).text


def test_an_unknown_model_is_not_found(client):
    for ask in (client.models.retrieve, lambda name: client.completions.create(model=name, prompt="")):
        with pytest.raises(openai.NotFoundError) as refused:
            ask("lstn")
        assert refused.value.code == "model_not_found"
        assert "unknown model 'lstn'; did you mean 'lstm'? known: transformer, lstm" in str(refused.value)
