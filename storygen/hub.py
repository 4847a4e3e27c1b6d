"""Repositories on the Hub: fetched, sent, compared and listed with the `huggingface_hub` client.

Knows files and revisions, not what they mean. The client takes its token from HF_TOKEN or from `hf auth login`; with
HF_HUB_OFFLINE=1 it asks nobody and reads what is in its cache.
"""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from storygen.errors import StorygenError

if TYPE_CHECKING:
    from huggingface_hub import HfApi

TOKEN = "HF_TOKEN"
"""Environment variable from which the client takes its token, on a Space too."""
OURS = "training.json"
"""A repository that has files must have this one, which no other library writes, before they are replaced."""
REFUSALS = {
    401: f"{TOKEN} holds no token that it knows",
    402: "it asks for a subscription or a payment method first",
    403: f"the token in {TOKEN} may not do that",
    429: "too many requests; wait some minutes",
}
"""What the Hub means by a status, in words. The rest are its own troubles."""


class Sent(NamedTuple):
    """A repository after something was sent to it."""

    url: str
    commit: str


class Listed(NamedTuple):
    """A repository in a listing."""

    repo: str
    commit: str
    changed: str
    """Day of the last commit."""
    private: bool


def fetch_file(repo: str, revision: str | None, name: str) -> Path | None:
    """The file, in the client's cache, of a model repository; None if the repository has none of that name.

    It lies in a folder whose name is the id of the commit.
    """
    from huggingface_hub import hf_hub_download  # slow to import, and not needed for a local folder
    from huggingface_hub.errors import RemoteEntryNotFoundError

    with in_one_line(repo, revision), contextlib.suppress(RemoteEntryNotFoundError):
        return Path(hf_hub_download(repo, name, revision=revision))
    return None


def fetch_files(repo: str, commit: str, names: Iterable[str]) -> None:
    """Puts those of the files that a repository has at a commit beside the one that `fetch_file` gave.

    A download that breaks off goes on where it was, in steps of 10 MB. When it is tried again later, files that were
    complete are not fetched again.
    """
    from huggingface_hub import try_to_load_from_cache

    for name in names:
        if try_to_load_from_cache(repo, name, revision=commit) is None:  # not there, and not known to be missing
            fetch_file(repo, commit, name)


def send_model(folder: Path, repo: str, *, private: bool = False, tag: str | None = None) -> Sent:
    """Makes the folder's files the head of a model repository, which is made if need be, and tags that commit.

    A folder that the repository holds already makes no new commit.
    """
    api = client()
    with in_one_line(repo, tag):
        url = make_repository(api, repo, private=private)
        if holds_other(api, repo, OURS):
            raise StorygenError(
                f"Hub repository {repo!r} holds something else than a storygen model; give another name"
            )
        tags = {each.name: each.target_commit for each in api.list_repo_refs(repo).tags}
        if tag in tags:
            raise StorygenError(f"Hub repository {repo!r} has a tag {tag!r}, on commit {tags[tag]}; give another one")
        commit = api.upload_folder(repo_id=repo, folder_path=folder, commit_message=f"Model {tag or ''}".strip()).oid
        if tag:
            api.create_tag(repo, tag=tag, revision=commit)
    return Sent(url, commit)


def make_repository(api: "HfApi", repo: str, *, private: bool, kind: str = "model", **settings: Any) -> str:
    """The URL of a repository that is there afterwards; one that was there keeps its settings.

    StorygenError if it must be private and is not: what is sent to it could be read by everybody.
    """
    if repo.count("/") != 1:
        raise StorygenError(f"{repo!r} is no Hub repository; it is written user/name")
    url = api.create_repo(repo, repo_type=kind, private=private or None, exist_ok=True, **settings)
    if private and not api.repo_info(repo, repo_type=kind).private:
        raise StorygenError(f"Hub repository {repo!r} exists and is public; give another name, or leave out --private")
    return str(url)


def holds_other(api: "HfApi", repo: str, ours: str, kind: str = "model") -> bool:
    """Whether a repository has files, but not the one by which ours are known."""
    there = set(api.list_repo_files(repo, repo_type=kind)) - {".gitattributes", "README.md"}
    return bool(there) and ours not in there


def list_models(author: str | None = None) -> list[Listed]:
    """The storygen models of a user or an organisation, by default of whose token it is."""
    api = client()
    with in_one_line(author or "your account"):
        found = api.list_models(
            author=author or api.whoami()["name"], filter="storygen", expand=["sha", "lastModified", "private"]
        )
        return [Listed(each.id, each.sha, f"{each.last_modified:%Y-%m-%d}", bool(each.private)) for each in found]


def differing(repo: str, commit: str) -> list[str]:
    """Names of the files whose copy in the cache is not what the Hub has at a commit, by SHA-256 or git's SHA-1."""
    with in_one_line(repo, commit):
        compared = client().verify_repo_checksums(repo, revision=commit)
    return [mismatch["path"] for mismatch in compared.mismatches]


def client() -> "HfApi":
    """The client, with our name on its requests."""
    from huggingface_hub import HfApi

    from storygen import __version__

    return HfApi(library_name="storygen", library_version=__version__)


@contextlib.contextmanager
def in_one_line(repo: str, revision: str | None = None) -> Iterator[None]:
    """Makes a StorygenError of whatever the client raises: what a network can do is open-ended."""
    try:
        yield
    except StorygenError:
        raise
    except Exception as error:
        raise StorygenError(_explained(error, repo, revision)) from None


def _explained(error: Exception, repo: str, revision: str | None) -> str:
    from huggingface_hub import errors

    if isinstance(error, errors.LocalEntryNotFoundError):  # the Hub failed, and the cache does not have it either
        error = error.__cause__ or error
    status = error.response.status_code if isinstance(error, errors.HfHubHTTPError) else None
    match error:
        case errors.HFValidationError():
            return f"{repo!r} is no folder and not a valid Hub name (user/name)"
        case errors.RevisionNotFoundError():
            return f"Hub repository {repo!r} has no revision {revision!r}"
        case errors.GatedRepoError():
            return f"Hub repository {repo!r} is gated; ask for access on its page and set {TOKEN}"
        case errors.RepositoryNotFoundError():
            # The Hub does not tell a private repository from a missing one.
            return f"{repo!r} is no folder, and no Hub repository that can be read (a private one needs {TOKEN})"
        case errors.LocalTokenNotFoundError():
            return f"the Hub wants to know who you are; set {TOKEN}, or run `hf auth login`"
        case errors.OfflineModeIsEnabled():
            return f"HF_HUB_OFFLINE is set, and what is wanted of {repo!r} is not in the Hub's cache"
        case errors.HfHubHTTPError() if status in REFUSALS:
            said = f" ({error.server_message})" if error.server_message else ""
            return f"the Hub refuses {repo!r}: {REFUSALS[status]}{said}"
        case errors.HfHubHTTPError() if status >= 500:
            return f"the Hub fails ({status}) for {repo!r}, which is not in its cache; try again later"
        case _ if type(error).__name__ in ("ConnectError", "ConnectTimeout"):
            return f"{repo!r} is no folder, and the Hub cannot be reached; check the name or the connection"
    said = " ".join(str(error).split()) or type(error).__name__
    return f"Hub repository {repo!r}: {said}; try again"
