from __future__ import annotations

import dataclasses
import io
import logging
import re
import sys
import time
from typing import TYPE_CHECKING

import pytest
from rich.console import Console

from looker.clock import ManualClock
from looker.model.config import Mode
from looker.model.report import CycleReport
from looker.model.run_state import RunState
from looker.observe.live import LiveView, LogView, view_for_terminal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from looker.model.config import RunConfig
    from looker.model.report import ReadReport, SpotCheckReport, WriteReport

LOG = logging.getLogger("looker.somewhere")
ENDED = "cycle 0: failed, 250000 samples acknowledged in 2.00 s, 124993 validated"
CURSOR_HIDDEN, CURSOR_SHOWN = "\x1b[?25l", "\x1b[?25h"


@pytest.fixture(autouse=True)
def _log_lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    logger = logging.getLogger("looker")
    handlers, level = logger.handlers[:], logger.level
    logger.setLevel("INFO")
    yield
    logger.handlers[:], logger.level = handlers, level


def a_console(width: int = 80, **settings: bool) -> Console:
    return Console(
        record=True,
        width=width,
        height=24,
        force_terminal=True,
        file=io.StringIO(),
        highlight=False,
        legacy_windows=False,
        _environ={"TERM": "xterm-256color"},
        **settings,
    )


def lines_of(view: LiveView, width: int = 80) -> list[str]:
    """Return the frame as it stands on the terminal, without colours."""
    console = a_console(width)
    console.print(view.frame())
    lines = console.export_text().splitlines()
    assert all(len(line) <= width for line in lines)
    return [line.rstrip() for line in lines]


def text_of(view: LiveView, width: int = 80) -> str:
    return re.sub(" +", " ", "\n".join(lines_of(view, width)))


def writing(
    config: RunConfig, written: Callable[..., WriteReport], clock: ManualClock
) -> tuple[RunState, LiveView]:
    state = RunState(config, clock.wall_ns() - 3_725_000_000_000)
    view = LiveView(state, clock, a_console())
    state.set_up(0, up=True)
    state.set_up(1, up=True)
    view.phase_began(0, "write")
    for n in (1, 2):
        state.hear(0, 0, written(n, seconds=n / 2))
        view.progress(state, 0)
    state.hear(1, 0, written(1, seconds=1.0))
    view.progress(state, 0)
    return state, view


def test_before_workers_are_up(config: RunConfig) -> None:
    text = text_of(LiveView(RunState(config, 0), ManualClock(wall=1), a_console()))
    assert "looker-ab12cd34" in text
    assert "0 of 2 workers up" in text
    assert "starting workers" in text


def test_a_write_phase(config: RunConfig, written: Callable[..., WriteReport]) -> None:
    _, view = writing(config, written, ManualClock())
    text = text_of(view)
    assert "looker-ab12cd34 logs cycle 0, 0 of 3 done" in text
    assert "2 of 2 workers up 1:02:05" in text
    assert "77 % 771 of 1,000 fragments" in text
    # worker 0 has written 250,000 in its last half second; worker 1 has but one report
    assert "entries/s 500,000 mean 750,000" in text
    assert "payload MB/s 50.0 mean 75.0" in text
    assert "entries acked 750,000" in text
    assert "pushes 21 retried, 6 rejected" in text
    assert "service ms p50 4.0 p99 5,001.2" in text
    assert re.search(r"lag s p50 30\.0 p99 31\.0", text)
    assert "limited by target" in text
    assert "mismatches 0" in text


def test_a_read_phase(
    config: RunConfig, written: Callable[..., WriteReport], has_read: Callable[..., ReadReport]
) -> None:
    state, view = writing(config, written, ManualClock())
    view.phase_began(0, "read")
    assert "0 % 0 of 750,000 validated" in text_of(view)
    for n in (1, 2):
        state.hear(0, 0, has_read(n, seconds=n / 2))
        view.progress(state, 0)
    text = text_of(view)
    assert "reading" in text
    assert "33 % 249,986 of 750,000 validated" in text
    assert "entries/s 249,986 mean 249,986" in text
    assert "payload MB/s 24.0 mean 24.0" in text
    assert "queries 18" in text
    assert "mismatches 14" in text


def test_mismatches_of_earlier_cycles_stay_in_sight(
    config: RunConfig, written: Callable[..., WriteReport], has_read: Callable[..., ReadReport]
) -> None:
    state, view = writing(config, written, ManualClock())
    state.hear(0, 0, has_read(), over=True)
    state.hear(0, 1, written())
    view.phase_began(1, "write")
    assert "mismatches 7" in text_of(view)
    assert "cycle 1, 1 of 3 done" in text_of(view)


def test_what_spot_checks_have_found_is_in_sight(
    config: RunConfig,
    written: Callable[..., WriteReport],
    has_checked: Callable[..., SpotCheckReport],
) -> None:
    state, view = writing(config, written, ManualClock())
    state.hear(0, 0, has_checked(2))
    view.phase_began(0, "write")
    assert "mismatches 6" in text_of(view)


def test_a_phase_that_ends_by_time(config: RunConfig, written: Callable[..., WriteReport]) -> None:
    config = dataclasses.replace(config, stop_after_n_fragments=None, stop_after_n_seconds=4.0)
    _, view = writing(config, written, ManualClock())
    assert "25 % 1.0 of 4 s" in text_of(view)


def test_of_two_ends_the_nearer_one_is_shown(
    config: RunConfig, written: Callable[..., WriteReport]
) -> None:
    config = dataclasses.replace(config, stop_after_n_seconds=100.0)
    _, view = writing(config, written, ManualClock())
    assert "of 1,000 fragments" in text_of(view)
    config = dataclasses.replace(config, stop_after_n_seconds=1.1)
    _, view = writing(config, written, ManualClock())
    assert "90 % 1.0 of 1.1 s" in text_of(view)


def test_metrics_without_an_end_and_a_dead_worker(
    config: RunConfig, written: Callable[..., WriteReport]
) -> None:
    config = dataclasses.replace(config, mode=Mode.METRICS, n_cycles=0)
    state, view = writing(config, written, ManualClock())
    state.set_up(1, up=False)
    text = text_of(view)
    assert "samples/s" in text
    assert "1 of 2 workers up" in text
    assert re.search(r"cycle 0, 0 done +1 of 2", text)


def test_field_case_29_cycles_are_numbered_as_everywhere(
    config: RunConfig, written: Callable[..., WriteReport]
) -> None:
    config = dataclasses.replace(config, n_warm_up_cycles=2)
    _, view = writing(config, written, ManualClock())
    assert "warm-up cycle 0, 0 of 2 done" in text_of(view)
    view.phase_began(1, "write")
    assert "warm-up cycle 1, 1 of 2 done" in text_of(view)
    view.phase_began(2, "write")
    text = text_of(view)
    # as in the log, the table and the report
    assert "cycle 2, 0 of 3 done" in text
    assert "warm-up" not in text


def test_what_is_sparse_is_not_exact(
    config: RunConfig, written: Callable[..., WriteReport], has_read: Callable[..., ReadReport]
) -> None:
    state, view = writing(dataclasses.replace(config, read_n_streams=50), written, ManualClock())
    state.hear(0, 0, has_read())
    view.phase_began(0, "read")
    assert "124,993 of about 375,000 validated" in text_of(view)


@pytest.mark.parametrize("width", [40, 60, 80, 200])
def test_every_width_holds_the_frame(
    config: RunConfig, written: Callable[..., WriteReport], width: int
) -> None:
    _, view = writing(config, written, ManualClock())
    lines = lines_of(view, width)
    assert len(lines) == {40: 14, 60: 12, 80: 7, 200: 7}[width]
    # field case 26: nothing is cut
    text = " ".join(" ".join(lines).split())
    assert "…" not in text
    for words in ("looker-ab12cd34 logs cycle 0", "2 of 2 workers up", "entries acked 750,000"):
        assert words in text
    assert "retried, 6 rejected" in text


def test_large_figures_fit_80_columns(
    config: RunConfig, written: Callable[..., WriteReport]
) -> None:
    state, view = writing(config, written, ManualClock())
    state.hear(0, 0, written(4_000, seconds=60.0))
    view.progress(state, 0)
    text = text_of(view)
    assert "…" not in text
    assert "1,000,250,000" in text


def test_that_looker_is_the_limit_goes_above_the_frame(
    config: RunConfig, written: Callable[..., WriteReport]
) -> None:
    console, clock = a_console(width=200), ManualClock()
    state = RunState(dataclasses.replace(config, n_workers=1), clock.wall_ns())
    with LiveView(state, clock, console) as view:
        view.phase_began(0, "write")
        for seconds in (1, 4):
            report = written()
            report.rate_limited_s = report.throttled_s = 0.0
            report.workers_s = report.generating_s = float(seconds)
            report.writers_s, report.starved_generator_s = 10.0 * seconds, 9.0 * seconds
            state.hear(0, 0, report)
            view.progress(state, 0)
    assert shown(console).count("Looker itself is the limit") == 1


def test_no_color(config: RunConfig, written: Callable[..., WriteReport]) -> None:
    _, view = writing(config, written, ManualClock())
    console = a_console(no_color=True)
    console.print(view.frame())
    assert "writing" in shown(console)
    assert not re.search(r"\x1b\[[\d;]*[39]\d", shown(console))


# --- as a part of a terminal ---------------------------------------------------------------------


def shown(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_log_lines_go_above_and_the_frame_goes_away(config: RunConfig) -> None:
    console, logger = a_console(), logging.getLogger("looker")
    before = logger.handlers[:]
    with LiveView(RunState(config, 0), ManualClock(), console):
        LOG.info("something [bold]happened[/bold] %s", "x" * 100)
        assert CURSOR_HIDDEN in shown(console)
    assert logger.handlers == before
    text = shown(console)
    # in one piece, whatever the width, and not taken for markup
    assert "something [bold]happened[/bold] " + "x" * 100 in text
    assert text.rindex(CURSOR_SHOWN) > text.rindex(CURSOR_HIDDEN)
    # the frame is erased at the end: nothing visible follows the last erasure
    assert "looker-ab12cd34" not in text[text.rindex("\x1b[2K") :]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_the_terminal_is_restored_after_an_error(
    config: RunConfig, error: type[BaseException]
) -> None:
    console, logger = a_console(), logging.getLogger("looker")
    before, stderr = logger.handlers[:], sys.stderr
    with pytest.raises(error), LiveView(RunState(config, 0), ManualClock(), console):
        raise error
    assert shown(console).count(CURSOR_HIDDEN) == shown(console).count(CURSOR_SHOWN)
    assert logger.handlers == before
    assert sys.stderr is stderr


def test_it_is_not_drawn_more_than_four_times_a_second(
    config: RunConfig, written: Callable[..., WriteReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "thread_time", lambda: 0.0)
    clock = ManualClock()
    state = RunState(config, 0)
    view = LiveView(state, clock, a_console())
    frames = 0

    def count() -> str:
        nonlocal frames
        frames += 1
        return ""

    monkeypatch.setattr(view, "frame", count)
    for n in range(1000):
        state.hear(0, 0, written(n))
        view.progress(state, 0)
        clock.advance(10_000_000)
    assert frames == 40


def test_a_costly_frame_is_drawn_less_often(
    config: RunConfig, written: Callable[..., WriteReport], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = ManualClock()
    state = RunState(config, 0)
    view = LiveView(state, clock, a_console())
    cpu_s = 0.0

    def draw() -> str:
        nonlocal cpu_s
        cpu_s += 0.02
        return ""

    monkeypatch.setattr(view, "frame", draw)
    monkeypatch.setattr(time, "thread_time", lambda: cpu_s)
    for _ in range(1000):
        view.progress(state, 0)
        clock.advance(10_000_000)
    # ten seconds
    assert cpu_s == pytest.approx(0.2)


def test_a_cycle_leaves_a_line(config: RunConfig, written: Callable[..., WriteReport]) -> None:
    console = a_console(120)
    with LiveView(RunState(config, 0), ManualClock(), console) as view:
        view.cycle_ended(CycleReport(0, 0, written()))
    assert "cycle 0: unknown, 250000 samples acknowledged in 2.00 s, 0 validated" in shown(console)


def test_no_live_view_without_a_terminal(
    config: RunConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    state, clock = RunState(config, 0), ManualClock()
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    assert view_for_terminal(state, clock) is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "dumb")
    assert view_for_terminal(state, clock) is None
    monkeypatch.setenv("TERM", "xterm")
    assert isinstance(view_for_terminal(state, clock), LiveView)


def test_log_lines(
    config: RunConfig,
    written: Callable[..., WriteReport],
    has_read: Callable[..., ReadReport],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging.getLogger("looker"), "propagate", True)
    state, view = RunState(config, 0), LogView()
    state.hear(0, 0, written())
    view.phase_began(0, "write")
    view.progress(state, 0)
    view.cycle_ended(CycleReport(0, 0, written(), has_read()))
    assert caplog.messages == [
        "cycle 0: write phase begins",
        f"{ENDED}; 7000 in doubt, 0 of them found",
    ]
    caplog.set_level("DEBUG", "looker")
    view.progress(state, 0)
    assert caplog.messages[-1] == "cycle 0: 250000 samples acknowledged, 0 validated"
