"""The command ``looker verify``: its options."""

from pathlib import Path
from typing import Annotated

import typer

from looker.cli.arguments import option, url_argument
from looker.cli.shared_options import (
    BearerTokenFile,
    CaFile,
    IgnoreLabel,
    InsecureSkipVerify,
    LogLevel,
    QueryMatcher,
    ReadApiOption,
    ReadShapeOption,
)
from looker.model.config import ReadApi, ReadShape, VerifyMode
from looker.model.mismatch import DEFAULT_MAX_EXAMPLES


def verify_command(
    *,
    file: Annotated[
        Path,
        typer.Argument(metavar="FILE", help="Ledger that a run has kept (--ledger FILE)."),
    ],
    url: Annotated[
        str | None,
        url_argument(help="Base URL of the target (default: where the run wrote to)."),
    ] = None,
    sample_fraction: Annotated[
        float,
        option(
            "--sample-fraction",
            help="Read this fraction of the streams only, chosen at random, each of them in full.",
        ),
    ] = 1.0,
    sample_seed: Annotated[
        int | None,
        option(
            "--sample-seed",
            help="The same seed chooses the same streams (default: random).",
            show_default=False,
        ),
    ] = None,
    read_api: ReadApiOption = ReadApi.AUTO,
    read_shape: ReadShapeOption = ReadShape.EXACT,
    read_grace_seconds: Annotated[
        float,
        option(
            "--read-grace-seconds", help="How long to ask again for samples that are not there."
        ),
    ] = 30.0,
    max_concurrent_reads: Annotated[
        int | None,
        option(
            "--max-concurrent-reads",
            help="Queries in flight, over all workers (default: the larger of 10 and twice the"
            " workers).",
            show_default=False,
        ),
    ] = None,
    n_workers: Annotated[
        int | None,
        option(
            "--n-workers",
            help="Worker processes (default: the cores that Looker may use).",
            show_default=False,
        ),
    ] = None,
    verify: Annotated[
        VerifyMode,
        option(
            "--verify",
            help="What is checked: content (regenerated, and by the checksum of sending), checksum"
            " alone, or count (streams and timestamps only).",
        ),
    ] = VerifyMode.CONTENT,
    max_examples: Annotated[
        int,
        option("--max-examples", help="How many mismatches to show in full, 0 to 100."),
    ] = DEFAULT_MAX_EXAMPLES,
    request_timeout_seconds: Annotated[
        float,
        option(
            "--request-timeout-seconds",
            help="How long a query may take, once; then it is tried again.",
        ),
    ] = 60.0,
    ignore_label: IgnoreLabel = None,
    query_matcher: QueryMatcher = None,
    tenant: Annotated[
        str | None,
        option(
            "--tenant",
            help="Value of X-Scope-OrgID (default: that of the run).",
            show_default=False,
        ),
    ] = None,
    bearer_token_file: BearerTokenFile = None,
    ca_file: CaFile = None,
    insecure_skip_verify: InsecureSkipVerify = False,
    query_path: Annotated[
        str | None,
        option(
            "--query-path",
            help="Path of the read endpoint, behind the URL (default: that of the run).",
            show_default=False,
        ),
    ] = None,
    report: Annotated[
        Path | None,
        option(
            "--report",
            help="Where the JSON report goes (default: <invocation id>.verify.report.json).",
            show_default=False,
        ),
    ] = None,
    log_level: LogLevel = "info",
    config: Annotated[
        Path | None,
        option(
            "--config",
            help="TOML file of these options, with underscores.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Read back at a later time what a run has kept in its ledger."""
    from looker.cli.verify import Wanted, read_back  # noqa: PLC0415 - only this needs its imports

    wanted = Wanted(
        file=file,
        url=url,
        sample_fraction=sample_fraction,
        sample_seed=sample_seed,
        verify=verify,
        max_examples=max_examples,
        request_timeout_s=request_timeout_seconds,
        read_api=read_api,
        read_shape=read_shape,
        read_grace_s=read_grace_seconds,
        max_concurrent_reads=max_concurrent_reads,
        n_workers=n_workers,
        ignore_labels=tuple(ignore_label or ()),
        query_matchers=tuple(query_matcher or ()),
        tenant=tenant,
        bearer_token_file=bearer_token_file,
        ca_file=ca_file,
        insecure_skip_verify=insecure_skip_verify,
        query_path=query_path,
        report=report,
        config=config,
        log_level=log_level,
    )
    raise typer.Exit(int(read_back(wanted)))
