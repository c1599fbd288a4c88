"""The exact and the stock step are timed in turns, and a failure of one ends both."""

import pytest

from src.comparison.speed import exactness


def test_the_configs_take_turns(monkeypatch):
    order = []

    def fit(twin, dataset, config, rounds, on_step):
        for _ in range(rounds):
            order.append(config)
            on_step()

    monkeypatch.setattr(exactness, "_fit", fit)
    seconds = exactness._take_turns(None, None, ("exact", "stock"), 4)
    assert order == ["exact", "stock"] * 4
    assert [len(each) for each in seconds] == [4, 4]


@pytest.mark.parametrize("faulty", ["exact", "stock"])
def test_a_failure_of_one_ends_both(monkeypatch, faulty):
    def fit(twin, dataset, config, rounds, on_step):
        for number in range(rounds):
            if number == 2 and config == faulty:
                raise ValueError("diverged")
            on_step()

    monkeypatch.setattr(exactness, "_fit", fit)
    with pytest.raises(ValueError, match="diverged"):
        exactness._take_turns(None, None, ("exact", "stock"), 4)
