from storygen.training.curve import light_curve


def log(losses):
    """A line for each loss, and one for a validation at the same step."""
    lines = [{"step": n, "tokens": 10 * n, "loss": loss} for n, loss in enumerate(losses, 1)]
    return lines + [{"step": n, "tokens": 10 * n, "valid_bits_per_byte": 1 / n} for n in range(1, len(losses) + 1)]


def test_a_short_run_is_kept_as_it_is():
    curve = light_curve(log([3.0, 2.0, 1.0]))
    assert curve["loss"] == [[10, 3.0], [20, 2.0], [30, 1.0]]
    assert curve["valid_bits_per_byte"] == [[10, 1.0], [20, 0.5], [30, 0.3333]]


def test_a_long_run_becomes_means_of_losses_and_every_so_manieth_validation():
    """The last validation is the one that is compared with others, so it must stay, and as it was measured."""
    curve = light_curve(log([1.0, 3.0] * 50 + [7.0]), points=10)
    assert len(curve["loss"]) == len(curve["valid_bits_per_byte"]) == 10
    assert curve["loss"][0] == [60, 1.9091]  # the first 11 of 101: six ones and five threes
    assert curve["valid_bits_per_byte"][-1] == [1010, round(1 / 101, 4)]
    assert curve["valid_bits_per_byte"][-2] == [900, round(1 / 90, 4)]


def test_nothing_logged_is_no_curve():
    assert light_curve([]) == {}
    assert light_curve([{"step": 1, "tokens": 5, "start": {}}]) == {}
    assert list(light_curve(log([1.0])[:1])) == ["loss"]
