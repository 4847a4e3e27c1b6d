import pytest

import storygen
from storygen.lesson.record import curve_of, making, measured, methods, text_read
from storygen.training.curve import light_curve

TRAINING = {
    "recipe": {"train": {"batch_tokens": 4096}},
    "corpus": {"about": "Fairy tales."},
    "device": "cpu",
    "steps": 1200,
    "tokens": 4_900_000,
    "minutes": 65.4,
    "metrics": {
        "evaluation": {
            "likelihood": {"method": "So and so.", "texts": {"tales.valid.jsonl.gz": {"bits_per_byte": 1.27718}}},
            "stories": {"method": "With seeds.", "stories": 90, "ended": 0.944, "words": 170.0},
        }
    },
    "curve": {"loss": [[1_000_000, 3.5], [2_000_000, 3.0]], "valid_bits_per_byte": [[2_000_000, 1.4]]},
}


def test_what_is_recorded_is_told(model_folders):
    model = storygen.load(model_folders / "lstm").model
    made = making(model, TRAINING)
    assert made["kind"] == "LSTM"
    assert made["numbers that it has learnt"] == f"{model.num_parameters:,}"
    assert made["tokens read in training"] == "4,900,000"
    assert (made["tokens in each step"], made["minutes of training"], made["trained on"]) == ("4,096", "65", "CPU")
    assert measured(TRAINING) == {"bits per byte: tales": "1.277", "stories that end by themselves": "94%"}
    assert methods(TRAINING) == ["So and so.", "With seeds."]
    assert text_read(TRAINING) == "Fairy tales."
    curve = curve_of(TRAINING)
    assert curve.loss == ((1.0, 3.5), (2.0, 3.0))
    assert curve.valid == ((2.0, 1.4),)


@pytest.mark.parametrize(
    "training",
    [
        {},
        {"recipe": None, "corpus": [], "metrics": "none", "curve": 3, "steps": "many", "device": None},
        {
            "metrics": {"evaluation": {"likelihood": {"texts": {"a": 1.5}, "method": 5}, "stories": [1]}},
            "curve": {"loss": [[1], "x", [1, None]]},
        },
    ],
)
def test_what_is_not_recorded_is_left_out(training, model_folders):
    """Anybody's model can be loaded: a training.json that lacks things or has odd ones must not keep the tab shut."""
    assert set(making(storygen.load(model_folders / "transformer").model, training)) == {
        "kind", "numbers that it has learnt", "layers",
    }  # fmt: skip
    assert (measured(training), methods(training), text_read(training), curve_of(training)) == ({}, [], "", None)


def test_what_training_writes_is_what_the_page_reads():
    lines = [{"step": n, "tokens": 1000 * n, "seconds": 1.0, "loss": 5.0 - n} for n in range(1, 4)]
    lines.append({"step": 3, "tokens": 3000, "seconds": 1.0, "valid_bits_per_byte": 1.5})
    curve = curve_of({"curve": light_curve(lines)})
    assert curve.loss == ((0.001, 4.0), (0.002, 3.0), (0.003, 2.0))
    assert curve.valid == ((0.003, 1.5),)
