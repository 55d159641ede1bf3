"""The HTML page: sections of blocks, one template, everything it needs within it."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Final

from looker.analysis.page import (
    contrast,
    findings,
    latency,
    over_time,
    overview,
    parts,
    settings,
    swept,
)
from looker.analysis.page.apart import by_point
from looker.analysis.page.blocks import Block, Charts, Fold, Section, Text
from looker.analysis.page.gather import gather
from looker.analysis.page.lookup import text
from looker.analysis.page.runs import runs_of
from looker.analysis.page.wording import count, moment
from looker.errors import MissingPartError
from looker.observe.examples import visible
from looker.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from jinja2 import Environment

    from looker.analysis.page.blocks import Chart, Figure, RunTable
    from looker.analysis.page.gather import Gathered
    from looker.analysis.page.runs import Run
    from looker.analysis.reports import Side

GENERATOR: Final = "looker report"
"""What the page's generator begins with: by it a page of Looker's is known."""
MAX_DETAILED: Final = 12
"""So many runs are shown one by one; all are in the table."""
_FILES: Final = Path(__file__).parent
_WANTED: Final = "looker report wants plotly and jinja2: pip install 'looker[report]'"


def sections_of(gathered: Gathered) -> tuple[list[Run], list[Section]]:
    """Return the runs and the sections that have something to show, in the order of the page."""
    runs = runs_of(gathered.sides)
    sides = gathered.sides
    wanted = _of_one(runs[0], sides) if len(runs) == 1 else _of_many(runs, gathered)
    return runs, [section for section in wanted if section.blocks]


def _of_one(run: Run, sides: Sequence[Side]) -> list[Section]:
    return [
        overview.single(run, sides),
        Section(
            "findings",
            "Thresholds, faults",
            [*findings.thresholds_of([run]), *findings.faults_of([run])],
        ),
        Section("mismatches", "Mismatches", findings.mismatches_of(run)),
        Section("time", "Over time", over_time.of_run(run)),
        Section("latency", "Latency", _charts(latency.of_run(run))),
        Section("cycles", "Cycles", parts.cycles_of(run)),
        Section("workers", "Workers", parts.workers_of(run)),
        Section("settings", "Environment and configuration", settings.settings_of([run])),
    ]


def _of_many(runs: Sequence[Run], gathered: Gathered) -> list[Section]:
    return [
        overview.several(runs, gathered.sides),
        Section("comparison", "Comparison", contrast.contrast(gathered)),
        Section("sweep", "Sweep", [one for sweep in gathered.sweeps for one in swept.swept(sweep)]),
        Section(
            "findings",
            "Thresholds, faults",
            [*findings.thresholds_of(runs), *findings.faults_of(runs)],
        ),
        Section("latency", "Latency", by_point(runs, latency.of_runs)),
        Section("time", "Over time", over_time.of_runs(runs)),
        Section("runs", "Run by run", _details(runs)),
        Section("settings", "Environment and configuration", settings.settings_of(runs)),
    ]


def _charts(charts: Sequence[Chart]) -> list[Block]:
    return [Charts(charts)] if charts else []


def _details(runs: Sequence[Run]) -> list[Block]:
    """Return what there is of each run by itself: of those that failed first."""
    ranked = sorted(
        runs,
        key=lambda run: (
            run.report.is_finished and run.plain.get("verdict") in {"passed", "not_checked"}
        ),
    )
    blocks: list[Block] = []
    if len(runs) > MAX_DETAILED:
        said = f"{MAX_DETAILED} of {count(len(runs))} runs, those first that did not pass."
        blocks.append(Text(said))
    for run in ranked[:MAX_DETAILED]:
        inner = [
            *findings.mismatches_of(run),
            *over_time.of_run(run, over_time.MAX_POINTS_OF_MANY),
            *_charts(latency.of_run(run)),
            *parts.cycles_of(run),
            *parts.workers_of(run),
        ]
        tone = overview.tone_of_run(run)
        blocks.append(Fold(run.name, inner, tone, overview.verdict_of(run)))
    return blocks


@dataclass(frozen=True, slots=True)
class MadeWith:
    """What page and policy are made with, and that never changes."""

    environment: Environment
    library: str
    style: str
    script: str


@cache
def made_with() -> MadeWith:
    """Return the parts; MissingPartError where a package is not installed."""
    # plotly itself is not imported, which takes long: only its JavaScript is wanted
    plotly = importlib.util.find_spec("plotly")
    try:
        from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415
    except ImportError:
        raise MissingPartError(_WANTED) from None
    if plotly is None or plotly.origin is None:
        raise MissingPartError(_WANTED)
    library = Path(plotly.origin).parent / "package_data" / "plotly.min.js"
    environment = Environment(
        loader=FileSystemLoader(_FILES),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_shown,
    )
    return MadeWith(
        environment,
        _inline(library),
        _inline(_FILES / "page.css"),
        _inline(_FILES / "page.js"),
    )


def _shown(value: object) -> object:
    """Return a text without what would turn a line round or is no character of HTML's."""
    return visible(value) if type(value) is str else value


def _inline(path: Path) -> str:
    """Return a file as it may stand in a script or style element, line ends as the parser's."""
    code = path.read_text(encoding="utf-8")
    # within the strings of a script both mean the same
    return code.replace("</script", "<\\/script").replace("<!--", "<\\!--")


def html(paths: Sequence[Path]) -> tuple[str, int]:
    """Return the page about the runs at the paths, and how many there are.

    UsageError where a path has none; MissingPartError as ``made_with``.
    """
    made = made_with()
    runs, sections = sections_of(gather(paths))
    figures: dict[str, Figure] = {}
    variants: dict[str, Mapping[str, Figure]] = {}

    def chart_id(chart: Chart) -> str:
        name = f"chart-{len(figures)}"
        figures[name] = chart.figure
        if chart.variants:
            variants[name] = chart.variants
        return name

    scripts = (made.library, made.script)
    policy = (
        f"default-src 'none'; script-src {' '.join(map(_hash, scripts))};"
        # plotly writes style elements and attributes
        " style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"
    )
    template = made.environment.get_template("page.html.j2")
    page = template.render(
        title=_title(runs),
        subtitle=_subtitle(runs),
        footer=_footer(runs),
        generator=f"{GENERATOR} {__version__}",
        policy=policy,
        sections=sections,
        chart_id=chart_id,
        facets_of=_facets,
        # asked for at the page's end, when all charts have their names
        figures=lambda: script_json({"figures": figures, "variants": variants}),
        library=made.library,
        style=made.style,
        script=made.script,
    )
    return page, len(runs)


def script_json(value: object) -> str:
    """Return JSON as it may stand in a script element: no text can end it, or begin a comment."""
    said = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for sign in "<>&\u2028\u2029":
        said = said.replace(sign, f"\\u{ord(sign):04x}")
    return said


def _hash(script: str) -> str:
    digest = hashlib.sha256(script.encode()).digest()
    return f"'sha256-{base64.b64encode(digest).decode()}'"


def _facets(block: RunTable, place: int) -> str:
    return json.dumps([visible(values[place]) for values in block.facets.values()])


def _title(runs: Sequence[Run]) -> str:
    if len(runs) > 1:
        return f"Looker: {count(len(runs))} runs"
    mode = text(runs[0].plain, "mode")
    return f"Looker: {mode}, {overview.verdict_of(runs[0]).partition(' ')[2] or 'no verdict'}"


def _subtitle(runs: Sequence[Run]) -> str:
    times = sorted(time for run in runs if (time := text(run.plain, "started_at")) is not None)
    targets = list(dict.fromkeys(run.target for run in runs))
    where = targets[0] if len(targets) == 1 else f"{count(len(targets))} targets"
    if len(runs) == 1:
        name = text(runs[0].plain, "invocation_id")
        ended = moment(text(runs[0].plain, "finished_at"))
        return f"{name} · {where} · {moment(times[0])} to {ended} UTC"
    return f"{where} · begun from {moment(times[0])} to {moment(times[-1])} UTC"


def _footer(runs: Sequence[Run]) -> str:
    versions = sorted({str(run.plain.get("looker_version")) for run in runs})
    return (
        f"Made by looker report {__version__} from {count(len(runs))} report(s) of Looker"
        f" {', '.join(versions)}. Times are UTC; MB and GB are 10⁶ and 10⁹ bytes. The page needs"
        " nothing from the network."
    )
