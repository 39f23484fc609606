"""Which disks this machine has, and whether one of them may be erased.

udev says what a disk is (model, port, what is on it); the kernel's own tables say what uses it.
Where no udev runs, as in many containers, sysfs alone still tells size, port and use.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pyudev

from appliance.errors import DiskError
from appliance.layout import GIB, MIN_CARD, SECTOR
from imagebuild.flash.usage import find_uses

# Readers of discs and of floppies also call their medium removable.
NO_CARDS = ("sr", "fd", "loop")
LARGEST_CARD = 1024 * GIB


@dataclass(frozen=True, kw_only=True)
class Content:
    """One partition (or the whole disk, where it has none): file system and label, "" if unknown.
    ``size`` in bytes."""

    name: str
    size: int
    type: str
    label: str


@dataclass(frozen=True, kw_only=True)
class Disk:
    """``size`` in bytes, 0 for a reader without a card; ``has_medium``: one that can be taken
    out, as of a card reader and of most sticks; ``uses`` says what this computer does with it;
    ``sequence`` is new each time a disk appears (sysfs, diskseq)."""

    name: str
    node: Path
    size: int
    model: str
    port: str
    removable: bool
    has_medium: bool
    read_only: bool
    sequence: str
    contents: tuple[Content, ...]
    uses: tuple[str, ...]

    @property
    def is_likely_a_card(self) -> bool:
        """One that may be chosen without its name: a USB disk with somebody's backups is not."""
        return self.has_medium and self.size <= LARGEST_CARD

    def describe_contents(self) -> str:
        if not self.contents:
            return "nothing that this computer knows"
        return ", ".join(_describe(content) for content in self.contents)


def _describe(content: Content) -> str:
    named = content.label or content.type or "unknown"
    kind = f"{content.type} " if content.label and content.type else ""
    return f"{named} ({kind}{content.size / 1e9:.1f} GB)"


def list_disks(context: pyudev.Context) -> list[Disk]:
    """All disks with a medium that can be pulled out, by name."""
    found = context.list_devices(subsystem="block", DEVTYPE="disk")
    disks = [read_disk(device) for device in found if _is_removable(device)]
    return sorted((disk for disk in disks if disk.size), key=lambda disk: disk.name)


def find_disk(context: pyudev.Context, name: str) -> Disk:
    """By ``sdb``, ``/dev/sdb`` or a link to it. Raises DiskError."""
    path = Path(name if name.startswith("/") else f"/dev/{name}").resolve()
    try:
        device = pyudev.Devices.from_name(context, "block", path.name)
    except pyudev.DeviceNotFoundError as error:
        message = f"there is no disk {name!r}"
        raise DiskError(message, hint="see `hearth flash --list`") from error
    if device.device_type == "partition":
        whole = device.find_parent("block", "disk")
        disk = whole.sys_name if whole is not None else "a disk"
        message = f"{path.name} is one partition of {disk}"
        raise DiskError(message, hint=f"a card is written as a whole: --disk {disk}")
    return read_disk(device)


def read_disk(device: pyudev.Device) -> Disk:
    children = [child for child in device.children if child.device_type == "partition"]
    known = sorted(children, key=lambda child: int(_text(child, "partition") or 0)) or (
        [device] if device.properties.get("ID_FS_TYPE") else []
    )
    return Disk(
        name=device.sys_name,
        node=Path(device.device_node or f"/dev/{device.sys_name}"),
        size=_size(device),
        model=_model(device),
        port=_port(device),
        removable=_is_removable(device),
        has_medium=device.sys_name.startswith("mmcblk") or _text(device, "removable") == "1",
        read_only=_text(device, "ro") == "1",
        sequence=_text(device, "diskseq"),
        contents=tuple(_content(child) for child in known),
        uses=find_uses(device.sys_name, [child.sys_name for child in children]),
    )


def check_disk(disk: Disk, needed: int) -> None:
    """Raises DiskError for a disk that must not or cannot be written."""
    if obstacle := find_obstacle(disk, needed):
        message, hint = obstacle
        raise DiskError(message, hint=hint)


def find_obstacle(disk: Disk, needed: int = 0) -> tuple[str, str] | None:
    """Why not, and what to do about it; ``needed`` is the image's size in bytes."""
    name = disk.name
    if disk.uses:
        return f"{name} is in use: {disk.uses[0]}", _way_out(disk)
    if not disk.removable and not name.startswith("loop"):
        hint = "choose one that can be pulled out: hearth flash --list"
        return f"{name} is built into this computer", hint
    if not disk.size:
        return f"{name} has no card in it", "put the card in"
    if disk.size < max(needed, MIN_CARD):
        message = f"{name} holds {disk.size / 1e9:.1f} GB; Hearth needs a card of 16 GB or more"
        return message, "use a larger card"
    if disk.read_only:
        hint = "move the small switch at its side; a card without one is worn out"
        return f"{name} is write-protected", hint
    return None


def _way_out(disk: Disk) -> str:
    if "this computer" in disk.uses[0]:
        return "choose another disk: hearth flash --list"
    return "let go of it first (unmount, or eject in the file manager and put it in again)"


def _is_removable(device: pyudev.Device) -> bool:
    name = device.sys_name
    if name.startswith(NO_CARDS) or device.properties.get("ID_CDROM"):
        return False
    if name.startswith("mmcblk"):
        # eMMC is soldered in; its boot areas are disks of their own (mmcblk0boot0).
        holder = device.find_parent("mmc")
        return holder is not None and _text(holder, "type") == "SD" and name[6:].isdigit()
    return _text(device, "removable") == "1" or device.find_parent("usb") is not None


def _model(device: pyudev.Device) -> str:
    holder = device.find_parent("mmc") or device.parent
    said = [device.properties.get("ID_VENDOR", ""), device.properties.get("ID_MODEL", "")]
    if not any(said) and holder is not None:
        said = [_text(holder, "vendor"), _text(holder, "model") or _text(holder, "name")]
    if not any(said) and device.sys_name.startswith("loop"):
        said = [_text(device, "loop/backing_file")]
    return " ".join(word.replace("_", " ").strip() for word in said if word.strip())


def _port(device: pyudev.Device) -> str:
    usb = device.find_parent("usb", "usb_device")
    if usb is not None:
        return f"USB {usb.sys_name}"
    mmc = device.find_parent("mmc")
    return "card slot" if mmc is not None else str(device.properties.get("ID_PATH", ""))


def _content(device: pyudev.Device) -> Content:
    properties = device.properties
    return Content(
        name=device.sys_name,
        size=_size(device),
        type=str(properties.get("ID_FS_TYPE", "")),
        label=str(properties.get("ID_FS_LABEL", "")),
    )


def _size(device: pyudev.Device) -> int:
    return int(_text(device, "size") or 0) * SECTOR


def _text(device: pyudev.Device, attribute: str) -> str:
    raw = device.attributes.get(attribute)
    return raw.decode(errors="replace").strip() if isinstance(raw, bytes) else ""
