"""A writer on another server: our own, in a second process's place, and stand-ins that answer badly."""

import contextlib
import dataclasses
import http.server
import json
import shutil
import threading
import time

import openai
import pytest

from storygen.arena.match import Prompt, Unfit, write_match
from storygen.arena.opening import open_arena
from storygen.catalogue import load_writers
from storygen.config import STRATEGIES, GenerationConfig
from storygen.errors import StorygenError, UnavailableError
from storygen.remote import KNOWN_ELSEWHERE, Backend, RemoteWriter, backend_of, remote_writers
from storygen.server.keys import add_key
from tests.server.conftest import OPEN, client_of, gate, serving, wait_until, writers  # noqa: F401 (fixtures)

CONFIG = GenerationConfig(max_new_tokens=20, seed=7)


@pytest.fixture(scope="module")
def server(writers):  # noqa: F811
    with serving(writers) as server:
        yield server


@pytest.fixture
def remote(server):
    return {writer.name: writer for writer in remote_writers(backend_of(f"openai:{server.url}/v1/"))}


@pytest.mark.parametrize("endings", [{}, {"stop": ("e", "th"), "full_sentence": True, "repetition_penalty": 1.3}])
@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_remote_story_is_the_local_one(remote, writers, strategy, endings):  # noqa: F811
    """Everything that a vote or the page keeps of a story: text, settings, seed, revision, log-probabilities."""
    config = CONFIG.replace(strategy=strategy, **endings)
    stream = remote["transformer"].stream("Once upon  ", " The Fox", config)
    pieces = list(stream)
    expected = writers["transformer"].generate("Once upon", "The Fox", config)
    assert "".join(pieces) == stream.result.text
    assert stream.opening == expected.opening
    told = dataclasses.replace(expected, candidates=(), logprobs=())
    assert dataclasses.replace(stream.result, logprobs=()) == told
    assert stream.result.logprobs == pytest.approx(expected.logprobs, abs=1e-4)  # rounding differs by batch
    assert 0 < stream.result.seconds_to_first_token <= stream.result.seconds


def test_notes_and_ends_come_along(remote, writers):  # noqa: F811
    config = CONFIG.replace(max_new_tokens=100, min_new_tokens=100)
    result = remote["transformer"].generate("and then " * 100, "x", config)
    expected = writers["transformer"].generate("and then " * 100, "x", config)
    assert (result.notes, result.finish_reason, len(result.notes)) == (expected.notes, "length", 2)


def test_a_seed_is_drawn_and_told(remote):
    first = remote["lstm"].generate(config=CONFIG.replace(seed=None))
    assert remote["lstm"].generate(config=first.config).text == first.text
    assert first.seed == first.config.seed is not None


def test_a_remote_stream_that_is_closed_frees_the_rows_there(gate):  # noqa: F811
    """Also before its first word, when the read has nothing to return."""
    with serving({"gate": gate}) as server:
        stream = RemoteWriter(Backend(f"{server.url}/v1"), "gate", is_ours=True).stream(config=CONFIG)
        assert next(stream) == ""
        wait_until(lambda: gate.engine.active_rows == 1)
        stream.close()
        assert list(stream) == []
        for _ in range(100):
            gate.model.let(1)
            time.sleep(0.01)
            if not gate.engine.active_rows:
                break
        assert not gate.engine.active_rows


def test_the_catalogue_offers_remote_models_alone_or_beside_local_ones(server, model_folders, tmp_path):
    backend = {"STORYGEN_BACKEND": f"openai:{server.url}/v1"}
    found, notes = load_writers(model_folders, backend)
    assert (list(found), notes) == (["transformer", "lstm"], [])
    assert all(isinstance(writer, RemoteWriter) for writer in found.values())
    shutil.copytree(model_folders / "lstm", tmp_path / "mine")
    both, notes = load_writers(tmp_path, {**backend, "STORYGEN_MODELS": str(tmp_path / "mine")})
    assert (list(both), notes) == (["mine", "transformer", "lstm"], [])
    both, notes = load_writers(tmp_path, {**backend, "STORYGEN_MODELS": str(model_folders / "lstm")})
    assert not isinstance(both["lstm"], RemoteWriter)
    assert notes == ["The model lstm of STORYGEN_BACKEND is missing: there is another one called lstm."]


def test_a_remote_model_competes_in_the_arena(server, tmp_path):
    """Its letters and their number are not known here, and must not be asked for."""
    found, _ = load_writers(tmp_path, {"STORYGEN_BACKEND": f"openai:{server.url}/v1"})
    arena = open_arena(found, {"STORYGEN_VOTES": str(tmp_path / "votes")})
    pair = (arena.contestants[0], arena.contestants[-1])
    with pytest.raises(Unfit):  # models of random weights write no whole sentence
        for _ in range(20):
            write_match(found, Prompt("The Fox"), pair, 300)
    assert arena.board.latest().votes == 0


def test_the_page_of_a_remote_model_has_no_tabs_that_look_into_it(server, tmp_path):
    from storygen.ui.page import build_page

    found, _ = load_writers(tmp_path, {"STORYGEN_BACKEND": f"openai:{server.url}/v1"})
    page = build_page(found, open_arena(found, {"STORYGEN_VOTES": str(tmp_path / "votes")}))
    tabs = [block.id for block in page.blocks.values() if type(block).__name__ == "Tab"]
    assert tabs == ["write-tab", "compare-tab", "leaderboard-tab"]


def test_our_server_may_stand_before_another(remote, writers):  # noqa: F811
    """The same API in front, wherever the model runs; only log-probabilities stay behind."""
    with serving(remote) as front:
        asked = {"model": "lstm", "prompt": "Once", "max_tokens": 20, "seed": 7, "extra_body": {"title": "The Fox"}}
        answer = client_of(front).completions.create(**asked)
        expected = writers["lstm"].generate("Once", "The Fox", CONFIG)
        assert answer.choices[0].text == expected.text
        assert answer.usage.completion_tokens == len(expected.tokens)
        assert answer.usage.prompt_tokens == expected.prompt_tokens
        with pytest.raises(Exception, match="its log-probabilities are not passed on"):
            client_of(front).completions.create(**asked, logprobs=1)


def test_a_key_is_sent_and_kept(writers, tmp_path):  # noqa: F811
    key = add_key(tmp_path / "keys", "front")
    with serving(writers, OPEN.replace(keys=str(tmp_path / "keys"))) as server:
        spec = {"STORYGEN_BACKEND": f"openai:{server.url}/v1", "STORYGEN_BACKEND_KEY": key}
        assert load_writers(tmp_path, spec)[0]["lstm"].generate(config=CONFIG).text
        with pytest.raises(StorygenError, match="does not list its models: an API key is needed .*401") as refused:
            load_writers(tmp_path, {**spec, "STORYGEN_BACKEND_KEY": key + "x"})
    assert key not in str(refused.value) + repr(backend_of(spec["STORYGEN_BACKEND"], key))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ("http://host/v1", "it must be openai:URL"),
        ("openai:host/v1", "it must be openai:URL"),
        ("openai:http://user:secret@host/v1", "must not hold a password"),
    ],
)
def test_an_address_that_is_none(value, message):
    with pytest.raises(StorygenError, match=message):
        backend_of(value)


# -- servers that are not ours -------------------------------------------------------------------------------------


@contextlib.contextmanager
def stand_in(answer, models=({"id": "export", "owned_by": "vllm"},)):
    """A server that lists the models, and answers completions by `answer(body, write)`; gives url and bodies."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.reply(200, json.dumps({"object": "list", "data": models}).encode())

        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            bodies.append(body)
            answer(body, self)

        def reply(self, status, content):
            self.send_response(status)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_):
            pass

    bodies = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=[0.02], daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", bodies
    finally:
        server.shutdown()
        server.server_close()


def events(*values):
    return b"".join(b"data: " + (v if isinstance(v, bytes) else json.dumps(v).encode()) + b"\r\n\r\n" for v in values)


def piece(text, **rest):
    return {"choices": [{"index": 0, "text": text, "finish_reason": None, **rest}]}


def test_an_export_elsewhere_gets_its_frame_and_settings(tokenizer):
    """vLLM knows neither titles nor strategies; U+2028 may stand in its JSON, and ends no line there."""
    last = json.dumps(piece(" A fox\u2028.", finish_reason="stop"), ensure_ascii=False).encode()
    usage = {"choices": [], "usage": {"prompt_tokens": 9}}
    content = b": a comment\n\n" + events(piece("One day."), last, usage, b"[DONE]")
    with stand_in(lambda _, to: to.reply(200, content)) as (url, bodies):
        [writer] = remote_writers(Backend(url))
        assert not writer.is_ours
        config = CONFIG.replace(strategy="top_k", temperature=0.5, top_k=9, stop=("The end",), seed=3)
        result = writer.generate("Once ", "The Fox", config)
        assert (result.text, result.finish_reason) == ("One day. A fox\u2028.", "end")
        assert (result.prompt_tokens, result.tokens, result.logprobs, result.revision) == (9, (), (), "")
        writer.generate(config=CONFIG.replace(strategy="greedy"))
    sent, greedy = bodies
    assert sent["prompt"] == "<|prompt|>The Fox<|story|>Once"
    assert {name: sent[name] for name in ("temperature", "top_k", "top_p", "stop", "seed", "max_tokens")} == {
        "temperature": 0.5, "top_k": 9, "top_p": 1.0, "stop": ["The end"], "seed": 3, "max_tokens": 20,
    }  # fmt: skip
    assert not {"title", "strategy"} & sent.keys()
    assert (greedy["prompt"], greedy["temperature"], greedy["stop"]) == ("<|story|>", 0.0, None)


def test_sentences_are_cut_here_and_a_stop_text_is_noticed():
    content = events(piece("One day. A fo"), piece("x", finish_reason="stop", stop_reason="The end"), b"[DONE]")
    with stand_in(lambda _, to: to.reply(200, content)) as (url, _):
        result = RemoteWriter(Backend(url), "export", is_ours=False).generate(config=CONFIG.replace(full_sentence=True))
    assert (result.text, result.finish_reason) == ("One day.", "stop")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"strategy": "beam"}, "export runs elsewhere, where strategy 'beam' is unknown; known: greedy"),
        ({"repetition_penalty": 1.2}, "export runs elsewhere, where repetition_penalty can't be set"),
    ],
)
def test_what_an_export_elsewhere_cannot_do_is_refused(settings, message):
    """A vote would be recorded for a way of decoding that never was."""
    with pytest.raises(StorygenError, match=message):
        RemoteWriter(Backend("http://127.0.0.1:1/v1"), "export", is_ours=False).stream(
            config=CONFIG.replace(**settings)
        )


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (lambda _, to: to.reply(200, events(piece("One"))), "broke the story off$"),
        (lambda _, to: to.reply(200, events(piece("One"), b"[DONE]")), "broke the story off$"),
        (
            lambda _, to: to.reply(200, events(piece("One"), {"error": {"message": "out\nof memory"}})),
            "off: out of memory",
        ),
        (lambda _, to: to.reply(200, events(b"{")), "answers in a way that is not OpenAI's"),
        (lambda _, to: to.reply(200, events([1])), "answers in a way that is not OpenAI's"),
        (lambda _, to: to.reply(200, events({"choices": [5]})), "answers in a way that is not OpenAI's"),
        (lambda _, to: to.reply(200, events({"usage": {"prompt_tokens": "many"}})), "not OpenAI's"),
        (lambda _, to: to.reply(200, events(piece("", logprobs={"token_logprobs": ["x"]}))), "not OpenAI's"),
        (lambda _, to: to.reply(200, events(piece("", notes=[{}]))), "not OpenAI's"),
        (lambda _, to: to.reply(200, b"data: " + b"x" * 3_000_000), "not OpenAI's"),
        (lambda _, to: to.reply(200, events(*[piece("x" * 300_000)] * 4)), "not OpenAI's"),
        (lambda _, to: to.reply(200, b"<html>"), "broke the story off"),
        (lambda _, to: to.reply(503, b'{"error": {"message": "busy"}}'), r"did not answer: busy \(503\)"),
        (lambda _, to: to.reply(500, b"<html>Traceback"), "did not answer: status 500"),
        (lambda _, to: to.reply(400, b'{"message": "too long"}'), r"refused the request: too long \(400\)"),
        (lambda _, to: to.reply(422, b'{"detail": "unknown: top_k"}'), r"refused the request: unknown: top_k \(422\)"),
        (lambda _, to: to.connection.close(), "cannot be reached: "),
    ],
)
def test_a_failure_is_one_clear_line(answer, message):
    with stand_in(answer) as (url, _):
        stream = RemoteWriter(Backend(url), "export", is_ours=False).stream(config=CONFIG)
        with pytest.raises(StorygenError, match=message) as failed:
            list(stream)
    assert "the engine that runs export " in str(failed.value)
    assert "\n" not in str(failed.value) and url not in str(failed.value)


def test_what_an_engine_refuses_is_the_client_s_fault_not_the_server_s():
    """A front server answered 500 to a prompt that was too long for the engine behind it."""
    with (
        stand_in(lambda _, to: to.reply(400, b'{"message": "too long"}')) as (url, _),
        serving({"export": RemoteWriter(Backend(url), "export", is_ours=False)}) as front,
        pytest.raises(openai.BadRequestError, match="refused the request: too long"),
    ):
        client_of(front).completions.create(model="export", prompt="Once", max_tokens=5)


def test_only_contestants_compete_that_the_engine_can_decode_as(tmp_path):
    """Each battle with a beam search failed, before a visitor's eyes."""
    writer = RemoteWriter(Backend("http://127.0.0.1:1/v1"), "export", is_ours=False)
    votes = {"STORYGEN_VOTES": str(tmp_path)}
    able = open_arena({"export": writer}, votes).contestants
    assert {each.config.strategy for each in able} <= set(KNOWN_ELSEWHERE)
    only_beams = tmp_path / "contestants.toml"
    only_beams.write_text('characters = 300\n[[decoding]]\nstrategy = "greedy"\n[[decoding]]\nstrategy = "beam"\n')
    with pytest.raises(StorygenError, match="can decode as 1 of its contestants do; two are needed"):
        open_arena({"export": writer}, {**votes, "STORYGEN_CONTESTANTS": str(only_beams)})


@pytest.mark.parametrize("models", [[], [5], None])
def test_a_list_of_models_that_is_none(models):
    with stand_in(None, models) as (url, _), pytest.raises(UnavailableError, match="serves no model|not OpenAI's"):
        remote_writers(Backend(url))


def test_nobody_there():
    with pytest.raises(UnavailableError, match=r"the remote engine at http://127\.0\.0\.1:1/v1 cannot be reached: "):
        remote_writers(Backend("http://127.0.0.1:1/v1"))
