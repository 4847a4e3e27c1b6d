import math

import choix
import numpy as np
import pytest
from scipy.optimize import minimize

from storygen.arena.ranking import CENTRE, SCALE, Ballots, rank, rank_parts, votes_to_separate, win_matrix
from storygen.arena.simulate import World, coverage, draw_ballots


def ballots(games, names="abcdefgh", raters=None, longer=None):
    """Ballots of (left, right, outcome) triples of numbers, each by a rater of its own unless told."""
    left, right, outcome = (np.array(column) for column in zip(*games, strict=True))
    count = max(left.max(), right.max()) + 1
    raters = np.arange(len(games)) if raters is None else np.array(raters)
    longer = np.zeros(len(games)) if longer is None else np.array(longer)
    return Ballots(tuple(names[:count]), left, right, outcome.astype(float), raters, longer)


def ratings(ranking):
    return {row.name: row.rating for row in ranking.standings}


@pytest.fixture(scope="module")
def world():
    """500 votes on five contestants."""
    rng = np.random.default_rng(0)
    return draw_ballots(World(np.array([-1.0, -0.3, 0.0, 0.4, 0.9]), raters=40), 500, rng)


def test_ratings_are_those_of_a_direct_maximisation(world):
    """The penalised likelihood, written down game by game and given to another optimiser."""
    count = len(world.contestants)

    def loss(beta):
        strength, side = beta[:count], beta[count]
        logit = strength[world.left] - strength[world.right] + side
        games = world.outcome * np.logaddexp(0, -logit) + (1 - world.outcome) * np.logaddexp(0, logit)
        return games.sum() + (np.logaddexp(0, beta) + np.logaddexp(0, -beta)).sum()

    best = minimize(loss, np.zeros(count + 1), tol=1e-12, method="BFGS").x
    ranking = rank(world, replicates=2)
    for name, strength in zip(world.contestants, best[:count] - best[:count].mean(), strict=True):
        assert ratings(ranking)[name] == pytest.approx(CENTRE + SCALE * strength, abs=0.01)
    assert ranking.left_side[0] == pytest.approx(1 / (1 + math.exp(-best[count])), abs=1e-5)


def test_without_ties_and_sides_many_games_agree_with_choix():
    """choix knows neither prior nor sides: with thousands of games of both sides each, neither matters."""
    rng = np.random.default_rng(1)
    strength = np.array([0.8, 0.1, -0.2, -0.7])
    games = []
    for left in range(4):
        for right in range(4):
            if left != right:
                chance = 1 / (1 + math.exp(strength[right] - strength[left]))
                games += [(left, right, float(rng.random() < chance)) for _ in range(2000)]
    pairs = [(left, right) if won else (right, left) for left, right, won in games]
    expected = choix.ilsr_pairwise(4, pairs)
    found = ratings(rank(ballots(games), replicates=2))
    for name, value in zip("abcd", expected - expected.mean(), strict=True):
        assert found[name] == pytest.approx(CENTRE + SCALE * value, abs=1)


def test_a_contestant_that_always_wins_has_a_finite_rating():
    """Without the virtual games its strength is infinite and the fit does not end."""
    found = rank(ballots([(0, 1, 1), (1, 0, 0)] * 20))
    assert 1500 < ratings(found)["a"] < 2500
    assert all(math.isfinite(row.low) and math.isfinite(row.high) for row in found.standings)


def test_ties_only_are_equal():
    found = rank(ballots([(0, 1, 0.5)] * 40))
    assert ratings(found) == pytest.approx({"a": 1500, "b": 1500})
    assert found.left_side[0] == pytest.approx(0.5)


def test_a_preferred_side_is_not_a_stronger_contestant():
    """With a on the left three times in four, raters who like the left must not lift a."""
    rng = np.random.default_rng(0)
    games = []
    for _ in range(4000):
        left, right = (0, 1) if rng.random() < 0.75 else (1, 0)
        games.append((left, right, float(rng.random() < 0.7)))
    found = rank(ballots(games), replicates=20)
    assert ratings(found)["a"] == pytest.approx(1500, abs=15)
    assert found.left_side[0] == pytest.approx(0.7, abs=0.02)


def test_the_gain_of_length_is_taken_out():
    """Raters who like long stories must not lift who writes long ones, if length is in the model."""
    rng = np.random.default_rng(0)
    games, longer = [], []
    for _ in range(4000):
        difference = float(np.clip(rng.normal(0.2, 0.3), -0.9, 0.9))
        games.append((0, 1, float(rng.random() < 1 / (1 + math.exp(-3 * difference)))))
        longer.append(difference)
    plain = rank(ballots(games, longer=longer), replicates=2)
    fair = rank(ballots(games, longer=longer), replicates=20, by_length=True)
    assert ratings(plain)["a"] > 1520
    assert ratings(fair)["a"] < ratings(plain)["a"] - 10
    assert fair.longer[0] == pytest.approx(1 / (1 + math.exp(-1)), abs=0.05)


def test_models_are_not_blamed_for_their_decoding():
    """A model that is mostly decoded badly must not look worse than one that is not."""
    rng = np.random.default_rng(0)
    models, decodings = ["m", "m", "n", "n"], ["good", "bad", "good", "bad"]
    strength = np.array([1.0, -1.0, 1.0, -1.0])
    games = []
    for _ in range(6000):
        left, right = rng.choice(4, 2, replace=False, p=[0.1, 0.4, 0.4, 0.1])
        chance = 1 / (1 + math.exp(strength[right] - strength[left]))
        games.append((left, right, float(rng.random() < chance)))
    by_model, by_decoding = rank_parts(ballots(games), [models, decodings], replicates=20)
    assert ratings(by_model) == pytest.approx({"m": 1500, "n": 1500}, abs=25)
    assert ratings(by_decoding)["good"] - ratings(by_decoding)["bad"] == pytest.approx(2 * SCALE, abs=40)


def test_order_is_by_lower_bound_and_few_votes_have_no_rank():
    """One lucky game must not put a newcomer on top."""
    games = [(0, 1, 1), (1, 0, 0), (0, 1, 0)] * 40 + [(2, 0, 1)]
    found = rank(ballots(games))
    assert [row.name for row in found.standings] == ["a", "b", "c"]
    assert [row.rank for row in found.standings] == [1, 2, None]
    assert found.standings[2].votes == 1


def test_groups_that_never_met_are_not_ranked_together():
    games = [(0, 1, 1), (1, 2, 1)] * 40 + [(3, 4, 1)] * 40
    found = rank(ballots(games))
    groups = {row.name: row.group for row in found.standings}
    assert groups["a"] == groups["b"] == groups["c"] == 0
    assert groups["d"] == groups["e"] == 1
    assert [row.rank for row in found.standings] == [1, 2, 3, 1, 2]


def both_ways(wins, losses):
    """Games of 0 against 1, as often on the left as on the right."""
    won = [(0, 1, 1), (1, 0, 0)] * (wins // 2)
    return won + [(0, 1, 0), (1, 0, 1)] * (losses // 2)


def test_votes_of_one_person_do_not_make_sure():
    """A hundred votes by four people, each of one mind, tell less than by a hundred people; one person tells little."""
    games = both_ways(50, 50)

    def width(people):
        [row, _] = rank(ballots(games, raters=[i * people // 100 for i in range(100)])).standings
        return row.high - row.low

    assert width(4) > 2 * width(100)
    assert width(1) > 0.9 * width(100) > 50


def test_intervals_hold_the_truth():
    """Twelve contestants, biased and careless raters who differ in taste: 95 % intervals must be 95 % intervals."""
    assert 0.93 <= coverage(contestants=12, votes=2000, raters=80, trials=50, seed=1) <= 0.97


def test_the_same_seed_gives_the_same_intervals(world):
    assert rank(world, seed=3) == rank(world, seed=3)
    assert rank(world, seed=3) != rank(world, seed=4)


def test_no_votes_at_all():
    empty = Ballots((), *(np.zeros(0, int),) * 2, np.zeros(0), np.zeros(0, int), np.zeros(0))
    assert rank(empty).standings == ()


def test_win_matrix_counts_both_sides():
    wins, games = win_matrix(ballots([(0, 1, 1), (1, 0, 0), (1, 0, 0.5)]))
    assert wins[0, 1] == pytest.approx(2.5 / 3)
    assert wins[1, 0] == pytest.approx(0.5 / 3)
    assert games[0, 1] == games[1, 0] == 3
    assert math.isnan(wins[0, 0])


def test_closer_contestants_need_more_votes():
    def needed(share):
        won = round(100 * share)
        return votes_to_separate(ballots(both_ways(won, 100 - won)), 0, 1)

    assert needed(0.9) <= 20
    assert 30 < needed(0.58) < 1000
    assert votes_to_separate(ballots(both_ways(50, 50)), 0, 1, most=500) is None
