import gzip
import json

import pytest

from storygen.data.sources import builtin_tales
from storygen.errors import StorygenError
from storygen.evaluation.memorisation import Index
from train import evaluate

COMMAND = ["strategies", "--stories", "4", "--opening", "6", "--tokens", "40", "--strategy", "greedy", "beam", "top_p"]


@pytest.fixture
def text(tmp_path, tales):
    path = tmp_path / "valid.jsonl.gz"
    with gzip.open(path, "wt") as file:
        stories = ({"text": text[:400], "title": f"Story {number}"} for number, text in enumerate(tales[:12]))
        file.writelines(json.dumps(story) + "\n" for story in stories)
    return path


def command(text, models, folder, *more):
    paths = ["--train", str(text), "--out", str(folder / "out"), "--cache", str(folder / "cache")]
    return [*COMMAND, "--text", str(text), *paths, "--model", *map(str, models), *more]


def test_a_report_of_two_models(model_folders, text, tmp_path, capsys):
    models = [model_folders / name for name in ("transformer", "lstm")]
    page = tmp_path / "page.md"
    marks = "<!-- strategies: {} -->\nold\n<!-- /strategies -->\n"
    page.write_text("# Page\n" + marks.format("lstm") + "between\n" + marks.format("transformer") + "end\n")
    evaluate.main(command(text, models, tmp_path, "--fill", str(page)))
    printed = capsys.readouterr().out
    for model in ("transformer", "lstm"):
        record = json.loads((tmp_path / "out" / f"{model}.json").read_text())
        assert [row["strategy"] for row in record["rows"]] == ["people", *["greedy"] * 2, *["beam"] * 2, *["top_p"] * 3]
        assert 0 <= record["true_prompt_wins"] <= 1
        people = record["rows"][0]
        assert people["figures"]["seen_runs"] == 1  # the training text is the held-out text here
        assert people["longest_copy"]["title"].startswith("Story ")
        table = (tmp_path / "out" / f"{model}.md").read_text()
        assert table in printed
        assert "| 7 | top p (temperature 0.8, top p 0.95) |" in table
        assert "GPT-2 large" in table
        for kind in ("likelihood", "quality"):
            assert (tmp_path / "out" / f"{model}-{kind}.png").read_bytes().startswith(b"\x89PNG")
            assert (tmp_path / "images" / f"strategies-{model}-{kind}.png").stat().st_size > 10_000
    filled = page.read_text()
    assert "old" not in filled
    assert filled.count("| 7 | top p") == 2
    assert filled.index("between") < filled.index("<!-- strategies: transformer -->") < filled.index("end\n")
    evaluate.main(command(text, models[1:], tmp_path, "--fill", str(page)))
    assert page.read_text() == filled  # the same figures from what is kept, and the marks are still there


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--stories", "13"], "13 stories were asked for, and 12 of 12 have more than the 6 words"),
        (["--opening", "500"], "4 stories were asked for, and 0 of 12"),
        (["--tokens", "0"], "max_new_tokens is 0; it must be"),
        (["--fill", "nowhere.md"], r"--fill nowhere\.md is not a file"),
        (["--strategy", "nucleus"], "unknown strategy 'nucleus'"),
        (["--train", "nowhere.txt"], r"nowhere\.txt does not exist"),
    ],
)
def test_bad_input(model_folders, text, tmp_path, more, message):
    with pytest.raises(StorygenError, match=message):
        evaluate.main(command(text, [model_folders / "lstm"], tmp_path, *more))


def test_models_of_one_name(model_folders, text, tmp_path):
    """The second would replace the first one's report."""
    with pytest.raises(StorygenError, match="2 models are called lstm"):
        evaluate.main(command(text, [model_folders / "lstm"] * 2, tmp_path))


def test_a_page_without_a_place_for_the_model(model_folders, text, tmp_path):
    (tmp_path / "page.md").write_text("nothing")
    with pytest.raises(StorygenError, match="the page has no <!-- strategies: lstm -->"):
        evaluate.main(command(text, [model_folders / "lstm"], tmp_path, "--fill", str(tmp_path / "page.md")))


def test_an_index_is_made_once_for_the_same_text(text, tmp_path, capsys):
    out = tmp_path / "memorisation.safetensors"
    evaluate.main(["index", "--train", str(text), "--out", str(out)])
    index = Index.load(out)
    assert index.stories == 12
    assert f"{index.runs:,} runs and {len(index.words):,} words" in capsys.readouterr().out


def test_the_index_of_the_built_in_tales(tmp_path):
    evaluate.main(["index", "--out", str(tmp_path / "i")])
    assert Index.load(tmp_path / "i").stories == 1180
    assert builtin_tales()[0][0].name == "tales.train.jsonl.gz"
