"""Why a version was given up, and the last lines of its journal: kept until newer ones come.

    /data/failures/0003-0.2.0-B/reason.json    the Failure
    /data/failures/0003-0.2.0-B/journal.txt    what its last start wrote
    /data/failures/trial.txt                   the journal so far of a start that is on trial

The last one is for a start that ends without a word: what hangs or loses power writes no reason.
"""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from appliance.atomic import fsync_directory, write_atomic
from appliance.errors import ConfigError, HearthError
from appliance.log import logger
from appliance.paths import Paths
from appliance.run import run
from appliance.tables import parse_table, to_table, without_unknown
from services.owners import ensure_directory

KEPT = 5
JOURNAL_LINES = 2000
JOURNAL_BYTES = 256 * 1024
JOURNAL_SECONDS = 60
NAME = re.compile(r"\d{4,9}-[A-Za-z0-9.+~-]{1,60}-[AB]?")
REASON, JOURNAL, TRIAL = "reason.json", "journal.txt", "trial.txt"


@dataclass(frozen=True, kw_only=True)
class Failure:
    """``reason`` is a sentence; ``checks`` what each failed check saw; ``starts`` how far each
    start of the trial came. ``at`` in seconds since the epoch, by a clock that may be wrong.
    """

    version: str
    from_version: str = ""
    slot: str = ""
    reason: str = ""
    at: float = 0.0
    boot: str = ""
    checks: dict[str, str] = field(default_factory=dict)
    starts: tuple[str, ...] = ()


def save_failure(paths: Paths, failure: Failure, journal: str) -> str:
    """Write it as a whole or not at all; the name of its directory.

    The oldest go first, so that a full card can still take this one. Raises OSError.
    """
    ensure_directory(paths, paths.failures, mode=0o750)
    _prune(paths, KEPT - 1)
    number = max((_number(name) for name in _names(paths)), default=0) + 1
    version = re.sub(r"[^A-Za-z0-9.+~-]", "_", failure.version)[:60].replace("_", "-") or "unknown"
    name = f"{number:04}-{version}-{failure.slot}"
    scratch = Path(tempfile.mkdtemp(prefix=".new-", dir=paths.failures))
    try:
        text = json.dumps(to_table(failure), indent=1) + "\n"
        write_atomic(scratch / REASON, text, mode=0o640)
        _write_journal(scratch / JOURNAL, journal)
        scratch.chmod(0o750)
        scratch.rename(paths.failures / name)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise
    fsync_directory(paths.failures)
    return name


def load_failures(paths: Paths) -> tuple[tuple[str, Failure], ...]:
    """Directory names with what is in them, the newest first; what is damaged is left out."""
    found = []
    for name in sorted(_names(paths), key=_number, reverse=True):
        try:
            text = (paths.failures / name / REASON).read_text()
            # The new version wrote it, and the old one reads it.
            table = without_unknown(Failure, json.loads(text))
            found.append((name, parse_table(Failure, table, where=name)))
        except (OSError, ValueError, ConfigError) as error:
            logger.warning("cannot read the failure %s: %s", name, error)
    return tuple(found)


def load_log(paths: Paths, name: str) -> str:
    """The journal kept with a failure; an empty string where there is none."""
    if not NAME.fullmatch(name):
        return ""
    return _read(paths.failures / name / JOURNAL)


def keep_trial_log(paths: Paths, journal: str) -> None:
    """Replace what was kept of this start so far. A full card costs this copy, nothing else."""
    try:
        ensure_directory(paths, paths.failures, mode=0o750)
        write_atomic(paths.failures / TRIAL, _tail(journal, JOURNAL_BYTES), mode=0o640)
    except OSError as error:
        logger.warning("the journal so far cannot be kept: %s", error)


def take_trial_log(paths: Paths) -> str:
    """What was kept of the last start on trial."""
    return _read(paths.failures / TRIAL)


def drop_trial_log(paths: Paths) -> None:
    with contextlib.suppress(OSError):
        (paths.failures / TRIAL).unlink()


def read_journal(*, lines: int = JOURNAL_LINES) -> str:
    """The last lines of this boot's journal; a sentence where journalctl does not give them."""
    argv = ["journalctl", "--boot", "--lines", str(lines), "--output", "short-monotonic",
            "--no-pager", "--quiet", "--no-hostname"]  # fmt: skip
    try:
        return run(argv, timeout=JOURNAL_SECONDS).stdout
    except HearthError as error:
        return f"(the journal cannot be read: {error.message})\n"


def _write_journal(path: Path, journal: str) -> None:
    """Less and less of it where the card is full: the reason beside it must not be lost."""
    for size in (JOURNAL_BYTES, 8 * 1024, 0):
        try:
            write_atomic(path, _tail(journal, size), mode=0o640)
        except OSError as error:
            logger.warning("the journal does not fit: %s", error)
        else:
            return


def _tail(text: str, size: int) -> bytes:
    """The last ``size`` bytes, from the start of a line on."""
    raw = text.encode(errors="replace")
    if len(raw) <= size:
        return raw
    return raw[len(raw) - size :].partition(b"\n")[2]


def _read(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(JOURNAL_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _names(paths: Paths) -> list[str]:
    try:
        return [path.name for path in paths.failures.iterdir() if NAME.fullmatch(path.name)]
    except OSError:
        return []


def _number(name: str) -> int:
    return int(name.partition("-")[0])


def _prune(paths: Paths, keep: int) -> None:
    """Also what a power cut has left unfinished."""
    for unfinished in (*paths.failures.glob(".new-*"), *paths.failures.glob(".*.json.*")):
        shutil.rmtree(unfinished, ignore_errors=True)
    newest_first = sorted(_names(paths), key=_number, reverse=True)
    for name in newest_first[keep:]:
        shutil.rmtree(paths.failures / name, ignore_errors=True)
