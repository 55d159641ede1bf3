"""The command ``looker compare``: whether repeated runs differ, and how certain that is."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from looker.errors import ExitCode, UsageError
from looker.model.confidence import DEFAULT_CONFIDENCE, MAX_CONFIDENCE, MIN_CONFIDENCE


class Format(StrEnum):
    """How a comparison is shown."""

    TEXT = "text"
    MARKDOWN = "markdown"
    JSON = "json"


def compare_command(
    baseline: Annotated[
        Path,
        typer.Argument(
            metavar="BASELINE",
            help="A report, a directory of the reports of repeats (*report.json, at any depth), or"
            " a sweep's directory or one of its targets' or points'.",
            show_default=False,
        ),
    ],
    contender: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[CONTENDER]...",
            help="What to compare with it, likewise; a sweep's directory alone compares its targets"
            " with the first of them.",
            show_default=False,
        ),
    ] = None,
    *,
    metric: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="A figure of the report's totals to compare, like write.service_ms.p99; may be"
            " given several times (default: nine rates, latencies and costs).",
            show_default=False,
        ),
    ] = None,
    output: Annotated[
        Format, typer.Option("--format", help="How the comparison is shown.")
    ] = Format.TEXT,
    confidence: Annotated[
        float,
        typer.Option(help="How certain a difference must be, after correction, to count as shown."),
    ] = DEFAULT_CONFIDENCE,
    force: Annotated[
        bool,
        typer.Option(
            "--force",
            help="Compare runs that differ in host, options or mode, and say in what; allow a"
            " --fail-if that so few runs could never breach.",
        ),
    ] = False,
    fail_if: Annotated[
        list[str] | None,
        typer.Option(
            metavar="CONDITION",
            help="End with exit code 4 if a difference that is shown is like this:"
            " 'samples_per_s < -5%'; may be given several times.",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Read the reports, compare, and show."""
    if not MIN_CONFIDENCE <= confidence <= MAX_CONFIDENCE:
        raise UsageError(
            "--confidence",
            f"must be from {MIN_CONFIDENCE:g} to {MAX_CONFIDENCE:g}, not {confidence:g}",
        )
    # only a comparison needs what is imported here
    import orjson  # noqa: PLC0415

    from looker.analysis.comparison import compare  # noqa: PLC0415
    from looker.analysis.comparison_table import markdown, show  # noqa: PLC0415
    from looker.analysis.sides import read_matches  # noqa: PLC0415
    from looker.model.figures import resolved  # noqa: PLC0415
    from looker.model.threshold import parsed  # noqa: PLC0415

    thresholds = [parsed(expr, percent=True) for expr in fail_if or ()]
    try:
        metrics = [resolved(path) for path in metric or ()]
    except ValueError as error:
        raise UsageError("--metric", str(error)) from None
    found = read_matches(baseline, contender or ())
    comparison = compare(
        found.matches,
        notes=found.notes,
        metrics=metrics,
        thresholds=thresholds,
        confidence=confidence,
        force=force,
    )
    match output:
        case Format.TEXT:
            show(comparison)
        case Format.MARKDOWN:
            typer.echo(markdown(comparison), nl=False)
        case Format.JSON:
            typer.echo(orjson.dumps(comparison.to_json(), option=orjson.OPT_INDENT_2).decode())
    if comparison.breached:
        raise typer.Exit(int(ExitCode.THRESHOLD))
