"""What the page says, in every language it speaks: `english` and `german` have the same keys.

`fixed` is for what stands on the page from the beginning: the browser puts the text in, through Gradio's i18n, by its
own language. `say` is for what is made while the page is used, which that cannot translate: it goes by the request's
Accept-Language, whose first entry is the same language. What comes from below the page stays English: errors and
notes, names of contestants, the figures of models' cards; so do the stories, as the models have read nothing else.
"""

from gradio.context import LocalContext
from gradio.i18n import I18nData

from storygen.ui.texts import english, german

TEXTS = {"en": english.TEXTS, "de": german.TEXTS}


def fixed(key: str) -> str:
    """A mark that the browser replaces by the text; it finds the first one of a value only."""
    return str(I18nData(key))


def say(key: str, language: str = "", **fields: object) -> str:
    """The text, with its fields filled in, in a language: by default the visitor's whose event is being handled."""
    text = TEXTS[language or spoken()][key]
    return text.format(**fields) if fields else text


def number(value: float, language: str = "") -> str:
    """A whole number that every reader of the language takes for the same: a German reads 4,096 as about four."""
    text = f"{value:,.0f}"
    return text if (language or spoken()) == "en" else text.replace(",", "\u202f")  # a narrow space


def spoken() -> str:
    """The language of the visitor whose event is being handled; English for all others."""
    request = LocalContext.request.get(None)
    accepted = request.headers.get("accept-language", "") if request is not None else ""
    first = accepted.partition(",")[0].partition(";")[0].partition("-")[0].strip().lower()
    return first if first in TEXTS else "en"
