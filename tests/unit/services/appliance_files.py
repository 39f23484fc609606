"""An appliance of files only, for tests that render and sign but start nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from appliance.paths import Paths
from appliance.settings import Device, Owner, Reach, Secrets, Server, Settings, Software, save_toml
from services.homeserver import find_homeserver

REPOSITORY = Path(__file__).resolve().parents[3]
OVERLAY = REPOSITORY / "overlays" / "base"
SERVER_NAME = "home.example.org"
MEMINFO = "MemTotal:         949328 kB\nMemFree:           49512 kB\n"  # a Raspberry Pi 3's
SECRETS = Secrets(
    registration_shared_secret='quote " and \\ and #',
    macaroon_secret_key="macaroon-macaroon",
    form_secret="form-form-form",
    pending_password="correct horse battery",
    claim_hash="scrypt$claim",
    owner_password_hash="scrypt$owner",
)


class RecordedUnits:
    """A service manager that only remembers: ``active`` units run, ``acts`` were done.

    ``limits`` were set: each a unit and its properties.
    """

    def __init__(self, *active: str) -> None:
        self.active = set(active)
        self.acts: list[str] = []
        self.limits: list[tuple[str, ...]] = []

    def start(self, unit: str, *, wait: bool = True) -> None:
        self.acts.append(f"start {unit}")
        self.active.add(unit)

    def stop(self, unit: str) -> None:
        self.acts.append(f"stop {unit}")
        self.active.discard(unit)

    def restart(self, unit: str) -> None:
        self.acts.append(f"restart {unit}")

    def reload(self, unit: str) -> None:
        self.acts.append(f"reload {unit}")

    def set_properties(self, unit: str, properties: Sequence[str]) -> None:
        self.limits.append((unit, *properties))

    def is_active(self, unit: str) -> bool:
        return unit in self.active

    def is_failed(self, unit: str) -> bool:
        return False

    def restarts(self, unit: str) -> int:
        return 0

    def failed(self) -> tuple[str, ...]:
        return ()

    def log_tail(self, unit: str) -> str:
        return f"last words of {unit}"


def make_appliance(
    root: Path,
    *,
    software: Software = Software.SYNAPSE,
    reach: Reach = Reach.LAN,
    with_key: bool = True,
) -> Paths:
    paths = Paths(root)
    for directory in (paths.hearth, paths.certificates, paths.runtime, root / "etc"):
        directory.mkdir(parents=True)
    paths.templates.parent.mkdir(parents=True)
    paths.templates.symlink_to(OVERLAY / "usr/share/hearth/templates")
    (root / "proc").mkdir()
    (root / "proc/meminfo").write_text(MEMINFO)
    zone = root / "usr/share/zoneinfo/Europe/Berlin"
    zone.parent.mkdir(parents=True)
    zone.touch()
    settings = Settings(
        owner=Owner(name="anna"),
        device=Device(timezone="Europe/Berlin"),
        server=Server(name=SERVER_NAME, reach=reach, software=software),
    )
    save_toml(settings, paths.settings, mode=0o640)
    save_toml(SECRETS, paths.secrets, mode=0o600)
    if with_key:
        key = find_homeserver(software).signing_key(paths)
        key.parent.mkdir(parents=True)
        key.write_text("ed25519 a_test not-a-real-key\n")
    return paths
