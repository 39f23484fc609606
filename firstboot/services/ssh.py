"""SSH for root with preseeded keys only; off where there is none."""

from __future__ import annotations

import base64
import shutil
import tempfile
from pathlib import Path

from appliance.atomic import fsync_directory, write_atomic
from appliance.paths import Paths
from appliance.run import run

KEY_NAME = "ssh_host_ed25519_key"
KEYGEN_SECONDS = 120


def enable_ssh(paths: Paths, keys: tuple[str, ...]) -> None:
    """Write root's keys for this boot and make the host key, once; starting sshd is the caller's.

    The keys lie in /run: a key taken off hearth.toml opens nothing after the next start.
    """
    directory = paths.runtime / "ssh"
    directory.mkdir(mode=0o755, exist_ok=True)
    write_atomic(directory / "authorized_keys", "".join(f"{key}\n" for key in keys), mode=0o600)
    ensure_host_key(paths)


def read_keys(paths: Paths) -> list[str]:
    """The keys that open SSH at this start: kind, SHA-256 fingerprint as ssh-keygen(1) shows it,
    and comment. Empty too for a user who may not read them."""
    try:
        lines = (paths.runtime / "ssh" / "authorized_keys").read_text().splitlines()
    except OSError:
        return []
    return [_describe(line) for line in lines]


def _describe(key: str) -> str:
    import hashlib  # OpenSSL: the resident agent does without it here

    kind, blob, *comment = key.split(maxsplit=2)
    digest = hashlib.sha256(base64.b64decode(blob)).digest()
    fingerprint = base64.b64encode(digest).decode().rstrip("=")
    return " ".join([kind, f"SHA256:{fingerprint}", *comment])


def ensure_host_key(paths: Paths) -> None:
    """One Ed25519 host key under /data, whole or not there."""
    final = paths.ssh / KEY_NAME
    if final.exists():
        return
    paths.ssh.mkdir(mode=0o700, parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=paths.ssh, prefix=".new-") as directory:
        made = Path(directory) / KEY_NAME
        argv = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "hearth", "-f", str(made)]
        run(argv, timeout=KEYGEN_SECONDS)
        public = made.with_suffix(".pub")
        write_atomic(paths.ssh / public.name, public.read_text())
        write_atomic(final, made.read_text(), mode=0o600)
    _remove_leftovers(paths.ssh)
    fsync_directory(paths.ssh)


def _remove_leftovers(directory: Path) -> None:
    for path in directory.glob(".new-*"):
        shutil.rmtree(path, ignore_errors=True)
