"""What the Hub answers: repositories with commits in memory, and the endpoints that `huggingface_hub` calls."""

import base64
import hashlib
import json
import re
from dataclasses import dataclass, field
from email.message import Message
from typing import Any
from urllib.parse import parse_qs

import yaml

TOKENS = {"hf_write": ("ann", "write"), "hf_read": ("ann", "read"), "hf_other": ("bob", "write")}
"""Token -> its user and role. Requests with another token are refused, those without one may read what is public."""
BINARY = (".safetensors", ".gz", ".png", ".parquet")
"""Files that go by way of LFS, as the .gitattributes of a new repository has it; large ones do too."""
LARGE, PAGE = 10_000_000, 50
"""Bytes of a file from which it is large, entries of a page of a listing."""
DATE = "2026-11-01T00:00:00.000Z"


@dataclass(frozen=True)
class Request:
    """What a client asked for."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: Message
    body: bytes

    def __str__(self):
        return f"{self.method} {self.path}"

    @property
    def token(self) -> str:
        return self.headers.get("Authorization", "").removeprefix("Bearer ")

    @property
    def user(self) -> str:
        return TOKENS.get(self.token, ("", ""))[0]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def must_write(self, owner: str) -> None:
        """Refuses a user who may not write to what the owner has."""
        if not self.user:
            raise Refusal(401, "", "Invalid username or password.")
        if TOKENS[self.token] != (owner, "write"):
            raise Refusal(403, "", f"You don't have the rights to write to the namespace {owner}")


@dataclass(frozen=True)
class Answer:
    """What comes back."""

    body: bytes = b"{}"
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)


class Refusal(Exception):
    """An answer that says no, with the Hub's name for the reason."""

    def __init__(self, status: int, code: str = "", message: str = "", **more: Any) -> None:
        headers = {"X-Error-Code": code, "X-Error-Message": message}
        self.answer = Answer(json.dumps({"error": message, **more}).encode(), status, headers)


@dataclass(frozen=True)
class Commit:
    """A state of a repository: all its files, by path."""

    id: str
    title: str
    files: dict[str, bytes]


@dataclass
class Repo:
    """A repository: its commits, oldest first, and what is set beside them. A `status` other than 200 is its answer."""

    kind: str
    name: str
    status: int = 200
    private: bool = False
    sdk: str | None = None
    hardware: str | None = None
    commits: list[Commit] = field(default_factory=lambda: [_commit("", "initial commit", {})])
    tags: dict[str, str] = field(default_factory=dict)
    secrets: dict[str, dict] = field(default_factory=dict)
    variables: dict[str, dict] = field(default_factory=dict)

    @property
    def owner(self) -> str:
        return self.name.partition("/")[0]

    @property
    def head(self) -> str:
        return self.commits[-1].id

    @property
    def files(self) -> dict[str, bytes]:
        return self.commits[-1].files

    def add(self, title: str, files: dict[str, bytes]) -> None:
        """A commit after which the repository has these files."""
        self.commits.append(_commit(self.head, title, files))

    def at(self, revision: str) -> Commit:
        """The commit of a branch, a tag or an id."""
        wanted = self.head if revision == "main" else self.tags.get(revision, revision)
        for commit in self.commits:
            if commit.id == wanted:
                return commit
        raise Refusal(404, "RevisionNotFound", f"no revision {revision}")


def whoami(hub, request):
    if not request.user:
        raise Refusal(401, "", "Invalid credentials in Authorization header")
    auth = {"type": "access_token", "accessToken": {"displayName": "stand-in", "role": TOKENS[request.token][1]}}
    about = {"name": request.user, "fullname": request.user, "avatarUrl": f"{hub.url}/a.svg", "orgs": []}
    return _json({"type": "user", **about, "auth": auth})


def create(hub, request):
    asked = request.json
    kind, owner = asked.get("type", "model") + "s", asked.get("organization") or request.user
    name = f"{owner}/{asked['name']}"
    url = f"{hub.url}/{'' if kind == 'models' else kind + '/'}{name}"
    request.must_write(owner)
    if f"{kind}/{name}" in hub.repos:
        raise Refusal(409, "", f"You already created this {kind[:-1]} repo", url=url)
    repo = hub.repos[f"{kind}/{name}"] = Repo(kind, name, private=asked.get("visibility") == "private")
    repo.sdk, repo.hardware = asked.get("sdk"), asked.get("hardware")
    for given in ("secrets", "variables"):
        getattr(repo, given).update({item["key"]: item for item in asked.get(given, [])})
    return _json({"url": url, "name": name})


def delete(hub, request):
    asked = request.json
    owner = asked.get("organization") or request.user
    request.must_write(owner)
    if hub.repos.pop(f"{asked.get('type', 'model')}s/{owner}/{asked['name']}", None) is None:
        raise Refusal(404, "RepoNotFound", "Repository not found")
    return Answer()


def validate_yaml(hub, request):
    errors = [] if _front_matter(request.json["content"]) is not None else [{"message": "it is not valid YAML"}]
    return _json({"errors": errors, "warnings": []}, 400 if errors else 200)


def list_repos(hub, request, kind):
    author, wanted = request.query.get("author", [""])[0], set(request.query.get("filter", []))
    repos = [repo for repo in hub.repos.values() if repo.kind == kind and repo.status == 200]
    shown = [repo for repo in repos if author in ("", repo.owner) and not (repo.private and request.user != repo.owner)]
    return _json([about for about in map(_about, shown) if wanted <= set(about["tags"])])


def info(hub, request, repo, revision="main"):
    return _json(_about(repo, repo.at(revision)))


def preupload(hub, request, repo, revision):
    request.must_write(repo.owner)
    there, files = repo.at(revision).files, []
    for path, size in ((file["path"], file["size"]) for file in request.json["files"]):
        oid = _oid(path, there[path]) if path in there else None
        mode = "lfs" if _is_large(path, size) else "regular"
        files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
    return _json({"files": files})


def lfs_batch(hub, request, repo):
    request.must_write(repo.owner)
    objects = request.json["objects"]
    for item in objects:
        if item["oid"] not in hub.blobs:
            item["actions"] = {"upload": {"href": f"{hub.url}/_lfs/{item['oid']}"}}
    return _json({"transfer": "basic", "objects": objects})


def lfs_put(hub, request, oid):
    if hashlib.sha256(request.body).hexdigest() != oid:
        raise Refusal(400, "", "the content is not what its SHA-256 says")
    hub.blobs[oid] = request.body
    return Answer()


def commit(hub, request, repo, revision):
    request.must_write(repo.owner)
    [header, *operations] = map(json.loads, request.body.splitlines())
    header, files = header["value"], dict(repo.at(revision).files)
    if header.get("parentCommit", repo.head) != repo.head:
        raise Refusal(412, "", "A commit has happened since. Please refresh and try again.")
    for key, value in ((operation["key"], operation["value"]) for operation in operations):
        path = value["path"]
        if key == "file":
            files[path] = base64.b64decode(value["content"])
        elif key == "lfsFile":
            if value["oid"] not in hub.blobs:
                raise Refusal(400, "", f"{path} was not uploaded")
            files[path] = hub.blobs[value["oid"]]
        elif key == "deletedFile":
            del files[path]
        elif key == "deletedFolder":
            files = {name: content for name, content in files.items() if not name.startswith(path)}
    repo.add(header["summary"], files)
    return _json({"commitUrl": f"{hub.url}/{repo.name}/commit/{repo.head}", "commitOid": repo.head, "success": True})


def tree(hub, request, repo, revision, folder=""):
    files = repo.at(revision).files
    entries = _entries({path: files[path] for path in files if path.startswith(f"{folder}/" if folder else "")})
    if folder and not entries:
        raise Refusal(404, "EntryNotFound", f"no folder {folder}")
    recursive = request.query.get("recursive", ["false"])[0].lower()
    if recursive != "true":
        entries = [entry for entry in entries if entry["path"].rpartition("/")[0] == folder]
    start = int(request.query.get("cursor", ["0"])[0])
    following = f'<{hub.url}{request.path}?recursive={recursive}&cursor={start + PAGE}>; rel="next"'
    return _json(entries[start : start + PAGE], **({"Link": following} if len(entries) > start + PAGE else {}))


def paths_info(hub, request, repo, revision):
    is_json = request.headers["Content-Type"] == "application/json"
    asked = request.json["paths"] if is_json else parse_qs(request.body.decode()).get("paths", [])
    return _json([entry for entry in _entries(repo.at(revision).files) if entry["path"] in asked])


def resolve(hub, request, repo, revision, path):
    found = repo.at(revision)
    if path not in found.files:
        refusal = Refusal(404, "EntryNotFound", f"no file {path}")
        refusal.answer.headers["X-Repo-Commit"] = found.id  # so that the client can remember it
        raise refusal
    content = found.files[path]
    headers = {"ETag": f'"{_oid(path, content)}"', "X-Repo-Commit": found.id, "Accept-Ranges": "bytes"}
    if wanted := re.fullmatch(r"bytes=(\d+)-(\d*)", request.headers.get("Range", "")):
        first, last = int(wanted[1]), int(wanted[2] or len(content) - 1)
        headers["Content-Range"] = f"bytes {first}-{last}/{len(content)}"
        return Answer(content[first : last + 1], 206, headers)
    return Answer(content, 200, headers)


def refs(hub, request, repo):
    tags = [{"name": name, "ref": f"refs/tags/{name}", "targetCommit": id} for name, id in repo.tags.items()]
    main = {"name": "main", "ref": "refs/heads/main", "targetCommit": repo.head}
    return _json({"branches": [main], "converts": [], "tags": tags})


def commits(hub, request, repo, revision):
    until = repo.commits.index(repo.at(revision)) + 1
    about = {"message": "", "authors": [{"user": repo.owner}], "date": DATE}
    return _json([{"id": each.id, "title": each.title, **about} for each in reversed(repo.commits[:until])])


def tag(hub, request, repo, revision):
    request.must_write(repo.owner)
    if request.json["tag"] in repo.tags:
        raise Refusal(409, "", "Tag already exists")
    repo.tags[request.json["tag"]] = repo.at(revision).id
    return Answer()


def settings(hub, request, repo, what):
    request.must_write(repo.owner)
    place = getattr(repo, what)
    if request.method == "POST":
        place[request.json["key"]] = request.json
    elif request.method == "DELETE":
        place.pop(request.json["key"], None)
    shown = ("description",) if what == "secrets" else ("value", "description")
    return _json({key: {name: item.get(name) for name in shown} for key, item in place.items()})


def runtime(hub, request, repo):
    if request.method == "POST":
        request.must_write(repo.owner)
        repo.hardware = request.json["flavor"]
    return _json({"stage": "BUILDING", "hardware": {"current": None, "requested": repo.hardware}})


_REPO = r"/api/(?P<kind>models|datasets|spaces)/(?P<name>[^/]+/[^/]+)"
_PAGE = r"/(?:(?P<kind>datasets|spaces)/)?(?P<name>[^/]+/[^/]+)"
_AT = r"/(?P<revision>[^/]+)"
ROUTES = (
    ("GET", r"/api/whoami-v2", whoami),
    ("POST", r"/api/repos/create", create),
    ("DELETE", r"/api/repos/delete", delete),
    ("POST", r"/api/validate-yaml", validate_yaml),
    ("GET", r"/api/(?P<kind>models|datasets|spaces)", list_repos),
    ("GET", _REPO, info),
    ("GET", f"{_REPO}/revision{_AT}", info),
    ("POST", f"{_REPO}/preupload{_AT}", preupload),
    ("POST", rf"{_PAGE}\.git/info/lfs/objects/batch", lfs_batch),
    ("PUT", r"/_lfs/(?P<oid>[0-9a-f]{64})", lfs_put),
    ("POST", f"{_REPO}/commit{_AT}", commit),
    ("GET", f"{_REPO}/tree{_AT}(?:/(?P<folder>.+))?", tree),
    ("POST", f"{_REPO}/paths-info{_AT}", paths_info),
    ("GET HEAD", f"{_PAGE}/resolve{_AT}/(?P<path>.+)", resolve),
    ("GET", f"{_REPO}/refs", refs),
    ("GET", f"{_REPO}/commits{_AT}", commits),
    ("POST", f"{_REPO}/tag{_AT}", tag),
    ("GET POST DELETE", f"{_REPO}/(?P<what>secrets|variables)", settings),
    ("GET POST", f"{_REPO}/(?:runtime|hardware)", runtime),
)
"""Methods, path and endpoint. An endpoint is given the stand-in, the request, and what the path names."""


def full_name(name: str) -> str:
    """The name with the kind of repository before it: models, if it has none."""
    return name if name.startswith(("models/", "datasets/", "spaces/")) else f"models/{name}"


def _json(values: Any, status: int = 200, **headers: str) -> Answer:
    return Answer(json.dumps(values).encode(), status, {"Content-Type": "application/json", **headers})


def _commit(parent: str, title: str, files: dict[str, bytes]) -> Commit:
    whole = hashlib.sha1(f"{parent} {title}".encode())
    for path, content in sorted(files.items()):
        whole.update(path.encode() + hashlib.sha1(content).digest())
    return Commit(whole.hexdigest(), title, files)


def _is_large(path: str, size: int) -> bool:
    return size > 0 and (path.endswith(BINARY) or size > LARGE)


def _oid(path: str, content: bytes) -> str:
    """What the ETag and the client's check for changes are made of: SHA-256 for LFS, git's SHA-1 for the rest."""
    if _is_large(path, len(content)):
        return hashlib.sha256(content).hexdigest()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


def _entries(files: dict[str, bytes]) -> list[dict]:
    """Files and folders as the listings have them."""
    folders = {path[:end] for path in files for end in range(len(path)) if path[end] == "/"}
    entries = [{"type": "directory", "path": path, "size": 0, "oid": "0" * 40} for path in folders]
    for path, content in files.items():
        entry = {"type": "file", "path": path, "size": len(content), "oid": _oid(path, content)}
        if _is_large(path, len(content)):
            entry["lfs"] = {"oid": entry["oid"], "size": len(content), "pointerSize": 134}
        entries.append(entry)
    return sorted(entries, key=lambda entry: entry["path"])


def _front_matter(text: str) -> dict | None:
    """The YAML at the head of a README.md, {} without one, None if it is not valid."""
    parts = text.split("---\n", 2)
    try:
        values = yaml.safe_load(parts[1]) if len(parts) == 3 and not parts[0] else {}
    except yaml.YAMLError:
        return None
    return values if isinstance(values, dict) else None


def _about(repo: Repo, at: Commit | None = None) -> dict:
    """A repository at a commit, the last one by default, as the API describes it."""
    at = at or repo.commits[-1]
    card = _front_matter(at.files.get("README.md", b"").decode()) or {}
    tags = [*card.get("tags", []), *([card["library_name"]] if "library_name" in card else [])]
    files = [{"rfilename": path} for path in at.files]
    about = {"id": repo.name, "sha": at.id, "private": repo.private, "lastModified": DATE, "siblings": files}
    return {**about, "tags": tags, **({"sdk": repo.sdk} if repo.kind == "spaces" else {})}
