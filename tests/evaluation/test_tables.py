import pytest

from storygen.errors import StorygenError
from storygen.evaluation.tables import card, fill, likelihood, report


def figures(bits, interval=(1.0, 2.0)):
    perplexities = {"word_perplexity": 200.0, "byte_perplexity": 3.0, "token_perplexity": 20.5}
    return {"bits_per_byte": bits, "interval": interval and list(interval), **perplexities}


def entry(lossless=True, **texts):
    note = {} if lossless else {"note": "It loses capitals."}
    return {
        "revision": "abc",
        "tokenizer": {"lossless": lossless},
        "likelihood": {"method": "Counted.", **note, "texts": texts},
    }


RECORD = {
    "models": {
        "tom": entry(fairy=figures(1.2345), tiny=figures(0.7, None)),
        "kim": entry(lossless=False, fairy=figures(1.5)),
    },
    "baselines": {"method": "Compressed.", "texts": {"xz": {"fairy": 2.0}}},
    "comparison": {
        "method": "Drawn again.",
        "pairs": [
            {
                "text": "fairy", "first": "tom", "second": "kim", "value": -0.2655, "low": -0.3, "high": -0.2,
                "p": 0.001, "is_real": True,
            }
        ],
    },
}  # fmt: skip


def test_a_row_for_each_text_and_a_column_for_each_model_and_baseline():
    """A model that was not measured on a text leaves a gap, and does not shift the others' figures."""
    assert likelihood(RECORD) == [
        "| bits per byte | tom | kim (lossy) | xz |",
        "| --- | --- | --- | --- |",
        "| fairy | 1.234 (1.000 to 2.000) | 1.500 (1.000 to 2.000) | 2.000 |",
        "| tiny | 0.700 |  |  |",
    ]


def test_the_report_tells_each_method_once_and_warns_of_lossy_tokenizers():
    lines = report(RECORD)
    assert all(lines.count(told) == 1 for told in ("Counted.", "It loses capitals.", "Compressed."))
    assert "| fairy | tom - kim (lossy) | -0.266 | -0.300 to -0.200 | 0.001 | yes |" in lines
    assert lines[-1] == "Drawn again."


def test_a_card_has_what_belongs_to_one_model():
    lines = card({"models": {"kim": RECORD["models"]["kim"]}})
    assert lines[0].startswith("| text | bits per byte | 95 % interval |")
    assert lines[2] == "| fairy | 1.500 | 1.000 to 2.000 | 200.00 | 3.00 | 20.50 |"
    assert lines[-1] == "It loses capitals."


def test_marked_places_are_filled_in_and_nothing_else_changes():
    text = "# Title\n\n<!-- evaluation: likelihood -->\nold\n<!-- /evaluation -->\nEnd <!-- evaluation -->.\n"
    filled = fill(text, RECORD)
    assert filled.startswith("# Title\n\n<!-- evaluation: likelihood -->\n| bits per byte |")
    assert filled.endswith("|\n<!-- /evaluation -->\nEnd <!-- evaluation -->.\n")
    assert "old" not in filled
    assert fill(filled, RECORD) == filled


@pytest.mark.parametrize(("name", "message"), [("storys", "no table 'storys'"), ("stories", "nothing for the table")])
def test_a_mark_that_can_not_be_filled_is_told(name, message):
    """Else an old table would stand there as if it were of today."""
    with pytest.raises(StorygenError, match=message):
        fill(f"<!-- evaluation: {name} -->\n<!-- /evaluation -->", RECORD)
