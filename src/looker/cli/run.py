"""One run from a checked configuration: target, coordinator, table, report, exit code."""

from __future__ import annotations

import logging
from contextlib import ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, Final

from looker.backend.discovery import discover
from looker.backend.lag_window import refuse_if_too_old
from looker.backend.occupied import refuse_if_occupied
from looker.backend.out_of_order import refuse_if_in_order_only
from looker.cli.ending import in_words
from looker.clock import SystemClock
from looker.engine.coordinator import Coordinator
from looker.engine.messages import LedgerPlace
from looker.engine.pool import LocalPool
from looker.engine.run_report import RunReport, write_atomically
from looker.engine.usage_watch import UsageWatch
from looker.errors import ExitCode, LookerError, OutputError, UsageError
from looker.interruption import end_in_order
from looker.model.report import rfc3339
from looker.model.run_state import RunState
from looker.model.url import redacted
from looker.model.verdict import gravest
from looker.observe import log
from looker.observe.environment import environment
from looker.observe.exposition import RunCollector, metrics_server
from looker.observe.live import LogView, view_for_terminal
from looker.observe.report_place import is_replaced, is_standard_output
from looker.observe.result import show
from looker.observe.terminal import console
from looker.verify.ledger_format import LedgerHeader
from looker.verify.ledger_writer import create

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from looker.backend.api import Target
    from looker.clock import Clock
    from looker.model.config import RunConfig

LOG = logging.getLogger(__name__)
_WINDOW_WARNING_S: Final = 50 * 60


def run(config: RunConfig) -> ExitCode:
    """Run, print the result, and return the exit code."""
    end_in_order()
    configure_log(config.log_level)
    clock = SystemClock()
    state = RunState(config, clock.wall_ns())
    saver = Saver(config.report)
    with ExitStack() as stack, saver.keeping(RunReport(config, None, {}, state.started_ns), clock):
        metrics = metrics_server(RunCollector(state, clock), config.http_server_port)
        if metrics is not None:
            stack.enter_context(metrics)
            LOG.info("metrics at %s", metrics.url)
        url = config.url
        if url is None:
            from looker.target.config import TargetConfig  # noqa: PLC0415
            from looker.target.run import TargetProcess  # noqa: PLC0415

            embedded = TargetProcess(TargetConfig())
            stack.callback(embedded.stop)
            url = embedded.start()
        target = discover(config, url, embedded=config.url is None)
        refuse_if_in_order_only(config, target)
        refuse_if_too_old(config, target)
        if config.id_is_given and not config.force and not target.embedded:
            refuse_if_occupied(config, target, clock.wall_ns())
        if config.fail_if:
            from looker.cli.gates import refuse_without_figures  # noqa: PLC0415

            refuse_without_figures(config, target)
        LOG.info(
            "%s %s at %s, seed %d, %d worker(s)",
            config.mode,
            config.invocation_id,
            redacted(target.url),
            config.seed,
            config.n_workers,
        )
        if config.n_warm_up_cycles:
            LOG.info(
                "warm-up: %d cycle(s) before those that are in the totals; %s",
                config.n_warm_up_cycles,
                "checked likewise" if not config.skip_read else "not read either",
            )
        if config.start_time_ns is None and config.max_lag_s > _WINDOW_WARNING_S:
            LOG.warning(
                "--max-lag-seconds %g: Loki and Prometheus refuse what is more than an hour behind"
                " the newest sample of a stream, or of all series",
                config.max_lag_s,
            )
        report = coordinated(
            config,
            target,
            clock,
            saver,
            state=state,
            ledger=_new_ledger(config, target, state.started_ns),
            watch=UsageWatch.of(config, target, clock, state.started_ns),
        )
    return shown(report, saver)


def coordinated(
    config: RunConfig,
    target: Target,
    clock: Clock,
    saver: Saver,
    *,
    state: RunState,
    **parts: Any,
) -> RunReport:
    """Run on this host's own processes, and show how it goes; ``parts`` as a Coordinator's."""
    live = view_for_terminal(state, clock)
    coordinator = Coordinator(
        config,
        target,
        LocalPool(),
        clock,
        environment=environment(),
        view=live or LogView(),
        save=saver.save,
        state=state,
        **parts,
    )
    with live or nullcontext():
        return coordinator.run()


def shown(report: RunReport, saver: Saver) -> ExitCode:
    """Print what a run has come to, and return its exit code.

    Where the report goes to standard output it is alone there.
    """
    codes = [report.exit_code]
    try:
        show(report.told(), console(stderr=saver.is_output))
    except OutputError as error:
        LOG.error("%s", error)  # noqa: TRY400 - one line, no traceback
        codes.append(error.exit_code)
    if saver.error is not None:
        codes.append(saver.error.exit_code)
    else:
        LOG.info("report: %s", report.config.report)
    return gravest(codes)


def _new_ledger(config: RunConfig, target: Target, started_ns: int) -> LedgerPlace | None:
    """Make the ledger that is wanted; UsageError where that cannot be."""
    if config.ledger is None:
        return None
    facts = {
        "url": target.url,
        "product": target.product.value,
        "version": target.version,
        "embedded": target.embedded,
    }
    header = LedgerHeader(config, facts, rfc3339(started_ns) or "")
    # workers may be told to run elsewhere than here
    path = config.ledger.absolute()
    return LedgerPlace(path, create(path, header))


def serve(settings: Mapping[str, Any], log_level: str) -> None:
    """Serve the embedded target until SIGINT or SIGTERM."""
    from looker.target.config import config_of  # noqa: PLC0415
    from looker.target.run import run_target  # noqa: PLC0415

    configure_log(log_level)
    config = config_of(settings)
    run_target(config, lambda url: LOG.info("target (%s) listens at %s", config.mode, url))


def configure_log(level: str) -> None:
    """Send log lines of a level and above to standard error; UsageError for no level."""
    if level not in log.LEVELS:
        raise UsageError("--log-level", f"must be one of {', '.join(log.LEVELS)}, not {level!r}")
    log.configure(level)


class Saver:
    """Writes the report; a failure is kept for the end, so that it does not end the run."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._has_saved = False
        # before it is replaced: it may be the very file that a shell has opened
        self.is_output = path is not None and is_standard_output(path)
        """Whether the report is what comes out at standard output."""
        self.error: LookerError | None = None

    def save(self, report: RunReport) -> None:
        """Write a report as it is now; what would be written to only once it is over."""
        if self._path is None or not (report.finished or is_replaced(self._path)):
            return
        self._has_saved = True
        try:
            write_atomically(self._path, report.told())
        except LookerError as error:
            LOG.error("%s", error)  # noqa: TRY400 - one line, no traceback
            self.error = error
        else:
            self.error = None

    @contextmanager
    def keeping(self, report: RunReport, clock: Clock) -> Iterator[None]:
        """Leave a report also of a run that ends, with an error, before it has begun one.

        ``report`` is of nothing. What is refused as wrong usage leaves none.
        """
        try:
            yield
        except UsageError:
            raise
        except BaseException as failure:
            if not self._has_saved:
                report.environment = environment()
                report.finished_ns, report.finished = clock.wall_ns(), True
                report.interrupted = isinstance(failure, KeyboardInterrupt)
                if isinstance(failure, LookerError):
                    report.error = failure
                elif not report.interrupted:
                    report.faults.append(in_words(failure))
                self.save(report)
                if self.error is None:
                    LOG.info("report: %s", self._path)
            raise
