"""The `hearth` program: an error boundary over the command line."""

from __future__ import annotations

import sys

from appliance.errors import DiskFullError, HearthError
from appliance.log import report_error, setup_logging
from imagebuild.cli import make_parser

NO_SPACE = 28  # errno ENOSPC
INTERRUPTED = 130


def main(argv: list[str] | None = None) -> int:
    """Run one command; an expected failure is a sentence, a hint and its own exit code."""
    options = make_parser().parse_args(argv)
    setup_logging(debug=options.debug)
    try:
        return int(options.command(options))
    except HearthError as error:
        if options.debug:
            raise
        return report_error(error)
    except OSError as error:
        if options.debug or error.errno != NO_SPACE:
            raise
        full = DiskFullError(f"no space left: {error}", hint="make room, then run it again")
        return report_error(full)
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; run it again to go on from the last finished step\n")
        return INTERRUPTED


if __name__ == "__main__":
    raise SystemExit(main())
