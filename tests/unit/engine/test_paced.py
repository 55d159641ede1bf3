"""How often a report is saved: by what it costs, not by how often cycles end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from looker.backend.api import Target
from looker.backend.outcomes import Product
from looker.clock import ManualClock
from looker.engine.coordinator import Coordinator
from looker.engine.messages import Finished, Go, Phase, ReadEnded, Ready, WriteEnded
from looker.engine.paced import Paced
from looker.engine.pool import Ended
from looker.model.config import ReadApi
from looker.model.report import ReadReport, WriteReport
from servers import SilentView, run_config

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from looker.engine.messages import FromWorker, ToWorker, WorkerPlan
    from looker.engine.run_report import RunReport

MS = 1_000_000
SECOND = 1000 * MS


def test_what_takes_a_second_is_done_again_after_99() -> None:
    clock, done_s = ManualClock(), list[float]()

    def action() -> None:
        done_s.append(clock.monotonic / SECOND)
        clock.monotonic += SECOND

    paced = Paced(action, clock)
    paced.want()
    assert done_s == [0]
    paced.want()
    paced.do_if_due()
    clock.monotonic = 100 * SECOND - 1
    paced.do_if_due()
    assert done_s == [0]
    clock.monotonic = 100 * SECOND
    paced.do_if_due()
    assert done_s == [0, 100]
    # nobody has asked again
    clock.monotonic = 1000 * SECOND
    paced.do_if_due()
    assert done_s == [0, 100]
    paced.do()
    assert done_s == [0, 100, 1000]


class ScriptedPool:
    """One worker, whose messages are given, each with the time (ns) at which it is heard."""

    def __init__(self, clock: ManualClock, script: Iterator[tuple[int, Sequence[object]]]) -> None:
        self._clock, self._script = clock, script
        self.sent: list[ToWorker] = []

    def start(self, plans: Sequence[WorkerPlan]) -> None:
        assert len(plans) == 1

    def poll(self, _timeout_s: float) -> list[FromWorker | Ended]:
        at_ns, news = next(self._script)
        self._clock.monotonic = max(self._clock.monotonic, at_ns)
        return list(news)  # type: ignore[arg-type]

    def send(self, _worker: int, message: ToWorker) -> None:
        self.sent.append(message)

    def kill(self, worker: int) -> None:
        raise AssertionError(worker)

    def close(self, _grace_s: float) -> None:
        pass


def saved_by(
    n_cycles: int, cost_ns: int, script: Iterator[tuple[int, Sequence[object]]]
) -> list[tuple[int, int]]:
    """Return (time in ms, number of completed cycles) of each save of a scripted run."""
    clock = ManualClock()
    saved: list[tuple[int, int]] = []

    def save(report: RunReport) -> None:
        n_whole = sum(cycle.read is not None for cycle in report.cycles())
        saved.append((clock.monotonic // MS, n_whole))
        clock.monotonic += cost_ns

    config = run_config("http://127.0.0.1:1", n_cycles=n_cycles)
    target = Target(
        "http://127.0.0.1:1", Product.PROMETHEUS, "/w", "/q", None, ReadApi.QUERY, "1", None, None
    )
    pool = ScriptedPool(clock, script)
    Coordinator(config, target, pool, clock, environment={}, view=SilentView(), save=save).run()
    assert pool.sent[0] == Go(0, Phase.WRITE)
    return saved


def cycle(number: int, at_ns: int) -> tuple[int, Sequence[object]]:
    return at_ns, (WriteEnded(0, number, WriteReport()), ReadEnded(0, number, ReadReport()))


def test_saving_takes_a_hundredth_of_the_time_however_short_cycles_are() -> None:
    """Field case 33: it was saved after each of 834 cycles of 0.25 s."""

    def script() -> Iterator[tuple[int, Sequence[object]]]:
        yield 0, (Ready(0, 1, "here"),)
        yield from (cycle(number, 100 * MS * (number + 1)) for number in range(10))
        yield 1050 * MS, (Finished(0), Ended(0, clean=True, how=""))

    # a save of 3 ms is followed by 297 ms without one; the last one comes in any case
    found = saved_by(10, 3 * MS, script())
    assert found == [(100, 1), (400, 4), (700, 7), (1000, 10), (1050, 10)]


def test_a_save_that_has_to_wait_needs_no_further_cycle() -> None:
    """What a killed run leaves is not much older than its last cycle."""

    def script() -> Iterator[tuple[int, Sequence[object]]]:
        yield 0, (Ready(0, 1, "here"),)
        yield cycle(0, 100 * MS)
        yield cycle(1, 200 * MS)
        yield 1000 * MS, ()
        yield 1100 * MS, ()
        yield 9000 * MS, ()
        yield cycle(2, 10_000 * MS)
        yield 10_050 * MS, (Finished(0), Ended(0, clean=True, how=""))

    assert saved_by(3, 10 * MS, script()) == [(100, 1), (1100, 2), (10_050, 3)]
