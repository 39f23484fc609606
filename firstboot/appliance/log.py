"""Progress and messages: one line per step with its time, on stderr or in the journal."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from appliance.errors import HearthError

logger = logging.getLogger("hearth")
_depth = 0


def setup_logging(*, debug: bool = False) -> None:
    """Send our messages to stderr, terse for people; with ``debug`` every command is shown."""
    logging.basicConfig(
        level=logging.DEBUG if debug else logging.INFO,
        format="%(message)s",
        stream=sys.stderr,
        force=True,
    )


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Announce a step (gerund phrase) and log its wall time when it ends or fails."""
    global _depth
    indent = "  " * _depth
    logger.info("%s%s ...", indent, what)
    _depth += 1
    start = time.monotonic()
    try:
        yield
    except BaseException:
        _depth -= 1
        logger.info("%s%s: failed after %.1f s", indent, what, time.monotonic() - start)
        raise
    _depth -= 1
    logger.info("%s%s: %.1f s", indent, what, time.monotonic() - start)


def report_error(error: HearthError) -> int:
    """Print an expected failure as one sentence and a hint; return its exit code."""
    bold, plain = ("\x1b[31;1m", "\x1b[0m") if _colour() else ("", "")
    sys.stderr.write(f"{bold}error:{plain} {error.message}\n")
    if error.hint:
        sys.stderr.write(f" hint: {error.hint}\n")
    return error.exit_code


def _colour() -> bool:
    return sys.stderr.isatty() and "NO_COLOR" not in os.environ
