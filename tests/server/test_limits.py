import pytest

from storygen.server import limits as module
from storygen.server.errors import TooManyError
from storygen.server.limits import Limits


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def ask(limits, name, rows=0):
    """Whether the client may, and is done at once."""
    try:
        limits.charge(name)
        limits.admit(name, rows)
    except TooManyError:
        return False
    limits.release(name, rows)
    return True


def test_a_burst_then_as_many_as_time_gives(clock):
    limits = Limits(60, 10, clock)
    assert [ask(limits, "a") for _ in range(61)] == [True] * 60 + [False]
    clock.now += 2.0  # a request a second
    assert [ask(limits, "a") for _ in range(3)] == [True, True, False]
    clock.now += 1000.0  # what is saved up is a minute's at most
    assert sum(ask(limits, "a") for _ in range(100)) == 60


def test_it_is_told_when_to_ask_again(clock):
    limits = Limits(6, 10, clock)
    for _ in range(6):
        assert ask(limits, "a")
    with pytest.raises(TooManyError) as refused:
        limits.charge("a")
    assert refused.value.retry_after == pytest.approx(10)
    clock.now += refused.value.retry_after
    assert ask(limits, "a")


def test_clients_do_not_use_up_each_others(clock):
    limits = Limits(1, 2, clock)
    limits.charge("a")
    limits.admit("a", 2)
    assert not ask(limits, "a")
    assert ask(limits, "b", 2)


def test_any_number_if_there_is_no_limit(clock):
    limits = Limits(0, 2, clock)
    assert all(ask(limits, "a", 2) for _ in range(1000))


def test_many_addresses_fill_no_memory_and_free_no_rows(clock, monkeypatch):
    """The client that holds rows is remembered however many others come."""
    monkeypatch.setattr(module, "KEPT_CLIENTS", 10)
    limits = Limits(5, 2, clock)
    limits.admit("busy", 2)
    for number in range(100):
        assert ask(limits, str(number), 1)
    assert len(limits._clients) == 10
    assert not ask(limits, "busy", 1)
    limits.release("busy", 2)
    assert ask(limits, "busy", 1)
