import pytest
import torch

from storygen.errors import StorygenError
from storygen.training.log import RunLog
from storygen.tuning.loop import Look, Plan, fit, one_process


class Point(torch.nn.Module):
    """A number that is pulled down a slope."""

    def __init__(self, start=0.0):
        super().__init__()
        self.x = torch.nn.Parameter(torch.tensor(start))

    def forward(self, slope):
        return slope * self.x


def run(tmp_path, looks, slopes=(1.0,) * 4, **changes):
    """Fits a point, with these values at the looks."""
    point, values, seen = Point(), iter(looks), []

    def look():
        found = next(values)
        seen.append(point.x.item())
        return found if isinstance(found, Look) else Look(found, {"value": found})

    plan = Plan(**{"epochs": 2.0, "learning_rate": 0.1, "looks": 4, "patience": 9, "seed": 0, **changes})
    outcome = fit(point, lambda draw: [(slope,) for slope in slopes], look, plan, one_process(), tmp_path)
    return point, outcome, seen


def test_the_best_look_is_kept_and_not_the_last(tmp_path):
    point, outcome, seen = run(tmp_path, [5, 4, 3, 2, 6, 7, 8, 9, 10])
    assert outcome.best == 3 and outcome.looks[3] == {"step": 3, "value": 2}
    assert point.x.item() == pytest.approx(seen[3]) and seen[-1] < seen[3] < seen[0] == 0.0
    assert RunLog(tmp_path).read() == outcome.looks
    assert outcome.ended == "after its epochs"


def test_patience_ends_it(tmp_path):
    point, outcome, _ = run(tmp_path, [1, 2, 3, 4, 5, 6], patience=2)
    assert (len(outcome.looks), outcome.ended) == (3, "2 validations without a better one")
    assert point.x.item() == 0.0  # nothing was better than the start


def test_a_model_that_passed_a_limit_is_not_kept(tmp_path):
    """It may have the best value of all: that is how one looks which has run away from the reference."""
    point, outcome, seen = run(tmp_path, [3, 2, Look(0.1, {"value": 0.1}, "too far")])
    assert (outcome.ended, outcome.best) == ("too far", 1)
    assert point.x.item() == pytest.approx(seen[1])


def test_a_loss_that_is_no_number_ends_it_in_a_line(tmp_path):
    with pytest.raises(StorygenError, match="the loss is nan at step 1; try a lower learning rate"):
        run(tmp_path, [1], slopes=(float("nan"),))
