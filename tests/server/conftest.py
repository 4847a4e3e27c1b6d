"""Servers on local ports, in threads of the tests' process, with small models."""

import contextlib
import http.client
import json
import logging
import threading
import time
import urllib.parse

import openai
import pytest

import storygen
from storygen.artifact import Artifact
from storygen.server.app import create_app
from storygen.server.listen import server_for
from storygen.server.log import JSONFormatter
from storygen.server.settings import ServerConfig
from storygen.writer import Writer
from tests.toys import Gate

OPEN = ServerConfig(port=0, page=False, requests_per_minute=0)


def wait_until(condition, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


@contextlib.contextmanager
def serving(writers, config=OPEN, page=None):
    """Runs a server while the block lasts; gives it, its address as `url` and its app as `app`."""
    app = create_app(writers, config, page)
    server = server_for(app, config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        wait_until(lambda: server.started)
        server.app, server.thread = app, thread
        server.url = f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield server
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive(), "the server did not stop"


def client_of(server, key="none"):
    """The stock OpenAI client; it tries once."""
    return openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0, timeout=20)


@pytest.fixture(scope="session")
def writers(model_folders):
    """Two small models, that write the same whatever else is asked."""
    return {name: storygen.load(model_folders / name) for name in ("transformer", "lstm")}


@pytest.fixture(scope="session")
def server(writers):
    """A server of the two models, without keys or limits."""
    with serving(writers) as server:
        yield server


@pytest.fixture(scope="session")
def client(server):
    return client_of(server)


@pytest.fixture
def gate(tokenizer):
    """A writer whose model stands still until `gate.model.let(steps)`."""
    writer = Writer(Artifact(Gate(tokenizer.vocab_size, never=3), tokenizer, "gate", "0"))  # never ends
    yield writer
    writer.model.let(5_000)
    writer.engine.close()


class Log(list):
    """The lines of the log; one on a request comes a moment after its answer."""

    def first(self, number):
        """The first of them, as objects."""
        wait_until(lambda: len(self) >= number)
        return [json.loads(line) for line in self[:number]]


@pytest.fixture
def log():
    """The lines that are written to the log during a test."""
    lines = Log()

    class Kept(logging.Handler):
        def emit(self, record):
            lines.append(self.format(record))

    handler, logger = Kept(), logging.getLogger("storygen.server")
    handler.setFormatter(JSONFormatter(tell_messages=False))
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    yield lines
    logger.removeHandler(handler)


def connect(server):
    return http.client.HTTPConnection(urllib.parse.urlparse(server.url).netloc, timeout=20)


def fetch(server, method, path, body=None, headers=None):
    """Status, headers and body of an answer."""
    connection = connect(server)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        connection.close()


def post(server, body, **headers):
    headers = {"Content-Type": "application/json", **headers}
    return fetch(server, "POST", "/v1/completions", json.dumps(body), headers)
