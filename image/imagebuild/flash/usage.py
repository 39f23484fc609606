"""What this computer does with a disk, by the kernel's own tables.

Mount points (/proc/self/mountinfo), swap (/proc/swaps), LVM, RAID and encryption (sysfs, holders),
and loop devices upon it. What another mount namespace does is not seen here: opening the disk for
us alone finds it out (imagebuild.flash.card).
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

BLOCK = Path("/sys/class/block")
OCTAL = re.compile(r"\\([0-7]{3})")
SYSTEM = ("/", "/boot", "/boot/efi", "/boot/firmware", "/usr", "/var", "/home")


def find_uses(disk: str, partitions: list[str]) -> tuple[str, ...]:
    """Sentences, the weightiest first: "/ of this computer is on sda2"."""
    found: list[tuple[int, str]] = []
    mounts = list(_mounts())
    for name in (disk, *partitions):
        for user, path in _stack(name):
            found += _mount_uses(user, path, mounts)
            if _device_number(user) in _swaps():
                found.append((0, f"{path} is swap space of this computer"))
        found += [(2, f"{name} is part of {_title(holder)}") for holder in _holders(name)]
        found += [(2, f"{loop} is a loop device on it") for loop in _loops_on(name)]
    return tuple(text for _, text in sorted(set(found)))


def _stack(name: str, path: str = "") -> Iterator[tuple[str, str]]:
    """The device and all that is built upon it (md, dm), each with a way to say where it is."""
    path = path or name
    yield name, path
    for holder in _holders(name):
        yield from _stack(holder, f"{_title(holder)} on {path}")


def _holders(name: str) -> list[str]:
    try:
        return sorted(holder.name for holder in (BLOCK / name / "holders").iterdir())
    except OSError:
        return []


def _title(name: str) -> str:
    """What people call it: "the LVM volume vg-root", "the RAID md0"."""
    kind = _read(BLOCK / name / "dm" / "uuid").partition("-")[0]
    called = _read(BLOCK / name / "dm" / "name") or name
    words = {"LVM": "the LVM volume", "CRYPT": "the encrypted volume"}
    return f"{words.get(kind, 'the RAID' if name.startswith('md') else 'the volume')} {called}"


def _mount_uses(name: str, path: str, mounts: list[tuple[str, str, str]]) -> list[tuple[int, str]]:
    number = _device_number(name)
    places = {place for device, source, place in mounts
              if device == number or source == f"/dev/{name}"}  # fmt: skip
    return [
        (0, f"{place} of this computer is on {path}")
        if place in SYSTEM
        else (1, f"{path} is mounted at {place}")
        for place in places
    ]


def _mounts() -> Iterator[tuple[str, str, str]]:
    """Device number, source, mount point (proc(5)). btrfs has a number of its own: the source
    tells."""
    for line in Path("/proc/self/mountinfo").read_text(errors="replace").splitlines():
        before, _, after = line.partition(" - ")
        parts, rest = before.split(" "), after.split(" ")
        yield parts[2], _unescape(rest[1]), _unescape(parts[4])


def _swaps() -> set[str]:
    try:
        lines = Path("/proc/swaps").read_text().splitlines()[1:]
    except OSError:
        return set()
    found = set()
    for line in lines:
        try:
            number = os.stat(_unescape(line.split()[0])).st_rdev  # noqa: PTH116 - st_rdev only
        except OSError:
            continue
        found.add(f"{os.major(number)}:{os.minor(number)}")
    return found


def _loops_on(name: str) -> list[str]:
    files = BLOCK.glob("loop*/loop/backing_file")
    return sorted(file.parent.parent.name for file in files if _read(file) == f"/dev/{name}")


def _device_number(name: str) -> str:
    return _read(BLOCK / name / "dev")


def _unescape(text: str) -> str:
    return OCTAL.sub(lambda found: chr(int(found[1], 8)), text)


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
