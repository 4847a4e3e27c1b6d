"""What a story has copied, told from the index in its model's folder, where the training text itself is not."""

import functools
import logging
from pathlib import Path

from storygen.data.files import read_files
from storygen.data.tales import builtin_tales
from storygen.errors import StorygenError
from storygen.evaluation.memorisation import FILE, Copy, Copying, Index, copying, find_copies

LOG = logging.getLogger(__name__)


def look_for_copies(story: str, folder: Path) -> tuple[Copying, Copy | None] | None:
    """What the index in a model's folder knows of a story, and the source of its longest stretch.

    The source is told if the built-in tales have the stretch: of other texts the index has hashes alone, so None is
    the source. All is None without an index, or with a damaged one, which the log tells of.
    """
    index = _load_once(folder / FILE)
    if index is None:
        return None
    found = copying(story, index)
    return found, _find_in_tales(found) if found.longest else None


@functools.lru_cache(maxsize=8)
def _load_once(path: Path) -> Index | None:
    try:
        return Index.load(path) if path.exists() else None
    except StorygenError as error:
        LOG.warning("nothing is told of what stories copy: %s", error)
        return None


def _find_in_tales(found: Copying) -> Copy | None:
    """Where the built-in tales have all of the longest stretch; read anew each time, 0.1 s."""
    [copy] = find_copies([found.stretch], read_files(builtin_tales()[0]))
    return copy if copy is not None and copy.length == found.longest else None
