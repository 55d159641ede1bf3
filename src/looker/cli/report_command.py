"""The command ``looker report``: runs as one self-contained HTML page."""

from pathlib import Path
from typing import Annotated, Final

import typer

_DEFAULT: Final = Path("looker-report.html")


def report_command(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="PATH",
            help="A report, a directory of the reports of repeats (*report.json, at any depth), or"
            " a sweep's; of several, the first is what the others are compared with.",
            show_default=False,
        ),
    ],
    *,
    output: Annotated[
        Path, typer.Option("--output", "-o", help="The page to write; - is standard output.")
    ] = _DEFAULT,
    force: Annotated[
        bool,
        typer.Option("--force", help="Replace the output even if it is no page of this command."),
    ] = False,
) -> None:
    """Read the reports, and write the page."""
    # only a page needs what is imported here
    from looker.analysis.page.page import html, made_with  # noqa: PLC0415
    from looker.analysis.page.place import refuse_foreign, write_page  # noqa: PLC0415
    from looker.analysis.page.wording import count, size  # noqa: PLC0415
    from looker.cli.options import report_path  # noqa: PLC0415
    from looker.errors import UsageError  # noqa: PLC0415
    from looker.interruption import end_in_order  # noqa: PLC0415
    from looker.observe.report_place import is_same_file, refuse_no_place  # noqa: PLC0415

    output = report_path(output) or _DEFAULT
    end_in_order()
    # what is wrong with the installation is said before anything is read
    made_with()
    refuse_no_place("--output", output)
    for path in paths:
        if is_same_file(output, path):
            raise UsageError("--output", f"{output} is one of the reports: give another file")
    if not force:
        refuse_foreign(output)
    page, n_runs = html(paths)
    n_bytes = write_page(output, page)
    typer.echo(f"{output}: {count(n_runs)} run(s), {size(n_bytes)}", err=True)
