"""Error boundary of ``hearthctl`` and of the units: exception -> sentence -> exit code."""

from __future__ import annotations

import os
import sys

from appliance.errors import HearthError
from appliance.log import report_error, setup_logging

INTERRUPTED = 130


def main() -> None:
    """Run the verb; only here is anything printed about an error."""
    debug = "--debug" in sys.argv
    setup_logging(debug=debug)
    try:
        from firstboot.cli import run_verb

        code = run_verb(sys.argv[1:])
    except HearthError as error:
        if debug:
            raise
        code = report_error(error)
    except KeyboardInterrupt:
        code = INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough; Python would complain again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.exit(code)


if __name__ == "__main__":
    main()
