"""Whom updates are believed from: the slot's root, with the newest revocation list we have met.

RAUC's system.conf names the effective keyring, and the channel's index is checked by the same.
"""

from __future__ import annotations

from pathlib import Path

from appliance.atomic import write_atomic
from appliance.channelindex import CRL_NAME
from appliance.errors import ConfigError, SignatureError
from appliance.log import logger
from appliance.paths import Paths
from appliance.signed import CERTIFICATE, CRL, newest_crls, read_crl, split_pem

SLOT = Path("usr/share/hearth/update/keyring.pem")
EFFECTIVE = Path("run/hearth-update/keyring.pem")
# A stranger may offer as many as fit into a file, and each is looked at by a program.
MAX_LISTS = 8


def slot_keyring(paths: Paths) -> Path:
    return paths.root / SLOT


def effective_keyring(paths: Paths) -> Path:
    return paths.root / EFFECTIVE


def stored_crl(paths: Paths) -> Path:
    return paths.update / CRL_NAME


def write_keyring(paths: Paths) -> Path:
    """Make the effective keyring anew; returns its path.

    A stored list that cannot be used is passed over: then the slot's own counts. Raises ConfigError
    when the slot has no root or no list, and then nothing can be verified.
    """
    roots, own = _slot(paths)
    lists = newest_crls(roots, [*own, *stored_lists(paths)])
    target = effective_keyring(paths)
    target.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    write_atomic(target, "".join([*roots, *(one.pem for one in lists)]))
    return target


def take_crl(paths: Paths, offered: bytes) -> bool:
    """Keep what is newer in ``offered`` (PEM), for each root; whether there was anything.

    Raises SignatureError for what is no list of one of our roots.
    """
    roots, own = _slot(paths)
    stored = stored_lists(paths)
    blocks = split_pem(offered.decode("ascii", "replace"), CRL)[:MAX_LISTS]
    if not blocks or not newest_crls(roots, blocks):
        raise SignatureError("the channel's list of revoked keys is not by our root")
    known = [one.pem for one in newest_crls(roots, [*own, *stored])]
    newest = [one.pem for one in newest_crls(roots, [*known, *blocks])]
    # Also when it brings nothing new: what is there needs not be sent again.
    if newest != known or not stored:
        paths.update.mkdir(mode=0o750, exist_ok=True)
        write_atomic(stored_crl(paths), "".join(newest))
    return newest != known


def stored_lists(paths: Paths) -> list[str]:
    """What a channel brought earlier; nothing when it was damaged since."""
    try:
        blocks = split_pem(stored_crl(paths).read_text(errors="replace"), CRL)[:MAX_LISTS]
        for pem in blocks:
            read_crl(pem)
    except FileNotFoundError:
        return []
    except (OSError, SignatureError) as error:
        logger.warning("%s: %s; the image's own list counts", stored_crl(paths), error)
        return []
    return blocks


def _slot(paths: Paths) -> tuple[list[str], list[str]]:
    """The slot's roots and lists."""
    slot = slot_keyring(paths)
    hint = "flash the card again; the data stays"
    try:
        text = slot.read_text(errors="replace")
    except OSError as error:
        message = f"this image has no keyring for updates: {error}"
        raise ConfigError(message, hint=hint) from error
    roots, lists = split_pem(text, CERTIFICATE), split_pem(text, CRL)
    if not roots or not lists:
        message = f"{slot} has no root certificate, or no list of revoked keys"
        raise ConfigError(message, hint=hint)
    return roots, lists
