"""What a server does around the stories: ends, limits, keys, headers, the log."""

import asyncio
import json
import re
import socket
import time
import urllib.parse

import openai
import pytest

from storygen.server.guard import Guard
from storygen.server.keys import add_key
from storygen.server.metrics import Metrics
from tests.server.conftest import OPEN, client_of, connect, fetch, post, serving, wait_until


def steps_until_idle(gate):
    """How many steps the model is let take until its engine has dropped all requests."""
    for steps in range(400):
        if gate.engine.active_rows + gate.engine.waiting == 0:
            return steps
        gate.model.let(1)
        time.sleep(0.01)
    return 400


def error_in(content):
    return json.loads(content)["error"]


# -- ends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("strategy", ["top_p", "beam"])
def test_a_client_that_hangs_up_frees_its_rows(gate, stream, strategy, log):
    """The model would write on for nobody, and others wait for the rows."""
    with serving({"gate": gate}) as server:
        connection = connect(server)
        body = {"stream": stream, "max_tokens": 400, "strategy": strategy, "prompt": ["", "a"]}
        connection.request("POST", "/v1/completions", json.dumps(body), {"Content-Type": "application/json"})
        wait_until(lambda: gate.engine.active_rows + gate.engine.waiting == 2)
        gate.model.let(4)
        wait_until(lambda: gate.model.allowed._value == 0 and gate.engine.active_rows > 1)
        connection.sock.shutdown(socket.SHUT_RDWR)
        connection.close()
        [line] = log.first(1)
        assert steps_until_idle(gate) < 100
    assert (line["status"], line["error"]) == (200 if stream else 499, "gone")


def test_the_deadline_ends_a_stream_with_an_error_and_frees_its_rows(gate):
    with serving({"gate": gate}, OPEN.replace(request_seconds=0.3)) as server:
        gate.model.let(3)
        with pytest.raises(openai.APIError, match="not finished within 0.3 seconds"):
            list(client_of(server).completions.create(model="gate", prompt="", max_tokens=400, stream=True))
        assert steps_until_idle(gate) < 100


def test_the_deadline_of_a_whole_answer_has_a_status(gate):
    with serving({"gate": gate}, OPEN.replace(request_seconds=0.2)) as server:
        status, _, content = post(server, {"max_tokens": 400})
        assert (status, error_in(content)["code"]) == (504, "deadline_exceeded")


def test_a_full_line_asks_to_come_again(gate):
    gate.engine.max_waiting = 1
    with serving({"gate": gate}) as server:
        connections = [connect(server) for _ in range(2)]
        in_turn = (lambda: gate.engine.active_rows == 1, lambda: gate.engine.waiting == 1)
        for connection, is_there in zip(connections, in_turn, strict=True):
            connection.request("POST", "/v1/completions", '{"max_tokens": 3}', {"Content-Type": "application/json"})
            wait_until(is_there)
        status, headers, content = post(server, {"prompt": ["a", "b"], "max_tokens": 3})
        assert (status, headers["Retry-After"]) == (503, "1")
        assert error_in(content)["message"] == "1 requests are waiting already; try again in a moment"
        gate.model.let(1000)
        assert [connection.getresponse().status for connection in connections] == [200, 200]
        wait_until(lambda: gate.engine.active_rows + gate.engine.waiting == 0)  # the half of it that was in line too
        for connection in connections:
            connection.close()


def test_a_model_that_fails_is_told_without_a_traceback(gate, log, monkeypatch):
    def broken(*_):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(gate.model, "forward", broken)
    with serving({"gate": gate}) as server:
        status, _, content = post(server, {"prompt": "a secret"})
        assert (status, error_in(content)["code"]) == (500, "internal_error")
        with pytest.raises(openai.APIError, match="could not be written on"):
            list(client_of(server).completions.create(model="gate", prompt="a secret", stream=True))
    assert not re.search("Traceback|secret", content.decode())
    assert all("out of memory" in line and "secret" not in line for line in log)


def test_a_fault_of_the_server_is_logged_by_place_and_kept_from_the_client(gate, log, monkeypatch):
    """What it was about may be a client's text."""

    def broken(*_):
        raise KeyError("a secret")

    monkeypatch.setattr(gate, "stream", broken)
    with serving({"gate": gate}) as server:
        status, _, content = post(server, {})
        assert (status, error_in(content)["message"]) == (500, "the server failed at this story")
        monkeypatch.setattr("storygen.server.routes.orders_of", broken)
        status, _, content = post(server, {})
        assert (status, error_in(content)["message"]) == (500, "the server failed at this request")
    faults = [json.loads(line) for line in log if '"at"' in line]
    assert [fault["error"] for fault in faults] == ["KeyError", "KeyError"]
    assert "in broken" not in str(faults) and "secret" not in str(log)
    assert all(any("broken" in place for place in fault["at"]) for fault in faults)


def test_a_server_that_stops_lets_stories_be_finished(gate):
    with serving({"gate": gate}) as server:
        stream = client_of(server).completions.create(model="gate", prompt="", max_tokens=5, stream=True)
        server.should_exit = True
        wait_until(lambda: not server.app.state.desk.is_open)
        gate.model.let(100)
        assert [chunk.choices[0].finish_reason for chunk in stream][-1] == "length"
        server.thread.join(5)
        assert not server.thread.is_alive()


def test_a_server_that_must_stop_tells_those_who_wait(gate):
    """A stream that just ends looks like a story that has come to its end."""
    with serving({"gate": gate}, OPEN.replace(grace_seconds=0.2)) as server:
        stream = client_of(server).completions.create(model="gate", prompt="", max_tokens=400, stream=True)
        server.should_exit = True
        with pytest.raises(openai.APIError, match="the server was stopped before the story was finished"):
            list(stream)
        gate.model.let(3)


# -- limits -------------------------------------------------------------------------------------------------------


def test_a_large_body_is_refused_before_it_is_read(writers):
    with serving(writers, OPEN.replace(body_bytes=2000)) as server:
        assert post(server, {"prompt": "x" * 1500})[0] == 200
        status, headers, content = post(server, {"prompt": "x" * 3000})
        assert (status, error_in(content)["code"], headers["Connection"]) == (413, "request_too_large", "close")
        chunks = (b"x" * 1000 for _ in range(1000))  # without a length
        connection = connect(server)
        try:
            connection.request("POST", "/v1/completions", chunks, {"Content-Type": "application/json"})
        except (BrokenPipeError, ConnectionResetError):
            pass  # the server has seen enough
        else:
            assert connection.getresponse().status == 413
        connection.close()


@pytest.mark.parametrize("sent", [b"", b"POST /v1/comp", b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nX-Slow: "])
def test_a_slow_head_loses_its_connection(writers, sent):
    with serving(writers, OPEN.replace(body_seconds=0.2)) as server:
        address = urllib.parse.urlparse(server.url)
        with socket.create_connection((address.hostname, address.port), timeout=10) as slow:
            slow.sendall(sent)
            assert slow.recv(1000) == b""


def test_a_slow_body_is_told_so(writers):
    with serving(writers, OPEN.replace(body_seconds=0.2)) as server:
        address = urllib.parse.urlparse(server.url)
        with socket.create_connection((address.hostname, address.port), timeout=10) as slow:
            slow.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n{")
            assert slow.recv(1000).startswith(b"HTTP/1.1 408")


def test_a_slow_head_timer_spares_a_connection_in_use(gate):
    """A story may take longer than a head."""
    with serving({"gate": gate}, OPEN.replace(body_seconds=0.5)) as server:
        stream = client_of(server).completions.create(model="gate", prompt="", max_tokens=2, stream=True)
        time.sleep(1.3)
        gate.model.let(10)
        assert [chunk.choices[0].finish_reason for chunk in stream][-1] == "length"


def test_a_reader_who_stops_reading_is_not_waited_for(log):
    """The answer would be held, and a connection, until the client goes."""

    async def app(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def never(_):
        await asyncio.Event().wait()

    async def receive():
        return {"type": "http.request", "body": b""}

    guard = Guard(app, OPEN.replace(request_seconds=0.1), Metrics({}))
    scope = {"type": "http", "method": "GET", "path": "/v1/models", "headers": [], "app": app}
    asyncio.run(asyncio.wait_for(guard(scope, receive, never), 5))
    assert [line["event"] for line in log.first(2)] == ["a request failed", "request"]


def test_a_minute_has_so_many_requests(writers):
    with serving(writers, OPEN.replace(requests_per_minute=2)) as server:
        assert [post(server, {"max_tokens": 1})[0] for _ in range(2)] == [200, 200]
        status, headers, content = post(server, {"max_tokens": 1})
        assert (status, error_in(content)["code"]) == (429, "rate_limit_exceeded")
        assert 25 <= int(headers["Retry-After"]) <= 30
        assert fetch(server, "GET", "/healthz")[0] == 200


def test_wrong_requests_count_too(writers):
    """Whoever sent nonsense could send it for ever."""
    with serving(writers, OPEN.replace(requests_per_minute=2)) as server:
        assert [post(server, {"max_tokens": value})[0] for value in (-1, "x", 1)] == [400, 400, 429]


def test_a_client_does_not_choose_its_address(writers, monkeypatch):
    """uvicorn takes this machine's word on addresses by default, so each header was a new allowance."""
    monkeypatch.delenv("FORWARDED_ALLOW_IPS", raising=False)
    with serving(writers, OPEN.replace(requests_per_minute=2)) as server:
        sent = [post(server, {"max_tokens": 1}, **{"X-Forwarded-For": f"203.0.113.{n}"})[0] for n in range(3)]
        assert sent == [200, 200, 429]


def test_a_client_has_so_many_stories_at_once(gate):
    with serving({"gate": gate}, OPEN.replace(rows_per_client=3)) as server:
        stream = client_of(server).completions.create(model="gate", prompt=["a", "b"], max_tokens=2, stream=True)
        status, _, content = post(server, {"prompt": ["a", "b"], "max_tokens": 2})
        assert (status, error_in(content)["message"]) == (429, "2 stories are in progress for you, of 3 that may be")
        gate.model.let(100)
        list(stream)
        assert post(server, {"prompt": ["a", "b"], "max_tokens": 2})[0] == 200


# -- keys and headers ---------------------------------------------------------------------------------------------


def test_a_key_lets_in_and_its_owner_is_in_the_log(writers, tmp_path, log):
    key = add_key(tmp_path / "keys", "alice")
    with serving(writers, OPEN.replace(keys=str(tmp_path / "keys"))) as server:
        assert client_of(server, key).completions.create(model="lstm", prompt="", max_tokens=1).choices
        assert log.first(1)[0]["client"] == "alice"
        for wrong in ("", key[:-1], key + "x", key.lower()):
            with pytest.raises(openai.AuthenticationError, match="an API key is needed"):
                client_of(server, wrong or "x").completions.create(model="lstm", prompt="", max_tokens=1)
        for path in ("/v1/models", "/v1/models/lstm", "/metrics"):
            status, headers, _ = fetch(server, "GET", path)
            assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
            assert fetch(server, "GET", path, headers={"Authorization": f"Bearer {key}"})[0] == 200
        assert fetch(server, "GET", "/readyz")[0] == 200
    assert key not in str(log)


def test_headers_are_safe_and_tell_nothing(server):
    for path in ("/v1/models", "/healthz", "/docs", "/no/such/page"):
        _, headers, _ = fetch(server, "GET", path)
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "frame-ancestors 'none'" in headers["Content-Security-Policy"]
        assert re.fullmatch("[0-9a-f]{32}", headers["X-Request-Id"])
        assert "Server" not in headers
    assert fetch(server, "GET", "/v1/models")[1]["Cache-Control"] == "no-store"


def test_other_web_pages_may_not_ask_unless_they_are_named(server, writers):
    """CORS is off: neither a preflight nor a plain form of a foreign page gets an answer that it may read."""
    ask = {"Origin": "https://page.example", "Access-Control-Request-Method": "POST"}
    assert "Access-Control-Allow-Origin" not in fetch(server, "OPTIONS", "/v1/completions", headers=ask)[1]
    assert fetch(server, "POST", "/v1/completions", "{}", {"Content-Type": "text/plain"})[0] == 400
    with serving(writers, OPEN.replace(cors_origins=("https://page.example",))) as named:
        _, headers, _ = fetch(named, "OPTIONS", "/v1/completions", headers=ask)
        assert headers["Access-Control-Allow-Origin"] == "https://page.example"
        _, headers, _ = fetch(named, "OPTIONS", "/v1/completions", headers={**ask, "Origin": "https://other.example"})
        assert "Access-Control-Allow-Origin" not in headers


# -- operation ----------------------------------------------------------------------------------------------------


def test_health_readiness_and_figures(gate):
    with serving({"gate": gate}) as server:
        assert fetch(server, "GET", "/healthz")[0] == fetch(server, "GET", "/readyz")[0] == 200
        stream = client_of(server).completions.create(model="gate", prompt="", max_tokens=2, stream=True)
        wait_until(lambda: gate.engine.active_rows == 1)
        assert 'storygen_active_rows{model="gate"} 1.0' in fetch(server, "GET", "/metrics")[2].decode()
        gate.model.let(10)
        list(stream)
        _, headers, content = fetch(server, "GET", "/metrics")
        figures = content.decode()
        assert headers["Content-Type"].startswith("text/plain; version=0.0.4")
        assert 'storygen_requests_total{route="/v1/completions",status="200"} 1.0' in figures
        assert 'storygen_tokens_total{kind="written",model="gate"} 2.0' in figures
        assert 'storygen_first_token_seconds_count{model="gate"} 1.0' in figures
        assert 'storygen_stories_total{ending="length",model="gate"} 1.0' in figures


def test_labels_do_not_grow_with_what_clients_ask_for(server):
    for number in range(3):
        fetch(server, "GET", f"/some/page/{number}")
        fetch(server, "GET", f"/v1/models/{number}")
    figures = fetch(server, "GET", "/metrics")[2].decode()
    assert 'route="/v1/models/{model:path}",status="404"' in figures
    assert not re.search(r"/some/page|models/\d", figures)


def test_the_documentation_comes_from_here_and_has_examples(server):
    page = fetch(server, "GET", "/docs")[2].decode()
    sources = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert sources and all(source.startswith("/") for source in sources)
    assert all(fetch(server, "GET", source)[0] == 200 for source in sources)
    schema = json.loads(fetch(server, "GET", "/openapi.json")[2])
    for example in schema["components"]["schemas"]["CompletionRequest"]["examples"]:
        assert post(server, {**example, "stream": False, "stream_options": None})[0] == 200
    assert "422" not in json.dumps(schema)


def test_the_log_has_a_line_for_each_request_and_no_prompt(server, log):
    post(server, {"prompt": "the secret prompt", "title": "the secret title", "stop": ["secret"], "seed": 1})
    post(server, {"prompt": "the secret prompt", "secret": 1})
    post(server, {"prompt": "secret", "stop": ["the secret" * 50]})
    lines = sorted(log.first(3), key=lambda line: line["status"])  # each comes after its answer, maybe after the next's
    assert [line["status"] for line in lines] == [200, 400, 400]
    assert {"model", "read", "written", "ending", "first_token_seconds", "address", "id"} <= lines[0].keys()
    assert "secret" not in str(log)


def test_the_log_has_prompts_if_asked(writers, log):
    with serving(writers, OPEN.replace(log_prompts=True)) as server:
        text = json.loads(post(server, {"prompt": "the prompt", "title": "a\nb"})[2])["choices"][0]["text"]
        post(server, {"prompt": "x" * 20_000})
    line, long = sorted(log.first(2), key=lambda line: len(line["prompts"][0]))
    assert len(long["prompts"][0]) == 2000
    assert (line["prompts"], line["title"], line["texts"]) == (["the prompt"], "a\nb", [text])
