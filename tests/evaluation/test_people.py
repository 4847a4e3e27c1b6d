import numpy as np
import pytest

from storygen.arena.contestants import load_catalogue
from storygen.arena.ledger import Ledger, read_ledger
from storygen.arena.simulate import write_votes
from storygen.arena.votes import VoteReader
from storygen.evaluation.people import ENOUGH_CONTESTANTS, correlate, people_section
from storygen.evaluation.tables import people

LIKELIHOOD = "log-probability per byte under its own model, higher"
"""In simulated votes it follows the contestants' strength."""


@pytest.fixture(scope="module")
def ledger(tmp_path_factory):
    """Enough simulated votes on the contestants of two models, of strengths that the simulation draws."""
    folder = tmp_path_factory.mktemp("votes")
    write_votes(folder, load_catalogue(("transformer", "lstm")).contestants, 1500, 60)
    return read_ledger([folder])


def entry(revision, bits):
    return {"revision": revision, "likelihood": {"texts": {"tales": {"bits_per_byte": bits}}}}


def test_correlations_by_hand():
    """Ranks 1 to 6 against the same with two neighbours swapped: rho = 1 - 6 * 2 / (6 * 35), tau = (14 - 1) / 15."""
    ratings = {name: float(number) for number, name in enumerate("abcdef")}
    [same, swapped, against] = correlate(
        ratings,
        {
            "same": ratings,
            "swapped": dict(zip("abcdef", [0, 1, 3, 2, 4, 5], strict=True)),
            "against": {name: -value for name, value in ratings.items()},
        },
    )
    assert (same.spearman, same.kendall) == pytest.approx((1, 1))
    assert (against.spearman, against.kendall) == pytest.approx((-1, -1))
    assert swapped.spearman == pytest.approx(1 - 12 / 210)
    assert swapped.kendall == pytest.approx(13 / 15)
    assert same.p == pytest.approx(2 / 720)  # two of all orders are as far from none


def test_what_can_not_be_compared_is_left_out():
    """A figure that is the same for all has no order, and of a few contestants any order comes up by chance."""
    ratings = {name: float(number) for number, name in enumerate("abcdef")}
    few = dict(list(ratings.items())[: ENOUGH_CONTESTANTS - 1])
    assert correlate(ratings, {"same for all": dict.fromkeys(ratings, 1.0), "of few": few}) == []


def test_a_figure_that_follows_taste_is_found_and_one_that_does_not_is_not(ledger):
    """Stories of the simulation differ in their likelihood alone."""
    section = people_section(ledger, {"models": {}})
    assert section["votes"] == (ledger.reasons() == 0).sum()
    assert (section["contestants"], section["simulated"]) == (12, section["votes"])
    found = {each["figure"]: each for each in section["figures"]}
    assert found[LIKELIHOOD]["spearman"] > 0.8
    assert found[LIKELIHOOD]["p"] < 0.01
    assert "runs of four words repeated, fewer" not in found  # no simulated story repeats any


def test_figures_of_a_model_count_for_its_own_weights_only(ledger):
    """Votes on older weights say nothing about the figures of the new ones."""
    models = {"transformer": entry("simulated", 1.3), "lstm": entry("simulated", 1.5)}
    names = [each["figure"] for each in people_section(ledger, {"models": models})["figures"]]
    assert "bits per byte of the model on tales, fewer" in names
    models["lstm"] = entry("newer", 1.5)
    names = [each["figure"] for each in people_section(ledger, {"models": models})["figures"]]
    assert "bits per byte of the model on tales, fewer" not in names  # one value for all that are left


def test_too_few_votes_claim_nothing(tmp_path):
    write_votes(tmp_path, load_catalogue(("transformer", "lstm")).contestants, 60, 5)
    section = people_section(read_ledger([tmp_path]), {"models": {}})
    assert section["figures"] == []
    [told] = people({"people": section})
    assert "too little to say" in told
    assert "simulated: this says nothing about people" in told


def test_no_votes_at_all_claim_nothing(tmp_path):
    section = people_section(Ledger(VoteReader(tmp_path)), {"models": {}})
    assert (section["votes"], section["figures"]) == (0, [])
    assert np.isfinite(section["contestants"])
