"""Error boundary of ``hearthctl`` and of the units: exception -> sentence -> exit code."""

from __future__ import annotations

import errno
import os
import sys

from appliance.errors import DiskFullError, HearthError
from appliance.log import report_error, setup_logging

INTERRUPTED = 130


def main() -> None:
    """Run the verb; only here is anything printed about an error."""
    debug = "--debug" in sys.argv
    setup_logging(debug=debug)
    try:
        from firstboot.cli import run_verb

        code = run_verb(sys.argv[1:])
        sys.stdout.flush()  # here, where a reader who has gone or a full disk can be answered
    except HearthError as error:
        if debug:
            raise
        code = report_error(error)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        _drop_output()  # the reader (head, less) has seen enough
        code = 0
    except OSError as error:
        if debug:
            raise
        _drop_output()
        code = report_error(_explain(error))
    sys.exit(code)


def _drop_output() -> None:
    """Python would complain again at its exit about what it could not write."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _explain(error: OSError) -> HearthError:
    """What the kernel refused, with the file that it was about."""
    about = f"{error.filename}: " if error.filename else ""
    message = f"{about}{error.strerror or error}"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return DiskFullError(message, hint="make room: df -h /data /run /tmp")
    if error.errno in (errno.EIO, errno.EROFS):
        return HearthError(message, hint="the card may be worn out: keep a backup, replace it")
    return HearthError(message, hint="run it again with --debug for the details")


if __name__ == "__main__":
    main()
