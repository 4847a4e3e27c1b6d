"""What the tests of publishing share."""

import pytest

import storygen
from storygen import artifact
from storygen.card import build_card
from tests.train.test_evaluate_and_publish import TRAINING
from train import publish


@pytest.fixture(scope="module")
def released(model_folders, tmp_path_factory):
    """What `publish checkpoint` writes, without measuring: a model with figures, samples and a card."""
    loaded = artifact.load(model_folders / "lstm")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(publish, "SAMPLE_CONFIG", publish.SAMPLE_CONFIG.replace(max_new_tokens=20))
        sample = publish.draw_sample(storygen.Writer(loaded), "The Fox", "Once", 5)
    training = {**TRAINING, "metrics": {"bits_per_byte": {"a.jsonl": 1.5}, "method": "Counted."}, "samples": [sample]}
    card = build_card("lstm", training, "Public domain.", [sample])
    return artifact.save(
        tmp_path_factory.mktemp("released") / "lstm", loaded.model, loaded.tokenizer, training, card, loaded.reward
    )
