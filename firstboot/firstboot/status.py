"""What GetStatus tells: measured now, not read from what was configured."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from appliance.bootreport import DataCondition, load_boot_report
from appliance.errors import ConfigError
from appliance.paths import Paths
from appliance.protocol import Status
from appliance.settings import Settings, load_settings
from appliance.state import Phase, load_state
from firstboot.kept import load_kept
from firstboot.outside import outside_facts
from services.names import public_names
from services.network import local_addresses
from services.reset import has_kept, load_done
from services.sizing import choose_size, find_excess, load_memory

UNKNOWN_VERSION = "unknown"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What the image and the board are; they do not change while the machine runs."""

    version: str
    development: bool
    board: str


def load_facts(paths: Paths) -> Facts:
    """An image without readable facts counts as a development image: the careful answer."""
    try:
        table: dict[str, Any] = json.loads(paths.image_facts.read_text())
    except (OSError, ValueError):
        table = {}
    model = paths.root / "proc" / "device-tree" / "model"
    try:
        board = model.read_text(errors="replace").strip("\0\n ")
    except OSError:
        board = ""
    return Facts(
        version=str(table.get("version", UNKNOWN_VERSION)),
        development=bool(table.get("development", True)),
        board=board or "unknown board",
    )


def is_clock_synchronised(paths: Paths) -> bool:
    """systemd-timesyncd(8) touches this file once a time server has set the clock."""
    return (paths.root / "run" / "systemd" / "timesync" / "synchronized").exists()


def measure_status(
    paths: Paths,
    facts: Facts,
    *,
    names: tuple[str, ...],
    notes: tuple[str, ...],
    fingerprint: str,
) -> Status:
    report = load_boot_report(paths.boot_report)
    state = load_state(paths.state)
    settings, memory = None, load_memory(paths)
    if state.phase is not Phase.UNCLAIMED and state.phase is not Phase.SETUP:
        try:
            settings = load_settings(paths.settings)
        except ConfigError as error:
            notes = (*notes, error.message)
    if settings is not None and (excess := find_excess(paths, settings)):
        notes = (*notes, excess)
    if report.data is DataCondition.OK and report.data_detail:
        notes = (*notes, report.data_detail)
    done = load_done(paths) if has_kept(paths) else None
    return Status(
        phase=state.phase,
        version=facts.version,
        development=facts.development,
        board=facts.board,
        names=names,
        addresses=local_addresses(),
        data=report.data.value,
        data_detail=report.data_detail,
        clock_synchronised=is_clock_synchronised(paths),
        server_name=settings.server.name if settings else "",
        software=settings.server.software.value if settings else "",
        client_url=find_client_url(settings) if settings else "",
        owner_name=settings.owner.name if settings else "",
        authority_fingerprint=fingerprint,
        notes=notes,
        kept_hours=done.hours if done else 0,
        kept_name=done.server_name if done else "",
        rescue=report.rescue,
        memory=memory,
        ram=choose_size(paths, settings).ram,
        claim_by_password=bool(load_kept(paths).password),
        outside=outside_facts(paths, settings) if state.phase is Phase.READY else (),
    )


def find_client_url(settings: Settings) -> str:
    """What apps connect to: the public name for it, where there is one."""
    names = public_names(settings)
    return names.client_url if names else f"https://{settings.server.name}"
