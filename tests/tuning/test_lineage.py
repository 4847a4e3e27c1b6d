from storygen.artifact import Artifact
from storygen.card import build_card
from storygen.tuning.lineage import descended
from tests.train.test_evaluate_and_publish import TRAINING


def test_the_card_tells_every_step():
    """A model tuned twice must name both ancestors, or nobody can find what it was made of."""
    first = Artifact(None, None, "base", "r1", {})
    lineage = descended(first, "sft", {"corpus": "own"}, bits_per_byte={"a.jsonl": (1.5, 1.25)})
    second = Artifact(None, None, "tuned", "r2", {"lineage": lineage})
    lineage = descended(second, "dpo", {"votes": 3000, "fingerprint": None})
    assert [step["parent"]["revision"] for step in lineage] == ["r1", "r2"]
    metrics = {"bits_per_byte": {"a.jsonl": 1.25}, "method": "Counted."}
    card = build_card("mine", {**TRAINING, "metrics": metrics, "lineage": lineage}, "Public domain.", [])
    assert "`sft` from base at revision r1, on corpus own. Bits per byte: a.jsonl 1.500 to 1.250." in card
    assert "`dpo` from tuned at revision r2, on votes 3000." in card
