import itertools
import os

import pytest

from storygen.data.processes import in_batches, map_in_order, mapped
from storygen.errors import StorygenError


def test_batches_reach_their_size():
    assert list(in_batches(["a", "bbb", "cc", "d", "e"], len, 3)) == [["a", "bbb"], ["cc", "d"], ["e"]]
    assert list(in_batches([], len, 3)) == []


def die(item):
    os._exit(1)


def test_results_are_in_order_and_a_killed_process_is_told():
    """What the system kills for want of memory ended in a traceback."""
    with mapped(abs, 0) as run:
        assert list(run([-1, 2])) == [1, 2]
    with mapped(abs, 2) as run:
        assert list(run(range(-9, 9))) == [abs(n) for n in range(-9, 9)]
    with pytest.raises(StorygenError, match="a worker process was killed"), mapped(die, 1) as run:
        list(run([1]))


class Counting:
    """An executor that runs at once and counts what was submitted."""

    def __init__(self):
        self.submitted = 0

    def submit(self, function, item):
        self.submitted += 1
        return Done(function(item))


class Done:
    def __init__(self, value):
        self.value = value

    def result(self):
        return self.value


def test_only_so_much_is_read_ahead():
    """`Executor.map` reads all of a corpus into memory before it gives the first result."""
    pool, read = Counting(), itertools.count()
    results = map_in_order(pool, lambda n: n * n, read, ahead=3)
    assert [next(results) for _ in range(4)] == [0, 1, 4, 9]
    assert pool.submitted <= 8
