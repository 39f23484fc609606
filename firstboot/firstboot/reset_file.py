"""A factory reset by a file on bootfs: for whoever holds the card and has no password, or no page.

An empty file ``hearth-reset`` (or ``hearth-reset.txt``, as Windows likes to name it) on the card's
first partition. If it has the word "keep" in it, the data stay for a day and can be brought back.

It is obeyed once, also where it cannot be removed: the reset notes which file it was.
"""

from __future__ import annotations

import hashlib

from appliance.bootreport import DataCondition, load_boot_report
from appliance.errors import HearthError, StateError
from appliance.log import logger
from appliance.paths import Paths
from firstboot import delegates
from firstboot.fate import start_reset
from firstboot.host import Host
from services.bootfs import read_file, remove_file

NAMES = ("hearth-reset", "hearth-reset.txt")
KEEP_WORD = "keep"


def obey_file(paths: Paths, host: Host) -> bool:
    """Whether a reset was ordered, so that the machine restarts. Never raises for what it finds."""
    name = next((name for name in NAMES if (paths.bootfs / name).is_file()), None)
    if name is None:
        return False
    from services.reset import load_done

    text = read_file(paths, name) or ""
    request = _identify(paths, name, text)
    done = load_done(paths)
    if done is not None and done.request == request:
        logger.info("%s was obeyed already", name)
        _remove(paths, name)
        return False
    keep = KEEP_WORD in text.lower().split()
    try:
        return _obey(paths, host, name=name, request=request, keep=keep)
    except HearthError as error:
        logger.warning("%s is not obeyed: %s", name, error.message)
        return False


def _obey(paths: Paths, host: Host, *, name: str, request: str, keep: bool) -> bool:
    report = load_boot_report(paths.boot_report)
    if report.data is not DataCondition.OK:
        # There is no place to note the file: without its removal every start would do it again.
        remove_file(paths, name)
        if report.data is DataCondition.FOUND:
            delegates.erase_data(paths, delegates.found_disk(report), host.give_back_ports)
            host.reboot()
        else:
            start_reset(paths, host, keep=False, origin="card")
        return True
    # The order first: a cut before the removal finds the file again, and knows it by the note.
    start_reset(paths, host, keep=keep, origin="card", request=request, force=True)
    _remove(paths, name)
    return True


def _remove(paths: Paths, name: str) -> None:
    try:
        remove_file(paths, name)
    except StateError as error:
        logger.warning("%s stays on the card: %s", name, error.message)


def _identify(paths: Paths, name: str, text: str) -> str:
    """One file from the next: by its time, which a computer sets when it writes one."""
    written = (paths.bootfs / name).stat().st_mtime_ns
    return hashlib.sha256(f"{name}\0{written}\0{text}".encode()).hexdigest()[:16]
