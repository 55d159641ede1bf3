"""Options that several commands have alike."""

from pathlib import Path
from typing import Annotated

from looker.cli.arguments import option
from looker.model.config import ReadApi, ReadShape

ReadApiOption = Annotated[
    ReadApi, option("--read-api", help="How to read metrics back; auto prefers remote-read.")
]
ReadShapeOption = Annotated[
    ReadShape,
    option(
        "--read-shape",
        help="Read once more as people ask, and compare: wide, limited or backward (logs), mixed.",
    ),
]
BearerTokenFile = Annotated[
    Path | None,
    option(
        "--bearer-token-file",
        help="File with a token for the Authorization header.",
        show_default=False,
    ),
]
IgnoreLabel = Annotated[
    list[str] | None,
    option(
        "--ignore-label",
        help="A label that the target adds, or, of those given by --label, one that it drops or"
        " rewrites: not to be counted as wrong; may be given several times.",
        show_default=False,
    ),
]
QueryMatcher = Annotated[
    list[str] | None,
    option(
        "--query-matcher",
        metavar="MATCHER",
        help="A further matcher of every query, like 'env=\"test\"', where the target wants one;"
        " may be given several times.",
        show_default=False,
    ),
]
CaFile = Annotated[
    Path | None,
    option(
        "--ca-file",
        help="Certificates (PEM) to verify the target's by (default: the system's).",
        show_default=False,
    ),
]
InsecureSkipVerify = Annotated[
    bool, option("--insecure-skip-verify", help="Do not verify the target's certificate.")
]
LogLevel = Annotated[
    str, option("--log-level", help="Least level of log lines: debug, info, warning or error.")
]
