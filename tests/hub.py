"""A stand-in for the Hub: a server that speaks the HTTP contract of `huggingface_hub`, fails as told, and keeps a log.

It proves that our code drives the real client, not that the real Hub accepts it; Xet is not spoken. `python -m
tests.hub` serves it until Ctrl-C, to try command lines by hand.
"""

import http.server
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from time import sleep  # the real one, also where a test shortens the waits of the client
from urllib.parse import parse_qs, unquote, urlsplit

from tests.hub_endpoints import ROUTES, TOKENS, Answer, Refusal, Repo, Request, full_name

WRITE, READ, OTHER = TOKENS
CODES = {401: "GatedRepo", 403: "GatedRepo", 404: "RepoNotFound"}
"""What the header X-Error-Code says with the status of a repository or of a fault."""


@dataclass(frozen=True)
class Cut:
    """A fault: a download ends after so many bytes of its body; another request is carried out and not answered."""

    after: int = 0


@dataclass(frozen=True)
class Slow:
    """A fault: the answer comes late."""

    seconds: float


class HubStandIn:
    """A server on a local port. `repos` maps "user/name", "datasets/user/name" or "spaces/user/name" to a folder, or to
    a status that is always answered; `put` adds others.

    `faults` maps a regular expression, searched for in "METHOD /path", to what happens to the next such requests, one
    after the other: a status in place of the answer, Cut or Slow. `requests` has all that came.
    """

    def __init__(self, repos: Mapping[str, Path | int] | None = None, port: int = 0) -> None:
        self.repos: dict[str, Repo] = {}
        self.blobs: dict[str, bytes] = {}
        self.requests: list[Request] = []
        self.faults: dict[str, list[int | Cut | Slow]] = {}
        for name, content in (repos or {}).items():
            self.put(name, content)
        self._lock = threading.Lock()
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def put(self, name: str, content: Path | int | dict[str, bytes], **settings) -> Repo:
        """Makes a repository of a folder, of files by path, or of the status that it always answers."""
        kind, _, short = full_name(name).partition("/")
        repo = self.repos[full_name(name)] = Repo(kind, short, **settings)
        if isinstance(content, int):
            repo.status = content
        elif isinstance(content, Path):
            paths = [path for path in sorted(content.rglob("*")) if path.is_file()]
            repo.add("files", {path.relative_to(content).as_posix(): path.read_bytes() for path in paths})
        else:
            repo.add("files", dict(content))
        return repo

    def repo(self, name: str) -> Repo:
        """The repository of that name, as in `repos`."""
        return self.repos[full_name(name)]

    def asked(self, pattern: str) -> list[Request]:
        """The requests in whose "METHOD /path" a regular expression is found."""
        return [request for request in self.requests if re.search(pattern, str(request))]

    def answer(self, request: Request) -> Answer:
        """What the Hub says to a request."""
        try:
            if request.token not in ("", *TOKENS):
                raise Refusal(401, "", "Invalid credentials in Authorization header")
            for methods, pattern, endpoint in ROUTES:
                if request.method in methods.split() and (found := re.fullmatch(pattern, request.path)):
                    names = {key: unquote(value) for key, value in found.groupdict().items() if value is not None}
                    with self._lock:
                        if "name" in names:
                            names["repo"] = self._found(request, names.pop("kind", "models"), names.pop("name"))
                        return endpoint(self, request, **names)
            raise Refusal(404, "", f"the stand-in does not know {request}")
        except Refusal as refusal:
            return refusal.answer

    def _found(self, request: Request, kind: str, name: str) -> Repo:
        repo = self.repos.get(f"{kind}/{name}")
        if repo is None or (repo.private and request.user != repo.owner):
            raise Refusal(404 if request.user else 401, "RepoNotFound", "Repository not found")
        if repo.status != 200:
            raise Refusal(repo.status, CODES.get(repo.status, ""))
        return repo

    def next_fault(self, request: Request) -> int | Cut | Slow | None:
        """What must happen to this request, if anything."""
        for pattern, faults in self.faults.items():
            if faults and re.search(pattern, str(request)):
                return faults.pop(0)
        return None

    def _handler(self):
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True  # which would make every answer 40 ms late

            def _serve(self):
                url = urlsplit(self.path)
                request = Request(self.command, url.path, parse_qs(url.query), self.headers, self._body())
                hub.requests.append(request)
                fault = hub.next_fault(request)
                if isinstance(fault, Slow):
                    sleep(fault.seconds)
                refused = Refusal(fault, CODES.get(fault, "")).answer if isinstance(fault, int) else None
                answer, end = refused or hub.answer(request), None
                if isinstance(fault, Cut):
                    self.close_connection, end = True, fault.after
                    if request.method != "GET":
                        return
                self.send_response(answer.status)
                for name, value in {**answer.headers, "Content-Length": str(len(answer.body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if request.method != "HEAD":
                    self.wfile.write(answer.body[:end])

            do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve

            def _body(self):
                if self.headers.get("Transfer-Encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("Content-Length", 0)))
                chunks = []
                while size := int(self.rfile.readline(), 16):
                    chunks.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(chunks)

            def log_message(self, *_):
                pass

        return Handler


if __name__ == "__main__":
    with HubStandIn(port=8899) as stand_in:
        print(
            f"export HF_ENDPOINT={stand_in.url} HF_TOKEN={WRITE} HF_HUB_DISABLE_XET=1 HF_HOME=$(mktemp -d)", flush=True
        )
        threading.Event().wait()
