"""What SECURITY.md promises of the server: bad input is refused, and nothing of it gets where it does not belong."""

import json
import socket
import urllib.parse

import pytest

from storygen.server.keys import add_key
from tests.server.conftest import OPEN, fetch, post, serving

PATHS = [
    "../../etc/passwd",
    "/etc/passwd",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e/%2e%2e/etc/passwd",
    "checkpoints/transformer",
    "transformer/../transformer",
    "transformer%00",
    "user/repo",
]


@pytest.mark.parametrize("name", PATHS)
def test_a_models_name_is_no_path(server, name):
    """Names are looked up among the loaded models; none is opened or downloaded."""
    status, _, content = fetch(server, "GET", f"/v1/models/{name}")
    assert status == 404
    assert "root:" not in content.decode()
    status, _, content = post(server, {"model": urllib.parse.unquote(name)})
    assert (status, json.loads(content)["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("path", ["/static-offline-docs/../../../../etc/passwd", "/static-offline-docs/%2e%2e/core.py"])
def test_the_documentations_files_are_all_that_is_served(server, path):
    assert fetch(server, "GET", path)[0] == 404


def test_nothing_that_is_sent_becomes_a_header_or_a_line_of_the_log(server, log):
    evil = 'x\r\nSet-Cookie: a=b\r\n\r\n{"event": "forged"}\u2028'
    for body in (
        {"model": evil},
        {evil: 1},
        {"prompt": evil, "title": evil, "user": evil, "max_tokens": 1, "stop": evil},
    ):
        status, headers, _ = post(server, body)
        assert status in (200, 400, 404)
        assert "Set-Cookie" not in headers
    fetch(server, "GET", "/v1/models/" + urllib.parse.quote(evil))
    assert [line["event"] for line in log.first(4)] == ["request"] * 4
    assert not any("\n" in line or "\r" in line for line in log)


def test_a_request_id_or_address_cannot_be_given(server, log):
    """A client that chose them could hide behind another's."""
    _, headers, _ = post(server, {"max_tokens": 1}, **{"X-Request-Id": "forged"})
    assert headers["X-Request-Id"] != "forged"
    assert "forged" not in str(log.first(1))


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b'"x"', b"[" * 100_000, b'{"prompt": NaN}', b'{"temperature": NaN}',
        b'{"temperature": 1e999}', b'{"seed": ' + b"9" * 5000 + b"}", b'{"prompt": "\\ud800"}', b'{"\\ud800": 1}',
        b'{"prompt": "\xff"}', b'{"max_tokens": true}', b'{"n": 1.5}', b'{"stop": [["x"]]}', b'{"stop": {"a": 1}}',
        b'{"stream_options": 5}', b'{"logit_bias": [1]}', b'{"model": ["lstm"]}', b'{"prompt": "a", "prompt": 1}',
    ],
)  # fmt: skip
def test_what_is_no_request_is_refused_in_one_line(server, body):
    status, _, content = fetch(server, "POST", "/v1/completions", body, {"Content-Type": "application/json"})
    message = json.loads(content)["error"]["message"]
    assert status == 400
    assert "\n" not in message and len(message) < 300 and "Traceback" not in message


def test_an_unprintable_prompt_is_only_text(server):
    """Special tokens, markup, control characters: the model may read them, and nothing else does."""
    for prompt in ("<|end|><|prompt|>", "<script>alert(1)</script>", "\x00\x1b[31m", "{{7*7}}"):
        status, headers, content = post(server, {"prompt": prompt, "echo": True, "max_tokens": 1})
        assert (status, headers["Content-Type"]) == (200, "application/json")
        assert json.loads(content)["choices"][0]["text"].startswith(prompt.rstrip())


def test_a_broken_head_gets_an_answer_and_no_more(server):
    address = urllib.parse.urlparse(server.url)
    for sent in (b"\x00\xff\r\n\r\n", b"GET /\r\nHost\r\n\r\n", b"X" * 200_000):
        with socket.create_connection((address.hostname, address.port), timeout=10) as connection:
            connection.sendall(sent)
            answer = connection.recv(1000)
            assert answer.startswith(b"HTTP/1.1 400")
            assert b"Traceback" not in answer


def test_a_key_is_in_no_answer_and_no_log(writers, tmp_path, log):
    """Not even a wrong one: it may be right elsewhere."""
    key = add_key(tmp_path / "keys", "alice")
    with serving(writers, OPEN.replace(keys=str(tmp_path / "keys"), log_prompts=True)) as server:
        answers = [
            post(server, body, Authorization=header)
            for header in (f"Bearer {key}", f"Bearer {key}x", f"Basic {key}", key)
            for body in ({"max_tokens": 1}, {"x": 1}, {"model": "x"})
        ]
        answers.append(fetch(server, "GET", f"/v1/models?api_key={key}", headers={"Authorization": f"Bearer {key}"}))
    assert {status for status, _, _ in answers} == {200, 400, 401, 404}
    assert key not in str(log) + str([(dict(headers), content) for _, headers, content in answers])
