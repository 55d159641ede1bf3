"""Reading a ledger back: target, coordinator, table, report, exit code."""

from __future__ import annotations

import logging
import secrets
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from looker.backend.discovery import discover
from looker.cli.options import check_report, report_path
from looker.cli.run import Saver, configure_log, coordinated, shown
from looker.clock import SystemClock
from looker.engine.messages import LedgerPlace, VerifyTask
from looker.engine.run_report import LedgerFacts, RunReport
from looker.errors import UsageError
from looker.interruption import end_in_order
from looker.model.config import ReadApi, ReadShape, RunConfig, VerifyMode, check
from looker.model.matchers import matcher_of
from looker.model.report import rfc3339
from looker.model.run_state import RunState
from looker.model.target_usage import OFF
from looker.model.url import redacted
from looker.observe.environment import usable_cores
from looker.verify.ledger_format import LedgerError
from looker.verify.ledger_reader import LedgerFile
from looker.wire.checksum import Checksum

if TYPE_CHECKING:
    from looker.backend.api import Target
    from looker.errors import ExitCode

LOG = logging.getLogger(__name__)
_FILE: Final = "FILE"
_READERS: Final = 10
_SEED_BITS: Final = 53
"""So that every reader of the JSON report gets it right."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was given on the command line; None where the run's own setting or a default holds."""

    file: Path
    url: str | None
    sample_fraction: float
    sample_seed: int | None
    verify: VerifyMode
    max_examples: int
    request_timeout_s: float
    read_api: ReadApi
    read_shape: ReadShape
    read_grace_s: float
    max_concurrent_reads: int | None
    n_workers: int | None
    ignore_labels: tuple[str, ...]
    query_matchers: tuple[str, ...]
    tenant: str | None
    bearer_token_file: Path | None
    ca_file: Path | None
    insecure_skip_verify: bool
    query_path: str | None
    report: Path | None
    config: Path | None
    log_level: str


def read_back(wanted: Wanted) -> ExitCode:
    """Read a ledger back, print the result, and return the exit code."""
    end_in_order()
    configure_log(wanted.log_level)
    ledger = _opened(wanted.file)
    config = _configuration(wanted, ledger)
    task = _task(wanted, ledger)
    _warn(wanted.file, ledger, wanted.verify)
    clock = SystemClock()
    n_samples = ledger.n_acknowledged * config.n_samples_per_fragment
    state = RunState(config, clock.wall_ns(), int(n_samples * task.sample_fraction))
    saver = Saver(config.report)
    facts = _facts(wanted.file, ledger, task)
    report = RunReport(config, None, {}, state.started_ns, ledger=facts)
    with saver.keeping(report, clock):
        target = discover(config, str(config.url), read_only=True)
        _tell(config, target, ledger)
        # workers open it for themselves
        del ledger
        report = coordinated(
            config, target, clock, saver, state=state, verify=task, ledger_facts=facts
        )
    return shown(report, saver)


def _tell(config: RunConfig, target: Target, ledger: LedgerFile) -> None:
    LOG.info(
        "verify %s at %s: %d fragments of %d cycle(s), %d worker(s)",
        config.invocation_id,
        redacted(target.url),
        len(ledger),
        ledger.n_cycles,
        config.n_workers,
    )


def _opened(path: Path) -> LedgerFile:
    try:
        return LedgerFile(path)
    except OSError as error:
        raise UsageError(_FILE, f"cannot read {path}: {error.strerror or error}") from error
    except LedgerError as error:
        raise UsageError(_FILE, f"{path} {error}") from error


def _warn(path: Path, ledger: LedgerFile, verify: VerifyMode) -> None:
    """Say what of the run is not in the ledger, and what it cannot prove."""
    if ledger.n_ignored_bytes:
        LOG.warning(
            "%s: the last %d bytes are no whole block and are ignored", path, ledger.n_ignored_bytes
        )
    if ledger.head.summed_by is not Checksum and verify is VerifyMode.CHECKSUM:
        LOG.warning(
            "%s: is of a former format: its checksum does not see all changes, such as two signs;"
            " --verify content does",
            path,
        )
    if not ledger.is_closed:
        LOG.warning(
            "%s: the run did not end in order, or goes on: what it pushed last is not in the"
            " ledger, and is not verified",
            path,
        )


def _configuration(wanted: Wanted, ledger: LedgerFile) -> RunConfig:
    """Return the run's own configuration, to be read back as wanted; UsageError if it cannot be."""
    if wanted.verify is VerifyMode.OFF:
        raise UsageError("--verify", "must be content, checksum or count: off would read nothing")
    header = ledger.header
    written = header.config
    url = wanted.url
    if url is None:
        if header.target.get("embedded") or not isinstance(header.target.get("url"), str):
            raise UsageError(
                "URL", f"{wanted.file} is of a run against its own embedded target, which is gone"
            )
        url = header.target["url"]
    n_groups = -(-written.n_streams // written.group_size)
    n_workers = wanted.n_workers
    if n_workers is None:
        limits = (n_groups, wanted.max_concurrent_reads or n_groups)
        n_workers = max(1, min(usable_cores(), *limits))
    elif n_workers > n_groups:
        raise UsageError("--n-workers", f"{n_workers} workers cannot share {n_groups} group(s)")
    n_reads = wanted.max_concurrent_reads
    if n_reads is None:
        n_reads = max(_READERS, 2 * n_workers)
    config = replace(
        written,
        url=url,
        tenant=written.tenant if wanted.tenant is None else wanted.tenant,
        query_path=written.query_path if wanted.query_path is None else wanted.query_path,
        ignore_labels=tuple(dict.fromkeys((*written.ignore_labels, *wanted.ignore_labels))),
        query_matchers=tuple(map(matcher_of, wanted.query_matchers)) or written.query_matchers,
        verify=wanted.verify,
        max_examples=wanted.max_examples,
        request_timeout_s=wanted.request_timeout_s,
        read_api=wanted.read_api,
        read_shape=wanted.read_shape,
        read_grace_s=wanted.read_grace_s,
        bearer_token_file=wanted.bearer_token_file,
        ca_file=wanted.ca_file,
        insecure_skip_verify=wanted.insecure_skip_verify,
        n_workers=n_workers,
        max_concurrent_reads=n_reads,
        # there is one sweep, and nothing is written
        max_concurrent_writes=n_workers,
        n_cycles=1,
        n_warm_up_cycles=0,
        skip_read=False,
        read_n_streams=None,
        align_phases=True,
        spot_check_every_s=None,
        target_metrics_url=OFF,
        # Loki has flushed by then what was written long behind its time
        start_time_ns=written.start_time_ns if _is_recent(header.started_at) else None,
        report=report_path(wanted.report) or Path(f"{written.invocation_id}.verify.report.json"),
        log_level=wanted.log_level,
    )
    check(config)
    check_report(
        config.report,
        {
            "the ledger": wanted.file,
            "--bearer-token-file": config.bearer_token_file,
            "--ca-file": config.ca_file,
            "--config": wanted.config,
        },
    )
    return config


def _is_recent(started_at: str) -> bool:
    """Tell whether a run began within the last day."""
    try:
        return datetime.now(UTC) - datetime.fromisoformat(started_at) < timedelta(days=1)
    except (ValueError, TypeError):
        return False


def _task(wanted: Wanted, ledger: LedgerFile) -> VerifyTask:
    if not 0 < wanted.sample_fraction <= 1:
        raise UsageError(
            "--sample-fraction", f"must be above 0 and at most 1, not {wanted.sample_fraction:g}"
        )
    seed = wanted.sample_seed
    if seed is None:
        seed = secrets.randbits(_SEED_BITS)
    elif not 0 <= seed < 2**64:
        raise UsageError("--sample-seed", f"must be from 0 to {2**64 - 1}, not {seed}")
    place = LedgerPlace(wanted.file.absolute(), ledger.end)
    return VerifyTask(place, wanted.sample_fraction, seed)


def _facts(path: Path, ledger: LedgerFile, task: VerifyTask) -> LedgerFacts:
    """Return what the report says of the ledger."""
    header, (first_ns, end_ns) = ledger.header, ledger.range_ns
    facts = {
        "file": str(path),
        "mode": header.config.mode.value,
        "looker_version": header.looker_version,
        "started_at": header.started_at,
        "target": dict(header.target),
        "cycles": ledger.n_cycles,
        "generations": len(ledger.generations),
        "first_sample_at": rfc3339(first_ns),
        "last_sample_at": rfc3339(max(0, end_ns - 1)),
        "fragments": len(ledger),
        "fragments_acknowledged": ledger.n_acknowledged,
        "complete": ledger.is_closed,
        "ignored_bytes": ledger.n_ignored_bytes,
        "sample_fraction": task.sample_fraction,
        "sample_seed": task.sample_seed if task.sample_fraction < 1 else None,
    }
    return LedgerFacts(facts, (first_ns, end_ns))
