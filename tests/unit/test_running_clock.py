"""Time in which a process stood still is left out: field case 43."""

from __future__ import annotations

from looker.clock import STANDSTILL_S, ManualClock, RunningClock, asleep_ns

_S = 1_000_000_000


def test_what_a_process_stood_still_is_left_out() -> None:
    clock = ManualClock(monotonic=7 * _S)
    running = RunningClock(clock)
    for _ in range(20):
        clock.advance(_S // 2)
        running.monotonic_ns()
    assert running.monotonic_ns() == 17 * _S
    clock.advance(65 * _S)
    assert running.monotonic_ns() == 17 * _S
    assert running.stood_still_ns == 65 * _S
    clock.advance(_S)
    assert running.monotonic_ns() == 18 * _S
    assert running.wall_ns() == clock.wall_ns()


def test_a_delay_is_not_left_out() -> None:
    clock = ManualClock()
    running = RunningClock(clock)
    clock.advance(int(STANDSTILL_S * _S))
    assert running.monotonic_ns() == int(STANDSTILL_S * _S)
    assert running.stood_still_ns == 0


def test_the_sleep_of_the_machine_never_shrinks() -> None:
    before = asleep_ns()
    # the two clocks are not read at one and the same instant
    assert asleep_ns() > before - _S


def test_a_thread_that_was_stopped_within_a_reading_makes_no_difference() -> None:
    clock = ManualClock(monotonic=7 * _S)
    late: list[int] = []

    class Stopped(ManualClock):
        def monotonic_ns(self) -> int:
            read_ns = clock.monotonic
            if clock.monotonic == 8 * _S and not late:
                # 65 s go by, and another thread is the first one to read
                late.append(0)
                clock.advance(65 * _S)
                late[0] = running.monotonic_ns()
            return read_ns

    running = RunningClock(Stopped())
    clock.advance(_S)
    assert running.monotonic_ns() == 8 * _S
    assert late == [7 * _S]
    clock.advance(_S)
    # what is left out is what was between two readings
    assert running.monotonic_ns() == 8 * _S
    clock.advance(_S)
    assert running.monotonic_ns() == 9 * _S
