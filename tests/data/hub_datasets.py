"""A stand-in for the Hub's datasets: serves folders over the HTTP contract that `datasets` streams from.

It proves that our code drives the real client, not that the real Hub accepts it.
"""

import http.server
import json
from pathlib import Path
from urllib.parse import parse_qs, unquote

from tests.hub import COMMIT, HubStandIn

CUT = "cut"
CODES = {401: "GatedRepo", 403: "GatedRepo", 404: "RepoNotFound"}
"""What the Hub's header X-Error-Code says with a status."""


class DatasetHubStandIn(HubStandIn):
    """`repos` maps "user/name" to a folder, or to a status that is always answered.

    `faults` says for the end of a path how its next requests fail, one after the other: with a status, or CUT in the
    middle of the body.
    """

    def __init__(self, repos: dict[str, Path | int]) -> None:
        super().__init__(repos)
        self.faults: dict[str, list[int | str]] = {}

    def answer(self, path: str) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body for a path: /datasets/user/name/resolve/revision/file, or one of the API."""
        self.requests.append(path)
        is_api = path.startswith("/api/datasets/")
        path, _, query = unquote(path).partition("?")
        owner, name, *rest = path.removeprefix("/api").removeprefix("/datasets/").split("/")
        folder = self.repos.get(f"{owner}/{name}", 404)
        if isinstance(folder, int):
            return folder, {"X-Error-Code": CODES.get(folder, "")}, b"{}"
        kind, revision, *inside = [*rest, "", "main"][:2] + rest[2:] if rest else ["", "main"]
        if revision not in ("main", "v1", COMMIT):
            return 404, {"X-Error-Code": "RevisionNotFound"}, b"{}"
        place = folder.joinpath(*inside)
        if not is_api:
            if not place.is_file():
                return 404, {"X-Error-Code": "EntryNotFound"}, b""
            return 200, {"ETag": f'"{place.name}"', "X-Repo-Commit": COMMIT}, place.read_bytes()
        if kind == "tree":
            body = [_entry(path, folder) for path in sorted(place.iterdir())] if place.is_dir() else None
        elif kind == "paths-info":
            asked = [folder / name for name in parse_qs(query).get("paths", [])]
            body = [_entry(path, folder) for path in asked if path.exists()]
        else:
            body = {"id": f"{owner}/{name}", "sha": COMMIT, "siblings": [], "private": False, "tags": []}
        if body is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
        return 200, {"Content-Type": "application/json"}, json.dumps(body).encode()

    def next_fault(self, path: str) -> int | str | None:
        """How this request must fail, if it must."""
        for end, faults in self.faults.items():
            if path.endswith(end) and faults:
                return faults.pop(0)
        return None

    def _handler(self):
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_HEAD(self):
                self._send(*hub.answer(self.path))

            def do_GET(self):
                status, headers, body = hub.answer(self.path)
                fault = hub.next_fault(self.path)
                if isinstance(fault, int):
                    status, headers, body = fault, {"X-Error-Code": CODES.get(fault, "")}, b""
                elif status == 200 and "Range" in self.headers:
                    first, last = map(int, self.headers["Range"].removeprefix("bytes=").split("-"))
                    headers["Content-Range"] = f"bytes {first}-{last}/{len(body)}"
                    status, body = 206, body[first : last + 1]
                self._send(status, headers, body)
                self.wfile.write(body[: len(body) // 2] if fault == CUT else body)

            def do_POST(self):
                form = self.rfile.read(int(self.headers["Content-Length"])).decode()
                status, headers, body = hub.answer(f"{self.path}?{form}")
                self._send(status, headers, body)
                self.wfile.write(body)

            def _send(self, status, headers, body):
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(body))}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *_):
                pass

        return Handler


def _entry(path: Path, folder: Path) -> dict:
    """A file or folder as the listings of the Hub's API have it."""
    kind, size = ("directory", 0) if path.is_dir() else ("file", path.stat().st_size)
    return {"type": kind, "path": path.relative_to(folder).as_posix(), "size": size, "oid": "0" * 40}
