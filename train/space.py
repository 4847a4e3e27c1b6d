"""What a Space of the app is made of, and what has to be right about it before it is sent.

Knows files and settings, not the Hub. The files are those that app.py imports, directly or not, with the data that they
name, and the bundled checkpoints.
"""

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from storygen.artifact import FILES, WEIGHTS
from storygen.errors import StorygenError

APP, README, REQUIREMENTS, CHECKPOINTS = "app.py", "README.md", "requirements.txt", "checkpoints"
HARDWARE = ("cpu-basic", "zero-a10g")
ZERO = "zero-a10g"
COLORS = ("red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray")
FIELDS = (
    "title", "emoji", "colorFrom", "colorTo", "sdk", "sdk_version", "python_version", "app_file", "license",
    "short_description",
)  # fmt: skip
"""What the front matter of the README must have."""
PYTHON = "3.12"
"""The only Python of ZeroGPU that the app runs on; it offers 3.10 too."""
ZERO_TORCH = "torch>=2.8"
"""ZeroGPU runs certain releases with CUDA only, which lag behind; the app needs nothing that is newer."""
LONGEST, MAX_BYTES = 60, 10_000_000
"""Characters of a short description; bytes of a file that does not go by LFS."""

PAGE = """\
# {title}

The app of the storygen project: {description}.

{models}
{ratings}
`app.py` starts it, here and on any machine: `pip install -r requirements.txt gradio=={sdk_version}`, `python app.py`.
"""


def app_files(root: Path) -> list[Path]:
    """The files of the project that the app needs, relative to its root, without README and requirements."""
    sources = _imported(root, Path(APP))
    models = [folder / name for folder in (root / CHECKPOINTS).iterdir() for name in FILES]
    paths = [*(root / source for source in sources), *_named(root, sources), *models]
    return sorted({path.relative_to(root) for path in paths if path.is_file()})


def _imported(root: Path, start: Path) -> set[Path]:
    """The file and all files of the project that it imports, at its top or inside functions, and so on."""
    found, waiting = set(), [start]
    while waiting:
        path = waiting.pop()
        if path not in found:
            found.add(path)
            waiting += [file for name in _imports(root / path) for file in _files_of(root, name)]
    return found


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _files_of(root: Path, name: str) -> Iterator[Path]:
    """The files that importing a dotted name runs, if it is one of the project's."""
    parts = name.split(".")
    for end in range(1, len(parts) + 1):
        module = Path(*parts[:end])
        for path in (module.with_suffix(".py"), module / "__init__.py"):
            if (root / path).is_file():
                yield path


def _named(root: Path, sources: Iterable[Path]) -> Iterator[Path]:
    """The data that the sources name: files beside them, and what is in folders beside them, that are no code."""
    for source in sources:
        tree = ast.parse((root / source).read_text(encoding="utf-8"))
        names = {
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        }
        for path in (root / source).parent.iterdir() if source.parent != Path() else ():
            if path.name in names and not (path / "__init__.py").exists():
                yield from [path, *path.rglob("*")]


def split_readme(text: str) -> tuple[dict[str, Any], str]:
    """The front matter of a README.md and what comes after it; StorygenError if there is none that can be read."""
    found = re.match(r"---\n(.*?\n)---\n(.*)", text, re.DOTALL)
    try:
        values = yaml.safe_load(found[1]) if found else None
    except yaml.YAMLError as error:
        raise StorygenError(f"the front matter of {README} is not valid YAML: {error}") from None
    if not isinstance(values, dict):
        raise StorygenError(f"{README} must begin with front matter: settings in YAML between two lines of ---")
    return values, found[2]


def space_readme(text: str, models: Iterable[str], public: Mapping[str, Iterable[str]], ratings: str | None) -> str:
    """The README.md of the Space: the front matter of the project's, with what the Space uses, and a short page.

    Models are user/name@commit; of those that everybody can read `public` has the names of their files, which are
    fetched while the Space is built: one that is not there would break that.
    """
    values, _ = split_readme(text)
    models = list(models)
    if models:
        values["models"] = [model.partition("@")[0] for model in models]
    if preload := [
        f"{repo} {','.join(name for name in FILES if name in there)} {commit}"
        for (repo, _, commit), there in ((model.partition("@"), there) for model, there in public.items())
    ]:
        values["preload_from_hub"] = preload
    if ratings:
        values["datasets"] = [ratings]
    page = PAGE.format(
        title=values["title"],
        description=values["short_description"],
        models="Models: " + (", ".join(models) if models else "the ones in `checkpoints/`") + ".",
        ratings=f"Ratings are kept in the dataset {ratings}.\n" if ratings else "",
        sdk_version=values["sdk_version"],
    )
    return f"---\n{yaml.safe_dump(values, sort_keys=False, allow_unicode=True, width=1000)}---\n\n{page}"


def space_requirements(text: str, hardware: str, torch_index: str | None) -> str:
    """The requirements.txt of the Space: the project's, with the torch that fits the hardware.

    Gradio is left out: the Space installs the release that the front matter names. `torch_index` is the address of an
    index with builds of torch for CPUs only, which are far smaller.
    """
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", "gradio"))]
    if hardware == ZERO:
        return "\n".join([ZERO_TORCH if re.match("torch[=<>~]", line) else line for line in lines]) + "\n"
    return "\n".join([*([f"--extra-index-url {torch_index}"] if torch_index else []), *lines]) + "\n"


def check_settings(values: dict[str, Any], hardware: str, root: Path) -> None:
    """Refuses front matter with which the Space would not be built, or not run as it does here."""
    missing = [field for field in FIELDS if not values.get(field)]
    if missing:
        raise StorygenError(f"the front matter of {README} lacks {', '.join(missing)}")
    installed, python = version("gradio"), str(values["python_version"])
    on_zero = hardware == ZERO
    for field, is_right, right in (
        ("sdk", values["sdk"] == "gradio", "gradio"),
        ("sdk_version", values["sdk_version"] == installed, f"{installed}, which is installed and tested here"),
        ("app_file", values["app_file"] == APP and (root / APP).is_file(), APP),
        ("python_version", re.fullmatch(r"3\.1[1-9](\.\d+)?", python), "3.11 or newer, in quotes"),
        ("python_version", not on_zero or python.startswith(PYTHON), f"{PYTHON} on {hardware}"),
        ("colorFrom", values["colorFrom"] in COLORS, f"one of {', '.join(COLORS)}"),
        ("colorTo", values["colorTo"] in COLORS, f"one of {', '.join(COLORS)}"),
        ("short_description", len(str(values["short_description"])) <= LONGEST, f"at most {LONGEST} characters"),
    ):
        if not is_right:
            raise StorygenError(f"{field} in the front matter of {README} is {values[field]!r}; it must be {right}")


def check_sizes(folder: Path) -> int:
    """The bytes of all files in a folder; refuses one that a Space's repository does not take as it is."""
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    for path, size in sizes.items():
        if size > MAX_BYTES and path.name != WEIGHTS:
            raise StorygenError(
                f"{path.relative_to(folder)} has {size / 1e6:.0f} MB; a Space takes files of {MAX_BYTES / 1e6:.0f} MB, "
                f"and {WEIGHTS} of any size"
            )
    return sum(sizes.values())
