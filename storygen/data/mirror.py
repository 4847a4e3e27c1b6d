"""Polite downloads from a mirror: one at a time with a pause, resumed where they broke, each file only once."""

import contextlib
import email.utils
import http.client
import os
import ssl
import time
import urllib.error
import urllib.request
from pathlib import Path

from filelock import FileLock

from storygen.errors import StorygenError

_TRIES = 5
_LONGEST_WAIT = 300
"""Seconds: a mirror that asks for more is left alone."""
_BROKEN = (ConnectionError, TimeoutError, http.client.HTTPException, urllib.error.URLError, ssl.SSLError)


class Missing(StorygenError):
    """The mirror does not give one file; it may have others."""


class Mirror:
    """A mirror's files, each downloaded once: the cache keeps them under a name that only whole files have."""

    def __init__(self, url: str, cache: Path, pause: float) -> None:
        self._url, self._cache, self._pause = url, cache, pause
        self._asked = False

    def file(self, name: str, addresses: list[str]) -> Path:
        """The file of that name in the cache, downloaded if need be from the first address that has it."""
        path = self._cache / name
        try:
            if not path.exists():
                self._cache.mkdir(parents=True, exist_ok=True)
                with FileLock(self._cache / ".lock"):  # processes that share the cache take turns
                    if not path.exists() and not any(self._download(f"{self._url}/{at}", path) for at in addresses):
                        raise Missing(f"{self._url} has none of {', '.join(addresses)}")
        except OSError as error:
            raise StorygenError(f"cache {self._cache} cannot be written: {error.strerror or error}") from None
        return path

    def _download(self, url: str, path: Path) -> bool:
        """Fetches one address to `path`, over several tries if it must; False if the mirror has no such file."""
        part = path.with_name(path.name + ".part")
        wait, trouble, error = 0.0, "", StorygenError
        for tries in range(_TRIES):
            self._rest(wait)
            wait, error = 2.0**tries, StorygenError
            try:
                _receive(url, part)
            except urllib.error.HTTPError as answer:
                answer.close()
                if answer.code in (404, 410):
                    return False
                trouble = f"answered {answer.code} {answer.reason}".strip()
                if answer.code == 416:  # what is there already is no beginning of the file
                    part.unlink(missing_ok=True)
                elif answer.code == 429 or answer.code >= 500:
                    wait = max(wait, _retry_after(answer.headers["Retry-After"]))
                    error = StorygenError if answer.code == 429 else Missing
                else:
                    break
                if wait > _LONGEST_WAIT:
                    trouble, error = f"{trouble} and asks to wait {wait:.0f} seconds", StorygenError
                    break
            except _BROKEN as cause:
                trouble = f"cannot be reached ({getattr(cause, 'reason', None) or cause})"
            else:
                os.replace(part, path)
                return True
        raise error(f"{url} {trouble}; try later or another mirror: what is downloaded is kept")

    def _rest(self, seconds: float) -> None:
        """Waits between two requests: the pause, or longer."""
        if self._asked:
            time.sleep(max(seconds, self._pause))
        self._asked = True


def _receive(url: str, part: Path) -> None:
    """Downloads an address to `part`, from where an earlier attempt stopped; ConnectionError if the rest is cut off.

    The time of `part` is set to the file's own on the mirror: by it the mirror knows if the beginning is still good.
    """
    headers = {"User-Agent": "storygen (stories for a small language model)"}
    have = part.stat().st_size if part.exists() else 0
    if have:
        modified = email.utils.formatdate(part.stat().st_mtime, usegmt=True)
        headers |= {"Range": f"bytes={have}-", "If-Range": modified}
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as response:
        have = have if response.status == 206 else 0
        length = response.headers["Content-Length"]
        try:
            with part.open("ab" if have else "wb") as file:
                while chunk := response.read(1 << 16):
                    file.write(chunk)
        finally:
            with contextlib.suppress(TypeError, ValueError):  # a mirror that tells no time sends all again
                modified = email.utils.parsedate_to_datetime(response.headers["Last-Modified"]).timestamp()
                os.utime(part, (modified, modified))
    received = part.stat().st_size - have
    if length is not None and received != int(length):
        raise ConnectionError(f"{received} of {length} bytes came")


def _retry_after(header: str | None) -> float:
    """The seconds that a Retry-After header asks for, as a number or a date; 0 without one."""
    if (header or "").strip().isdecimal():
        return float(header)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(header).timestamp() - time.time())
    except (TypeError, ValueError):
        return 0.0
