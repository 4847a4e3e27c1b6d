"""A stand-in for the Hub: serves folders as model repositories over the HTTP contract that `huggingface_hub` reads.

It proves that our code drives the real client, not that the real Hub accepts it.
"""

import hashlib
import http.server
import json
import threading
from pathlib import Path

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class HubStandIn:
    """A server on a free local port; `repos` maps "user/name" to a folder, or to a status that is always answered."""

    def __init__(self, repos: dict[str, Path | int]) -> None:
        self.repos, self.requests = repos, []
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self):
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path."""
        self.requests.append(path)
        parts = path.split("?")[0].removeprefix("/api/models").strip("/").split("/")
        repo, rest = "/".join(parts[:2]), parts[2:]
        folder = self.repos.get(repo, 404)
        if isinstance(folder, int):
            code = {401: "GatedRepo", 403: "GatedRepo", 404: "RepoNotFound"}.get(folder, "")
            return folder, {"X-Error-Code": code}, b"{}"
        revision = rest[1] if len(rest) > 1 else "main"
        if revision not in ("main", "v1", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        if path.startswith("/api/"):
            files = [{"rfilename": file.name} for file in sorted(folder.iterdir())]
            body = {"id": repo, "modelId": repo, "sha": COMMIT, "siblings": files, "private": False, "tags": []}
            if rest and rest[0] == "tree":
                body = [
                    {"type": "file", "path": f.name, "size": f.stat().st_size, "oid": "0" * 40}
                    for f in folder.iterdir()
                ]
            return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()
        file = folder / "/".join(rest[2:])
        if not file.is_file():
            return 404, {"X-Error-Code": "EntryNotFound"}, b""
        content = file.read_bytes()
        return 200, {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}, content

    def _handler(self):
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self):
                self._send(with_body=False)

            def do_GET(self):
                self._send(with_body=True)

            def _send(self, with_body):
                status, headers, body = hub.answer(self.path)
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()
                if with_body:
                    self.wfile.write(body)

            def log_message(self, *_):
                pass

        return Handler
