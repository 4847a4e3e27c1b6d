"""`python -m storygen.server` as it is started and stopped."""

import json
import os
import re
import signal
import subprocess
import sys

import pytest

from tests.server.conftest import client_of, wait_until


class Process:
    """The server as a process of its own; its log is read from a file."""

    def __init__(self, folder, models, *flags):
        self.log = folder / "log"
        command = [sys.executable, "-m", "storygen.server", "--port", "0", "--no-page", *flags]
        with self.log.open("w") as log:
            environment = {**os.environ, "STORYGEN_MODELS": models}
            self.process = subprocess.Popen(command, stderr=log, stdout=log, env=environment)

    @property
    def url(self):
        wait_until(lambda: self.process.poll() is not None or "running on" in self.log.read_text(), seconds=60)
        return re.search(r"running on (http://[\d.:]+)", self.log.read_text())[1]


@pytest.fixture
def start(tmp_path, model_folders):
    started = []

    def start(*flags):
        started.append(Process(tmp_path, str(model_folders / "lstm"), *flags))
        return started[-1]

    yield start
    for each in started:
        each.process.kill()
        each.process.wait()


def test_told_to_stop_it_finishes_what_it_has_and_ends_well(start):
    """By default Python dies of SIGTERM: what is done at its end, as saving ratings elsewhere, would be left undone."""
    server = start("--host", "0.0.0.0")
    url = server.url.replace("0.0.0.0", "127.0.0.1")
    asked = {"model": "lstm", "prompt": "Once", "max_tokens": 400, "extra_body": {"min_new_tokens": 400}}
    stream = client_of(type("At", (), {"url": url})).completions.create(**asked, stream=True)
    chunks = [next(stream)]
    server.process.send_signal(signal.SIGTERM)
    chunks += stream
    assert chunks[-1].choices[0].finish_reason == "length"
    assert server.process.wait(20) == 0
    lines = [json.loads(line) for line in server.log.read_text().splitlines()]
    assert "there are no keys: whoever reaches this address may use it" in [line["event"] for line in lines]
    assert [line["written"] for line in lines if line["event"] == "request"] == [400]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--port", "70000"], "error: ServerConfig.port is 70000; it must be a whole number from 0 to 65535\n"),
        (["--cors-origins", "*"], "error: ServerConfig.cors_origins is ('*',); without keys name the origins"),
    ],
)
def test_what_is_wrong_at_the_start_is_one_line(start, flags, message):
    server = start(*flags)
    assert server.process.wait(60) == 2
    assert server.log.read_text().startswith(message)
    assert server.log.read_text().count("\n") == 1
