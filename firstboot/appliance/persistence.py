"""What outlives a boot and an update: one table; everything else in / is a tmpfs or read-only.

Rows with ``bind`` are bound to that place by the initramfs before PID 1 starts, for programs whose
path cannot be configured. The others are reached under /data by configuration.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Persisted:
    """``path`` under /data; ``owner`` and ``mode`` when the directory is made at first boot."""

    path: str
    what: str
    owner: str = "root:root"
    mode: int = 0o755
    bind: str | None = None
    is_file: bool = False


PERSISTED = (
    Persisted(path="hearth", owner="root:hearth-ui", mode=0o750, what="settings, secrets, state"),
    Persisted(path="postgresql", owner="postgres:postgres", mode=0o750, what="database"),
    Persisted(path="homeserver", owner="root:root", mode=0o751, what="signing key, media"),
    Persisted(path="snapshots", mode=0o700, what="databases of before an update"),
    Persisted(path="certificates", mode=0o751, what="certificate authority, certificates, ACME"),
    Persisted(path="ssh", mode=0o700, what="SSH host keys"),
    Persisted(path="system", what="machine identity and clock"),
    Persisted(
        path="system/machine-id",
        bind="/etc/machine-id",
        is_file=True,
        mode=0o444,
        what="machine-id, and from it the DHCP identity (RFC 4361 DUID)",
    ),
    Persisted(
        path="system/systemd",
        bind="/var/lib/systemd",
        what="random seed, last known time, timer stamps",
    ),
    Persisted(path="system/rauc", mode=0o700, what="what is in the slots, block by block"),
    Persisted(
        path="failures", mode=0o750, what="reasons and logs of failed updates and file systems"
    ),
)
