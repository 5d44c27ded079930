"""Timing against encoders whose speed is known."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

SAMPLE = np.zeros((1, 2), np.float32)


def _sleeper(seconds: float):
    def encode(sample: np.ndarray) -> np.ndarray:
        time.sleep(seconds)
        return sample

    return encode


def _burn(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


def test_each_has_as_many_turns_as_rounds_and_one_run_a_turn_does_not_count():
    from latency.rounds import interleave

    calls: list[str] = []
    encoders = {name: lambda sample, name=name: calls.append(name) for name in "abc"}
    turns = interleave(encoders, SAMPLE, rounds=4, runs=3, pause_s=0)
    assert {name: len(of) for name, of in turns.items()} == {"a": 4, "b": 4, "c": 4}
    assert [calls.count(name) for name in "abc"] == [4 * (1 + 3)] * 3


def test_orders_of_rounds_differ_and_are_the_same_in_every_process():
    from latency.rounds import interleave

    def order() -> list[str]:
        seen: list[str] = []
        interleave(dict.fromkeys("abcdef", lambda sample: sample), SAMPLE, rounds=5, runs=1, doing=seen.append, pause_s=0)
        return seen

    once = order()
    rounds = [once[k : k + 6] for k in range(0, 30, 6)]
    assert all(sorted(names) == list("abcdef") for names in rounds)
    assert len({tuple(names) for names in rounds}) > 1
    assert order() == once


def test_latency_is_wall_time_in_milliseconds_and_a_sleeper_keeps_no_thread_busy():
    from latency.rounds import interleave

    (turn,) = interleave({"a": _sleeper(0.02)}, SAMPLE, rounds=1, runs=3, pause_s=0)["a"]
    assert turn.latency_ms >= 20
    assert turn.busy_threads < 0.5


def test_one_interrupted_run_does_not_count():
    from latency.rounds import interleave

    delays = iter([0.0, 0.001, 0.3, 0.001])  # the first is not timed

    (turn,) = interleave({"a": lambda sample: time.sleep(next(delays))}, SAMPLE, rounds=1, runs=3, pause_s=0)["a"]
    assert turn.latency_ms < 100


def test_busy_threads_count_processor_time_of_all_threads():
    from latency.rounds import _turn

    def encode(sample: np.ndarray) -> np.ndarray:
        helper = threading.Thread(target=_burn, args=(0.05,))
        started = time.perf_counter()
        helper.start()
        helper.join()
        wall.append(time.perf_counter() - started)
        return sample

    wall: list[float] = []
    turn = _turn(encode, SAMPLE, runs=2)
    # the main thread only waits: all processor time is the helper's, however long it had to wait for a core
    assert turn.busy_threads == pytest.approx(2 * 0.05 / sum(wall[1:]), rel=0.25)
