"""What the tests of publishing share."""

import pytest

import storygen
from storygen import artifact
from storygen.card import build_card
from storygen.evaluation.memorisation import build_index
from tests.train.test_evaluate_and_publish import TRAINING
from train import publish

MEASURED = {
    "revision": "abc",
    "tokenizer": {"lossless": True},
    "likelihood": {
        "method": "Counted.",
        "texts": {
            "a.jsonl": {
                "bits_per_byte": 1.5,
                "interval": [1.4, 1.6],
                "word_perplexity": 100.0,
                "byte_perplexity": 2.83,
                "token_perplexity": 20.0,
            }
        },
    },
}
"""What the record of an evaluation has of a model."""


@pytest.fixture(scope="module")
def released(model_folders, tmp_path_factory):
    """What `publish checkpoint` writes, without measuring: a model with figures, samples, a card and an index."""
    loaded = artifact.load(model_folders / "lstm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "SAMPLE_CONFIG", publish.SAMPLE_CONFIG.replace(max_new_tokens=20))
        sample = publish.draw_sample(storygen.Writer(loaded), "The Fox", "Once", 5)
    training = {**TRAINING, "metrics": {"evaluation": MEASURED}, "samples": [sample]}
    card = build_card("lstm", training, "Public domain.", [sample])
    folder = tmp_path_factory.mktemp("released") / "lstm"
    artifact.save(folder, loaded.model, loaded.tokenizer, training, card, loaded.reward)
    build_index(["words of a text that it was trained on"]).save(folder / artifact.INDEX)
    return folder
