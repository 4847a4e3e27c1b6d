"""A server under load: 50 clients with a key each, who read stories as they stream and ask for the next one at once.

    python -m benchmarks.serve --minutes 5

Server and clients share the machine. What is asked of it: no error, memory that does not grow by more than 5 %, and
every client served within 1.5 times of the fair share, its fiftieth of all tokens.
"""

import argparse
import asyncio
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from tqdm import tqdm

from storygen.server.keys import add_key

ROOT, CLIENTS, SECONDS_WARM = Path(__file__).parents[1], 50, 60
TITLES = (
    "The Fox and the Moon",
    "The King's Lost Button",
    "A bear learns to bake bread",
    "The clock that ran backwards",
)


@dataclass
class Client:
    """What a client has seen."""

    key: str
    first_word: list[float] = field(default_factory=list)
    """Seconds from each request to its first text."""
    tokens: int = 0
    stories: int = 0
    errors: list[str] = field(default_factory=list)


async def read_story(port: int, client: Client, title: str, seed: int, tokens: int) -> None:
    """Asks for a story and reads it to its end, over a plain socket: HTTP clients need more time than the server."""
    body = json.dumps(
        {"title": title, "seed": seed, "max_tokens": tokens, "stream": True, "stream_options": {"include_usage": True}}
    )
    head = (
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {client.key}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    started, first, last = time.perf_counter(), None, b""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write((head + body).encode())
        status = await reader.readline()
        async for line in reader:
            if not line.startswith(b"data: {"):  # headers, lengths of chunks, empty lines
                continue
            if first is None and b'"text": ""' not in line:
                first = time.perf_counter() - started
            last = line
    finally:
        writer.close()
    usage = json.loads(last.removeprefix(b"data: ")).get("usage") if last else None
    if usage is None:
        client.errors.append(f"{status.decode().strip()}, then {last.decode()[:200]}")
        await asyncio.sleep(0.1)
        return
    client.first_word.append(first if first is not None else time.perf_counter() - started)
    client.tokens += usage["completion_tokens"]
    client.stories += 1


async def keep_reading(port: int, client: Client, number: int, until: float, tokens: int) -> None:
    """Reads story after story."""
    draw = random.Random(number)
    while time.monotonic() < until:
        try:
            await read_story(port, client, draw.choice(TITLES), draw.randrange(2**31), tokens)
        except (OSError, ValueError) as error:
            client.errors.append(repr(error))
            await asyncio.sleep(0.1)


async def watch_memory(port: int, key: str, seconds: int, until: float) -> list[float]:
    """The server's resident memory in MB, once a second."""
    found = []
    async with httpx.AsyncClient(headers={"Authorization": f"Bearer {key}"}, timeout=60) as http:
        for _ in tqdm(range(seconds), unit="s"):
            if time.monotonic() >= until:
                break
            text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
            found.append(float(re.search(r"^process_resident_memory_bytes (\S+)", text, re.MULTILINE)[1]) / 1e6)
            await asyncio.sleep(1)
    return found


async def measure(port: int, clients: list[Client], minutes: float, tokens: int) -> tuple[list[float], float, float]:
    """Memory of the server by the second, the median wait of one client alone, and how long all were at it."""
    alone = Client(clients[0].key)
    for seed in range(5):
        await read_story(port, alone, TITLES[0], seed, tokens)
    started = time.monotonic()
    until = started + 60 * minutes
    reading = [keep_reading(port, client, number, until, tokens) for number, client in enumerate(clients)]
    memory, *_ = await asyncio.gather(watch_memory(port, alone.key, int(60 * minutes), until), *reading)
    return memory, statistics.median(alone.first_word), time.monotonic() - started


def report(clients: list[Client], memory: list[float], alone: float, seconds: float) -> bool:
    """Prints the figures; whether they are what is asked of the server."""
    waits = sorted(wait for client in clients for wait in client.first_word)
    tokens = [client.tokens for client in clients]
    errors = [error for client in clients for error in client.errors]
    fair = statistics.mean(tokens)
    warm = memory[min(SECONDS_WARM, len(memory) // 2) :]
    tenth = max(1, len(warm) // 10)
    before, after = statistics.mean(warm[:tenth]), statistics.mean(warm[-tenth:])
    rows = {
        "clients, minutes": f"{len(clients)}, {seconds / 60:.1f}",
        "stories, tokens": f"{sum(client.stories for client in clients):,}, {sum(tokens):,}",
        "tokens a second": f"{sum(tokens) / seconds:,.0f}",
        "errors": f"{len(errors)}",
        "first word, one client alone, median": f"{alone:.3f} s",
        "first word, median": f"{statistics.median(waits):.2f} s",
        "first word, p95": f"{waits[int(0.95 * len(waits))]:.2f} s",
        "first word, longest": f"{waits[-1]:.2f} s",
        "tokens of a client, least and most, of the fair share": f"{min(tokens) / fair:.2f}, {max(tokens) / fair:.2f}",
        "memory after the first minute, at the end": f"{before:.0f} MB, {after:.0f} MB ({after / before - 1:+.1%})",
    }
    print("\n| | |\n|---|---|")
    for name, value in rows.items():
        print(f"| {name} | {value} |")
    for error in sorted(set(errors))[:5]:
        print(f"error: {error}")
    return not errors and after <= 1.05 * before and fair <= 1.5 * min(tokens) and max(tokens) <= 1.5 * fair


def main() -> None:
    """Runs a server and its clients, and prints the figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serve", description=__doc__.split("\n")[0])
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--tokens", type=int, default=200, help="longest story")
    parser.add_argument("--clients", type=int, default=CLIENTS)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        keys, log = Path(folder) / "keys", Path(folder) / "log"
        clients = [Client(add_key(keys, f"client{number}")) for number in range(arguments.clients)]
        command = [sys.executable, "-m", "storygen.server", "--port", "0", "--keys", str(keys)]
        with log.open("w") as stderr:
            process = subprocess.Popen(
                command, cwd=ROOT, stderr=stderr, env={**os.environ, "STORYGEN_MODELS": "", "STORYGEN_VOTES": folder}
            )
        try:
            while not (found := re.search(r"running on http://[\d.]+:(\d+)", log.read_text())):
                if process.poll() is not None:
                    sys.exit(log.read_text())
                time.sleep(0.1)
            memory, alone, seconds = asyncio.run(measure(int(found[1]), clients, arguments.minutes, arguments.tokens))
        finally:
            process.terminate()
            process.wait()
    if not report(clients, memory, alone, seconds):
        sys.exit("that is not what is asked of it")


if __name__ == "__main__":
    main()
