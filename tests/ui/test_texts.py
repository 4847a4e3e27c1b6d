"""What the page says: complete in each language, and all of it in one place."""

import ast
import re
import string
from pathlib import Path
from types import SimpleNamespace

import pytest
from gradio.context import LocalContext

import storygen.ui
from storygen.decoding.stepper import STEPPER
from storygen.ui.page import LOOK
from storygen.ui.texts import TEXTS, fixed, number, say, spoken

MODULES = [path for path in Path(storygen.ui.__file__).parent.glob("*.py") if path.stem not in ("theme", "rater")]
"""Without fonts and raters' identities."""
ENGLISH_IN_ANY_LANGUAGE = {"OPENING", "WORD", "EXAMPLE", "EXAMPLES", "The Fox and the Moon", "Once upon a time"}
"""What the models are given, as they read nothing else: names of constants, and placeholders."""
CODE = re.compile(r"CSS|_JS$|SCRIPT|DOWNLOAD")
"""Names of constants that hold style sheets and scripts."""


def fields(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name is not None}


def test_every_text_is_there_in_every_language_with_the_same_fields():
    english = TEXTS["en"]
    for language, texts in TEXTS.items():
        assert texts.keys() == english.keys(), language
        for key, text in texts.items():
            assert text.strip(), (language, key)
            assert fields(text) == fields(english[key]), (language, key)
            assert re.findall("<[^>]*>", text) == re.findall("<[^>]*>", english[key]), (language, key)


def literals(tree):
    """All literal texts but docstrings, errors and code: with what stands in an f-string's fields as {}."""
    left_out = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            left_out.add(node.value)
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("StorygenError", "fixed", "say"):
            left_out.update(ast.walk(node))
        if isinstance(node, ast.Assign):
            names = [name.id for target in node.targets for name in ast.walk(target) if isinstance(name, ast.Name)]
            if any(CODE.search(name) or name in ENGLISH_IN_ANY_LANGUAGE for name in names):
                left_out.update(ast.walk(node))
        if isinstance(node, ast.JoinedStr):
            left_out.update(part for part in node.values if isinstance(part, ast.Constant))
    for node in ast.walk(tree):
        if node in left_out:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
        elif isinstance(node, ast.JoinedStr):
            yield node.lineno, "".join(part.value if isinstance(part, ast.Constant) else "{}" for part in node.values)


def is_prose(text):
    """Whether somebody would read it: a capitalised word, or two words, outside of tags, classes and colours."""
    text = re.sub(r"<[^>]*>|class=\"[^\"]*\"|color-mix\(.*\)", " ", text)
    words = re.findall(r"[A-Za-z]{2,}", text)
    return any(word[0].isupper() and word[1:].islower() for word in words) or bool(
        re.search(r"[a-z]{2,} [a-z]{2,}", text)
    )


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.stem)
def test_no_text_stands_anywhere_else(path):
    """One that does is English for everybody, and nobody finds it."""
    classes = {"hint below-verdicts"}
    found = [(line, text) for line, text in literals(ast.parse(path.read_text(encoding="utf-8"))) if is_prose(text)]
    assert [each for each in found if each[1] not in ENGLISH_IN_ANY_LANGUAGE | classes] == []


def test_the_check_for_texts_finds_them():
    code = 'gr.Button("Stop")\nx = f"<p>{n} more to go</p>"\n"docstring Text"\nraise StorygenError("No such thing")\n'
    assert {text for _, text in literals(ast.parse(code)) if is_prose(text)} == {"Stop", "<p>{} more to go</p>"}


def test_every_text_is_used_and_every_used_one_is_there():
    """A key with a field in it stands for all keys of its form."""
    used = set()
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                used.add(re.escape(node.value))
            elif isinstance(node, ast.JoinedStr) and any(isinstance(p, ast.Constant) for p in node.values):
                parts = (re.escape(p.value) if isinstance(p, ast.Constant) else r"[\w.]+" for p in node.values)
                used.add("".join(parts))
    used = re.compile("|".join(f"(?:{pattern})" for pattern in used))
    assert [key for key in TEXTS["en"] if not used.fullmatch(key)] == []
    for path in MODULES:
        for called, key in re.findall(r"\b(say|fixed)\(\"([^\"]+)\"", path.read_text(encoding="utf-8")):
            assert key in LOOK["i18n"].translations["en"], (path.stem, called, key)


@pytest.fixture
def visitor():
    """Has events come from a browser that accepts these languages."""

    def come(accepts):
        LocalContext.request.set(SimpleNamespace(headers={"accept-language": accepts}))

    yield come
    LocalContext.request.set(None)


@pytest.mark.parametrize(
    ("accepts", "language"),
    [
        ("de-DE,de;q=0.9,en;q=0.8", "de"),
        ("de", "de"),
        ("DE;q=1", "de"),
        ("en-GB,de", "en"),
        ("fr,de", "en"),
        ("", "en"),
    ],
)
def test_what_is_made_while_the_page_is_used_has_the_browsers_language(visitor, accepts, language):
    """That of the labels: Gradio goes by the first language too, and shows English where it has no texts for it."""
    visitor(accepts)
    assert spoken() == language
    assert say("write.stop") == TEXTS[language]["write.stop"]
    assert STEPPER.run(spoken) == language  # the lesson's views are made there


def test_without_a_visitor_it_is_english():
    assert say("board.rank") == "Rank"
    assert (number(4096), number(4096, "de"), number(999.6, "de")) == ("4,096", "4\u202f096", "1\u202f000")


def test_the_browser_has_all_texts():
    for language, texts in TEXTS.items():
        assert LOOK["i18n"].translations[language].items() >= texts.items()
        assert all(f"how.step.{place}" in LOOK["i18n"].translations[language] for place in range(1, 8))
    assert fixed("model").startswith("__i18n__")
