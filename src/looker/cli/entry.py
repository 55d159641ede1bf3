"""Where the command ``looker`` begins.

Light, because each worker's interpreter imports the script that was started: parsing the command
line is the coordinator's business alone.
"""

import sys

from looker.interruption import end_at_once
from looker.version import __version__


def main() -> None:
    """Run the command line and exit."""
    end_at_once()
    from looker.cli.streams import leave_streams, own_streams  # noqa: PLC0415 - signals come first

    own_streams()
    try:
        _run()
    finally:
        leave_streams()


def _run() -> None:
    # what scripts ask first is answered without the parser, which says the same
    if sys.argv[1:] == ["--version"]:
        from looker.cli.ending import code_of  # noqa: PLC0415 - see above

        sys.exit(code_of(_say_version))
    from looker.cli.main import main as run  # noqa: PLC0415 - see above

    run()


def _say_version() -> int:
    sys.stdout.write(f"looker {__version__}\n")
    return 0
