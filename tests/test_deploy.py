"""The files in deploy/: linted, and held against what they start. No container engine is needed for that."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scripts.try_dockerfile import instructions
from storygen.cli import Parser, add_settings, settings_in
from storygen.server.keys import add_key
from storygen.server.settings import ServerConfig

ROOT = Path(__file__).parents[1]
DEPLOY = ROOT / "deploy"
DOCKERFILES = (DEPLOY / "Dockerfile", DEPLOY / "lambda" / "Dockerfile")


def steps(dockerfile, word):
    """The arguments of all steps of a kind."""
    return [arguments for name, arguments in instructions(dockerfile) if name == word]


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=["server", "lambda"])
def test_hadolint_has_nothing_to_say(dockerfile):
    linter = Path(sys.executable).with_name("hadolint")
    found = subprocess.run([linter, dockerfile], capture_output=True, text=True)
    assert (found.returncode, found.stdout) == (0, "")


@pytest.mark.parametrize("dockerfile", DOCKERFILES, ids=["server", "lambda"])
def test_what_is_copied_is_there_and_sent_to_the_builder(dockerfile):
    """A file that .dockerignore leaves out breaks the build only where there is a container engine."""
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    sent = [line.removeprefix("!") for line in lines if line.startswith("!")]
    for step in steps(dockerfile, "COPY"):
        source = step.split()[0]
        assert (ROOT / source).exists()
        assert any(source == each or source.startswith(each + "/") for each in sent)


def test_the_image_runs_as_nobody_special_and_is_looked_after():
    [user] = steps(DEPLOY / "Dockerfile", "USER")
    assert int(user) > 1000
    [check] = steps(DEPLOY / "Dockerfile", "HEALTHCHECK")
    assert f"127.0.0.1:{ServerConfig().port}/readyz" in check


def test_the_servers_flags_are_flags_of_the_server():
    [entry] = steps(DEPLOY / "Dockerfile", "ENTRYPOINT")
    service = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["storygen"]
    python, module, name, *flags = [*json.loads(entry), *service["command"]]
    assert (python, module, name) == ("python", "-m", "storygen.server")
    parser = Parser()
    add_settings(parser, ServerConfig)
    config = ServerConfig.from_dict(settings_in(parser.parse_args(flags), ServerConfig))
    assert (config.host, config.keys) == ("0.0.0.0", "/run/secrets/keys")
    assert int(service["stop_grace_period"].removesuffix("s")) >= config.grace_seconds + 5
    assert service["ports"] == [f"127.0.0.1:{config.port}:{config.port}"]


def test_gradio_is_needed_by_the_page_only():
    """The function on Lambda is made without it."""
    for file in ROOT.glob("storygen/**/*.py"):
        if "ui" not in file.parts:
            assert not re.search("^(import|from) (gradio|storygen.ui)", file.read_text(), re.MULTILINE), file


def names_in(requirements):
    lines = [line.split("#")[0].strip() for line in requirements.read_text().splitlines()]
    return {re.match(r"[\w-]+", line)[0].lower(): line for line in lines if line}


def test_the_functions_packages_are_the_servers_without_the_page():
    """A bound that is raised in one file and not in the other is found by users."""
    server, function = names_in(ROOT / "requirements.txt"), names_in(DEPLOY / "lambda" / "requirements.txt")
    assert server.keys() - function.keys() == {"gradio", "pyarrow", "uvicorn"}
    assert function.keys() - server.keys() == {"mangum", "awslambdaric"}
    assert all(function[name] == line for name, line in server.items() if name in function)


# -- the function on Lambda ----------------------------------------------------------------------------------------


def event(method, path, body=None, **headers):
    """An event of API Gateway's HTTP API, payload format 2.0, with the fields that it has there."""
    domain = "abc123.execute-api.eu-central-1.amazonaws.com"
    sent = {
        "accept": "*/*",
        "content-type": "application/json",
        "host": domain,
        "x-amzn-trace-id": "Root=1-64a7b0c1-0123456789abcdef01234567",
        "x-forwarded-for": "203.0.113.7",
        "x-forwarded-port": "443",
        "x-forwarded-proto": "https",
        **headers,
    }
    http = {"method": method, "path": path, "protocol": "HTTP/1.1", "sourceIp": "203.0.113.7", "userAgent": "curl/8"}
    context = {
        "accountId": "123456789012",
        "apiId": "abc123",
        "domainName": domain,
        "domainPrefix": "abc123",
        "http": http,
        "requestId": "IxYzAbCdEfG=",
        "routeKey": "$default",
        "stage": "$default",
        "time": "25/Nov/2026:12:00:00 +0000",
        "timeEpoch": 1795608000000,
    }
    return {
        "version": "2.0",
        "routeKey": "$default",
        "rawPath": path,
        "rawQueryString": "",
        "headers": sent,
        "requestContext": context,
        **({"body": json.dumps(body)} if body is not None else {}),
        "isBase64Encoded": False,
    }


@pytest.fixture
def load_handler(model_folders, monkeypatch):
    """What loads deploy/lambda/handler.py, as Lambda does, with a small model and whatever else is set."""

    def load(**environment):
        monkeypatch.setenv("STORYGEN_MODELS", str(model_folders / "lstm"))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        spec = importlib.util.spec_from_file_location("lambda_handler", DEPLOY / "lambda" / "handler.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module.handler

    return load


def test_events_of_the_gateway_are_answered(load_handler):
    handler = load_handler()
    answer = handler(event("GET", "/readyz"), None)
    assert (answer["statusCode"], answer["body"]) == (200, "ok")
    asked = {"prompt": "Once", "title": "The Fox", "max_tokens": 10, "seed": 7}
    whole = handler(event("POST", "/v1/completions", asked), None)
    text = json.loads(whole["body"])["choices"][0]["text"]
    assert (whole["statusCode"], whole["headers"]["content-type"]) == (200, "application/json")
    stream = handler(event("POST", "/v1/completions", {**asked, "stream": True}), None)
    events = [line.removeprefix("data: ") for line in stream["body"].splitlines() if line]
    assert events[-1] == "[DONE]"
    assert "".join(json.loads(each)["choices"][0]["text"] for each in events[:-1]) == text
    refused = handler(event("POST", "/v1/completions", {"top_p": 5}), None)
    assert (refused["statusCode"], json.loads(refused["body"])["error"]["code"]) == (400, "invalid_value")
    assert handler(event("GET", "/v1/models/..%2F..%2Fetc"), None)["statusCode"] == 404


def test_the_function_may_have_keys(load_handler, tmp_path):
    key = add_key(tmp_path / "keys", "alice")
    handler = load_handler(STORYGEN_KEYS=str(tmp_path / "keys"))
    assert handler(event("GET", "/v1/models"), None)["statusCode"] == 401
    assert handler(event("GET", "/v1/models", authorization=f"Bearer {key}"), None)["statusCode"] == 200
