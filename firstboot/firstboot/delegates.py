"""What the agent has done by others, so that it stays small: big libraries run in a child."""

from __future__ import annotations

import base64
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from appliance.bootreport import BootReport, DataCondition
from appliance.errors import CommandError, FieldError, HearthError, StateError
from appliance.fate import ERASE_WORD
from appliance.log import logger
from appliance.paths import Paths
from appliance.protocol import File, Providers
from appliance.run import run
from appliance.validate import MIN_PASSWORD

if TYPE_CHECKING:
    from services.olddata import OldOwner

CHILD_SECONDS = 120.0
AUTHORITY_FILE, TUNNEL_FILE = "hearth-authority.crt", "hearth-vps.sh"


def recovery_file(paths: Paths, passphrase: str, name: str) -> File:
    """Encrypted settings and signing key. Raises FieldError for a weak passphrase."""
    if len(passphrase) < MIN_PASSWORD:
        message = f"This passphrase has {len(passphrase)} characters; {MIN_PASSWORD} is the least."
        raise FieldError("passphrase", message, hint="four random words are easy to remember")
    return File(name=name, content=_child(paths, "recovery-file", passphrase))


def tunnel_script(paths: Paths) -> File:
    """The rented server's half of the draft's tunnel; the keys of both are made where missing."""
    return File(name=TUNNEL_FILE, content=_child(paths, "tunnel-script", ""))


def providers() -> Providers:
    """The dynamic DNS providers that page "address" offers."""
    from firstboot.address_answers import provider_forms

    return provider_forms()


def authority_file(paths: Paths) -> File:
    """The device's own CA certificate. Raises StateError where there is none yet."""
    from services.authority import authority_pem

    return File(name=AUTHORITY_FILE, content=base64.b64encode(authority_pem(paths)).decode())


def authority_fingerprint(paths: Paths) -> str:
    """SHA-256 fingerprint of the CA certificate, or an empty string before there is one."""
    try:
        from services import authority
    except ImportError as error:
        logger.debug("no certificate authority in this image: %s", error)
        return ""
    try:
        return authority.authority_fingerprint(paths)
    except (HearthError, OSError):
        return ""


def found_disk(report: BootReport) -> Path:
    """The booted disk, if an earlier Hearth's data were found on it. Raises StateError."""
    if report.data is not DataCondition.FOUND or report.disk is None:
        message = "There are no data of an earlier Hearth waiting on this card."
        raise StateError(message, hint="reload the page")
    return report.disk


def find_old_owner(paths: Paths, disk: Path) -> OldOwner:
    from services.olddata import OldOwner

    return OldOwner(disk, mount_point=paths.runtime / "old-data")


def adopt_data(disk: Path) -> None:
    from services.olddata import adopt

    adopt(disk)


def check_erase_word(confirm: str) -> None:
    if confirm.strip().lower() != ERASE_WORD:
        raise FieldError("confirm", f"Type {ERASE_WORD!r} to confirm.")


def erase_data(paths: Paths, disk: Path, give_back_ports: Callable[[], None]) -> None:
    """The ports that the earlier Hearth has opened for good first: nobody knows them afterwards."""
    from firstboot.inherited import inherit_ports
    from services.olddata import erase

    if inherit_ports(paths, disk):
        give_back_ports()
    erase(disk)


def _child(paths: Paths, verb: str, secret: str) -> str:
    argv = [sys.executable, "-m", "firstboot", "--root", str(paths.root), verb]
    path = os.pathsep.join(part for part in sys.path if part)
    result = run(argv, input=secret, env={"PYTHONPATH": path}, timeout=CHILD_SECONDS, check=False)
    if result.returncode != 0:
        logger.warning("%s failed: %s", verb, result.stderr.strip())
        message = result.stderr.strip().removeprefix("error: ").partition("\n")[0]
        raise CommandError(message or f"{verb} failed", hint="see the log of hearth-agent")
    return result.stdout.strip()
