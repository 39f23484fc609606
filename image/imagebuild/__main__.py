"""The `hearth` program: an error boundary over the command line."""

from __future__ import annotations

import os
import sys
from errno import EACCES, ENOSPC, EPERM

from appliance.errors import DiskFullError, HearthError, PrivilegeError
from appliance.log import report_error, setup_logging
from imagebuild.cli import make_parser

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
        return report_error(full_disk(error) or error)
    except OSError as error:
        expected = full_disk(error) or no_permission(error)
        if options.debug or expected is None:
            raise
        return report_error(expected)
    except KeyboardInterrupt:
        sys.stderr.write("\ninterrupted; run it again to go on from the last finished step\n")
        return INTERRUPTED


def full_disk(error: Exception) -> HearthError | None:
    """Whether we or a program that we ran found the disk full, whatever it was doing."""
    lines = [line.strip() for line in str(error).splitlines() if os.strerror(ENOSPC) in line]
    if not lines:
        return None
    hint = "make room, or set HEARTH_CACHE and --output to another disk; then run it again"
    return DiskFullError(lines[-1], hint=hint)


def no_permission(error: OSError) -> HearthError | None:
    """A file that an earlier run with sudo has left, as a rule."""
    if error.errno not in (EACCES, EPERM):
        return None
    return PrivilegeError(f"{error.strerror}: {error.filename}", hint="run it again with sudo")


if __name__ == "__main__":
    raise SystemExit(main())
