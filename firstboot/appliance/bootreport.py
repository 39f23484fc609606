"""What the initramfs found on the booted card: ``name=value`` lines in /run/hearth/boot."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path


class DataCondition(StrEnum):
    """The data partition as the initramfs found it; only OK is stored on the card."""

    OK = "ok"
    FOUND = "found"
    DAMAGED = "damaged"
    MISSING = "missing"


@dataclass(frozen=True, kw_only=True)
class BootReport:
    """``disk`` is the whole-disk device that was booted from, None when unknown.

    ``data_detail`` with data that are OK: what was ordered and could not be done with them.
    ``rescue``: no slot had an attempt left, so boot.scr started the committed one all the same.
    """

    slot: str = ""
    disk: Path | None = None
    data: DataCondition = DataCondition.MISSING
    data_detail: str = "the start-up program left no report"
    first_boot: bool = False
    rescue: bool = False


def parse_boot_report(text: str) -> BootReport:
    """Unknown names are passed over: slot and initramfs are updated together, tools may not be."""
    values = dict(line.split("=", 1) for line in text.splitlines() if "=" in line)
    known = {member.value for member in DataCondition}
    data = values.get("data", "")
    detail = values.get("data_detail", "")
    if data not in known:
        data, detail = "missing", f"the start-up program reported {data!r} about the data partition"
    return BootReport(
        slot=values.get("slot", ""),
        disk=Path(values["disk"]) if values.get("disk") else None,
        data=DataCondition(data),
        data_detail=detail,
        first_boot=values.get("first_boot") == "1",
        rescue=values.get("rescue") == "1",
    )


def render_boot_report(report: BootReport) -> str:
    lines = {
        "slot": report.slot,
        "disk": str(report.disk or ""),
        "data": report.data.value,
        "data_detail": " ".join(report.data_detail.split()),
        "first_boot": "1" if report.first_boot else "0",
        "rescue": "1" if report.rescue else "0",
    }
    return "".join(f"{name}={value}\n" for name, value in lines.items())


def load_boot_report(path: Path) -> BootReport:
    """The report; one that says "missing" where there is none, because then nothing is mounted."""
    try:
        return parse_boot_report(path.read_text(errors="replace"))
    except FileNotFoundError:
        return BootReport()
