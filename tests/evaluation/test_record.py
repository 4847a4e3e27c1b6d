import pytest

from storygen import artifact
from storygen.errors import StorygenError
from storygen.evaluation.record import merged, read_record, write_entry


def entry(revision, stride=0, **sections):
    return {"revision": revision, "likelihood": {"settings": {"stride": stride}}, **sections}


def pair(first, second):
    return {"first": first, "second": second}


OLD = {
    "models": {"tom": entry("1", stories={"ended": 0.5}), "kim": entry("1"), "ann": entry("1")},
    "baselines": {"texts": {}},
    "comparison": {"pairs": [pair("tom", "kim"), pair("kim", "ann")]},
}


def test_what_belongs_to_the_same_weights_stays():
    record = merged(OLD, {"models": {"tom": entry("1", memorised=0.1)}})
    assert record["models"]["tom"] == entry("1", stories={"ended": 0.5}, memorised=0.1)
    assert (record["baselines"], record["comparison"]) == (OLD["baselines"], OLD["comparison"])


def test_nothing_of_older_weights_stays():
    """A new model with the stories of the one before it, or still compared by its figures, would be a lie."""
    record = merged(OLD, {"models": {"tom": entry("2")}})
    assert record["models"]["tom"] == entry("2")
    assert record["comparison"]["pairs"] == [pair("kim", "ann")]
    assert len(OLD["comparison"]["pairs"]) == 2


def test_models_read_in_different_ways_do_not_stand_side_by_side():
    with pytest.raises(StorygenError, match="read in different ways, measure all of them anew"):
        merged(OLD, {"models": {"tom": entry("1", stride=8)}})


def test_figures_of_other_weights_are_not_written(model_folders):
    with pytest.raises(StorygenError, match=r"no figures of the weights in .*lstm \(\w{12}\); measure them again"):
        write_entry(model_folders / "lstm", {"models": {"lstm": {"revision": "0"}}})
    with pytest.raises(StorygenError, match=r"into a model's folder, and ann/tales is none"):
        write_entry(type(model_folders)("ann/tales"), {"models": {}})


def test_writing_figures_keeps_all_else(model_folders, tmp_path):
    loaded = artifact.load(model_folders / "lstm")
    training = {"steps": 5, "metrics": {"valid_bits_per_byte": 2.0}}
    folder = artifact.save(tmp_path / "lstm", loaded.model, loaded.tokenizer, training)
    before = artifact.read_training(folder)
    write_entry(folder, {"models": {"lstm": {"revision": loaded.revision, "likelihood": {}}}})
    after = artifact.read_training(folder)
    assert after["metrics"] == {**before["metrics"], "evaluation": {"revision": loaded.revision, "likelihood": {}}}
    assert {**after, "metrics": None} == {**before, "metrics": None}  # the hashes too


@pytest.mark.parametrize("content", ["[]", "{}", '{"models": 3}', "not JSON"])
def test_another_file_than_a_record(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(StorygenError, match=r"a\.json is n"):
        read_record(tmp_path / "a.json")
