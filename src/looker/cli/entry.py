"""Where the command ``looker`` begins.

Light, because each worker's interpreter imports the script that was started: parsing the command
line is the coordinator's business alone.
"""

import sys

from looker.version import __version__


def main() -> None:
    """Run the command line and exit."""
    # what scripts ask first is answered without the parser, which says the same
    if sys.argv[1:] == ["--version"]:
        print(f"looker {__version__}")  # noqa: T201 - the answer
        return
    from looker.cli.main import main as run  # noqa: PLC0415 - see above

    run()
