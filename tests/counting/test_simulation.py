"""The simulation of counting: repeatable, complete, and right where it can be worked out by hand."""

import random
from collections.abc import Iterable
from typing import Any

import pytest

from sessions.counting.writer import PAUSE, PAUSE_MOST, TRIES
from tests.benchmarks.simulation import (
    BEFORE,
    CHOSEN,
    PARTITION_UNITS,
    SPARE,
    Assumptions,
    Load,
    Result,
    Session,
    Settings,
    Simulation,
    packed,
    simulate,
)
from tests.template.stack import stack


def test_the_chosen_settings_are_those_that_are_deployed() -> None:
    (mapping,) = stack().of_type("AWS::Lambda::EventSourceMapping").values()
    assert (CHOSEN.pause, CHOSEN.pause_most, CHOSEN.tries) == (PAUSE, PAUSE_MOST, TRIES)
    assert (
        mapping["MaximumBatchingWindowInSeconds"],
        mapping["BatchSize"],
        mapping.get("ParallelizationFactor", 1),
    ) == (CHOSEN.window, CHOSEN.batch_size, CHOSEN.parallelization)


BUSY = Load(rate=100, shards=16, agents=3)

EXACT = Assumptions(jitter=(1, 1), prepared=(0.3, 0.3), released=1)


class Least(random.Random):
    """Chance that always falls on the least: polls at whole quarters, no pauses, first things first."""

    def uniform(self, a: float, b: float) -> float:
        return a


class InTurn(Least):
    """The same, and sessions go to one shard after another."""

    def __init__(self) -> None:
        super().__init__()
        self._turn = 0

    def choice(self, seq: Any) -> Any:
        self._turn += 1
        return seq[(self._turn - 1) % len(seq)]


def exactly(shards: int, readable: Iterable[float], settings: Settings) -> Result:
    """Sessions that were created a tenth of a second before they can be read, without any chance."""
    sessions = [Session(each - 0.1, each, agent=0) for each in readable]
    return Simulation(Load(1, shards), settings, sessions, InTurn(), EXACT).run()


@pytest.mark.parametrize("settings", [BEFORE, CHOSEN, SPARE])
def test_the_same_seed_gives_the_same_result(settings: Settings) -> None:
    assert simulate(BUSY, settings, seconds=5) == simulate(BUSY, settings, seconds=5)


@pytest.mark.parametrize(
    "settings", [BEFORE, CHOSEN, SPARE, BEFORE._replace(tries=1), CHOSEN._replace(parallelization=3, batch_size=7)]
)
def test_every_session_is_counted_once(settings: Settings) -> None:
    readable = [0.001 * number for number in range(3_000)]
    sessions = [Session(each, each, agent=number % 3) for number, each in enumerate(readable)]
    result = Simulation(BUSY, settings, sessions, random.Random(1)).run()
    assert result.sessions == len(sessions)
    assert result.lags[0] > 0
    assert result.cancelled > 0


def test_a_lone_session_waits_for_a_poll_and_the_window() -> None:
    # Read at 1.25, gathered until 2.25, then invocation 0.020, markers 0.005 and the transaction 0.015: at 2.290.
    result = exactly(1, [1.1], CHOSEN)
    assert result.lags == pytest.approx([1.29])
    assert (result.transactions, result.cancelled, result.write_units) == (1, 0, 2 * (1 + 6))


def test_of_two_transactions_at_once_the_second_is_cancelled() -> None:
    # Both end at 2.290, as above; the second, cancelled, reads its marker again at once, and takes 0.020 more.
    result = exactly(2, [1.1, 1.1], CHOSEN)
    assert result.lags == pytest.approx([1.29, 1.31])
    assert (result.transactions, result.cancelled, result.write_units) == (3, 1, 3 * 2 * (1 + 6))


def test_not_reading_markers_again_saves_its_time() -> None:
    assert exactly(2, [1.1, 1.1], CHOSEN._replace(reads_again=False)).lags == pytest.approx([1.29, 1.305])


def test_without_a_window_a_session_waits_for_a_poll_alone() -> None:
    assert exactly(1, [1.1], BEFORE).lags == pytest.approx([0.29])


def test_sessions_within_the_window_share_a_transaction() -> None:
    # All are gathered by 2.25; the last came 0.9 s after the first.
    result = exactly(1, [1.1, 1.5, 2.0], CHOSEN)
    assert result.lags == pytest.approx([0.39, 0.89, 1.29])
    assert (result.invocations, result.transactions, result.write_units) == (1, 1, 2 * (3 + 6))


def test_a_full_batch_does_not_wait_for_the_window() -> None:
    assert exactly(1, [1.1, 1.1], CHOSEN._replace(batch_size=2)).lags == pytest.approx([0.29, 0.29])


def test_what_no_try_has_counted_is_delivered_again() -> None:
    # Each of the two has one try for each delivery, which begins with 0.020 and 0.005 anew.
    result = exactly(2, [1.1, 1.1], CHOSEN._replace(tries=1))
    assert result.lags == pytest.approx([1.29, 1.33])
    assert (result.invocations, result.redelivered) == (3, 1)


def test_a_partition_takes_no_more_than_its_write_units() -> None:
    # All begin at 1.275, with a second's worth of units; the organization's rows take six a transaction.
    result = exactly(200, [1.1] * 200, BEFORE)
    seconds = 1.0 + result.lags[-1] - 1.275
    assert result.throttled > 0
    assert 6 * (result.transactions - result.throttled) <= PARTITION_UNITS * (1 + seconds)


def test_a_transaction_holds_as_many_sessions_as_actions_are_left_by_their_rows() -> None:
    sessions = [Session(0, 0, agent=number % 2) for number in range(200)]
    assert [len(each) for each in packed(sessions)] == [91, 91, 18]
