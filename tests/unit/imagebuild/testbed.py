"""A card reader that is not there: run under ``umockdev-wrapper`` in a process of its own.

umockdev (Debian) shows this process, and only it, a made-up /sys, /dev and udev; pyudev and libudev
are the real ones. What a reader says is simulated here, therefore, and nothing else: /dev/sdb is a
file, and the command line is the real one.

    testbed.py SCENARIO ARGUMENTS... [:: ARGUMENTS...]    as `hearth ARGUMENTS...`, one by one

The exit status is the last one's; standard error ends each with a line ``status: N``.
"""

from __future__ import annotations

import ctypes
import errno
import os
import sys
import threading
from pathlib import Path

import pyudev

from appliance.deadline import wait_until
from appliance.layout import GIB, MIB
from imagebuild.__main__ import main
from imagebuild.flash.card import Card
from imagebuild.flash.watch import watch_for_removal

USB = "/devices/pci0000:00/0000:00:14.0/usb2/2-1"
READER = f"""P: {USB}
E: DEVTYPE=usb_device
E: SUBSYSTEM=usb
A: product=Card Reader\\n

"""


def disk(name: str, path: str, size: int, *lines: str) -> str:
    own = "".join(f"{line}\n" for line in lines)
    return (
        f"P: {path}/block/{name}\nN: {name}\nE: DEVNAME=/dev/{name}\nE: DEVTYPE=disk\n"
        f"E: SUBSYSTEM=block\nA: size={size // 512}\\n\nA: ro=0\\n\nA: diskseq=77\\n\n{own}\n"
    )


def partition(path: str, name: str, number: int, *lines: str) -> str:
    own = "".join(f"{line}\n" for line in lines)
    return (
        f"P: {path}/{name}\nN: {name}\nE: DEVNAME=/dev/{name}\nE: DEVTYPE=partition\n"
        f"E: SUBSYSTEM=block\nA: partition={number}\\n\nA: size=2097152\\n\n{own}\n"
    )


STICK_AT = f"{USB}/2-1:1.0/host6/target6:0:0/6:0:0:0"
STICK = disk("sdb", STICK_AT, 16 * GIB, "A: removable=1\\n", "A: dev=8:16\\n", "E: ID_BUS=usb",
             "E: ID_VENDOR=SanDisk", "E: ID_MODEL=Ultra_Fit")  # fmt: skip
STICK_DISK = f"{STICK_AT}/block/sdb"
HEARTH = partition(
    STICK_DISK, "sdb1", 1, "E: ID_FS_TYPE=vfat", "E: ID_FS_LABEL=bootfs"
) + partition(STICK_DISK, "sdb4", 4, "E: ID_FS_TYPE=ext4", "E: ID_FS_LABEL=hearth-data")
BUILT_IN = disk("sda", "/devices/pci0000:00/0000:00:17.0/ata1/host0/target0:0:0/0:0:0:0",
                500 * GIB, "A: removable=0\\n", "E: ID_MODEL=Disk")  # fmt: skip
MMC_AT = "/devices/platform/mmc0"
SD = f"P: {MMC_AT}/mmc0:aaaa\nE: SUBSYSTEM=mmc\nA: type=SD\\n\nA: name=SC32G\\n\n\n" + disk(
    "mmcblk0", f"{MMC_AT}/mmc0:aaaa", 32 * GIB, "A: removable=0\\n"
)
EMMC = f"P: {MMC_AT}/mmc1:0001\nE: SUBSYSTEM=mmc\nA: type=MMC\\n\n\n" + disk(
    "mmcblk1", f"{MMC_AT}/mmc1:0001", 32 * GIB, "A: removable=0\\n"
)
SSD_AT = f"{USB}/2-1:1.0/host7/target7:0:0/7:0:0:0"
SSD = disk("sdc", SSD_AT, 64 * GIB, "A: removable=0\\n", "E: ID_MODEL=Portable_SSD")
DISC = disk("sr0", f"{USB}/2-1:1.0/host8/target8:0:0/8:0:0:0", GIB, "A: removable=1\\n")
EMPTY = disk("sdd", f"{USB}/2-1:1.0/host9/target9:0:0/9:0:0:0", 0, "A: removable=1\\n")
LVM = partition(f"{SSD_AT}/block/sdc", "sdc1", 1, "E: ID_FS_TYPE=LVM2_member") + (
    "P: /devices/virtual/block/dm-0\nN: dm-0\nE: DEVTYPE=disk\nE: SUBSYSTEM=block\n"
    "A: dm/uuid=LVM-abc\\n\nA: dm/name=home-photos\\n\n\n"
)


class Bed:
    """The parts of umockdev's C library that are needed here."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL("libumockdev.so.0")
        self._library.umockdev_testbed_new.restype = ctypes.c_void_p
        self._library.umockdev_testbed_get_root_dir.restype = ctypes.c_char_p
        self._bed = ctypes.c_void_p(self._library.umockdev_testbed_new())
        self.root = Path(self._library.umockdev_testbed_get_root_dir(self._bed).decode())

    def add(self, *descriptions: str) -> None:
        for text in descriptions:
            error = ctypes.c_void_p()
            if not self._library.umockdev_testbed_add_from_string(
                self._bed, text.encode(), ctypes.byref(error)
            ):
                raise ValueError(text)

    def change(self, path: str, attribute: str, value: str) -> None:
        words = (f"/sys{path}", attribute, f"{value}\n")
        set_attribute = self._library.umockdev_testbed_set_attribute
        set_attribute(self._bed, *(word.encode() for word in words))

    def remove(self, path: str) -> None:
        self._library.umockdev_testbed_uevent(self._bed, f"/sys{path}".encode(), b"remove")
        self._library.umockdev_testbed_remove_device(self._bed, f"/sys{path}".encode())


def everything(bed: Bed) -> None:
    bed.add(READER, STICK, HEARTH, BUILT_IN, SD, EMMC, SSD, DISC, EMPTY, LVM)
    holders = bed.root / f"sys{SSD_AT}/block/sdc/sdc1/holders"
    holders.mkdir()
    (holders / "dm-0").mkdir()


def stick(bed: Bed) -> None:
    """One stick of 16 GiB, whose content is a file."""
    bed.add(READER, STICK)
    node = bed.root / "dev/sdb"
    node.unlink(missing_ok=True)
    node.touch()
    os.truncate(node, 16 * GIB)


def backups(bed: Bed) -> None:
    """A USB disk that nothing has mounted, and no card."""
    bed.add(READER, SSD)


def labelled(bed: Bed, place: str) -> None:
    """An ext4 with our data's label at ``place``, in bytes; udev tells its label in any case."""
    stick(bed)
    bed.add(HEARTH)
    with (bed.root / "dev/sdb").open("r+b") as file:
        file.seek(int(place) + 1024 + 0x38)
        file.write(b"\x53\xef")
        file.seek(int(place) + 1024 + 0x78)
        file.write(b"hearth-data")


def swapped(bed: Bed) -> None:
    """The same name is another stick's when the person has typed it."""
    stick(bed)

    class Typing:
        def readline(self) -> str:
            bed.change(STICK_DISK, "diskseq", "78")
            return "sdb\n"

        def isatty(self) -> bool:
            return False

    sys.stdin = Typing()  # type: ignore[assignment]


def pulled(bed: Bed) -> None:
    """The stick goes while the image is written, and the write fails as the kernel lets it fail."""
    stick(bed)
    real = Card.write

    def write(card: Card, view: memoryview, offset: int) -> None:
        if offset > MIB and len(view) > MIB:
            bed.remove(STICK_DISK)
            with card._explained("be written"):
                raise OSError(errno.EIO, os.strerror(errno.EIO))
        real(card, view, offset)

    Card.write = write  # type: ignore[method-assign]


def late(bed: Bed) -> None:
    """The stick comes when the person is asked for it."""
    asked = sys.stderr.write

    def write(text: str) -> int:
        if "Put the card" in text:
            threading.Timer(0.05, stick, [bed]).start()
        return asked(text)

    sys.stderr.write = write  # type: ignore[method-assign]


def watch(bed: Bed) -> int:
    """That the removal is noticed, and only that of this disk."""
    stick(bed)
    bed.add(SSD)
    with watch_for_removal(pyudev.Context(), "sdb") as gone:
        bed.remove(f"{SSD_AT}/block/sdc")
        if gone.wait(0.1):
            return 1
        bed.remove(STICK_DISK)
        wait_until(gone.is_set, seconds=10, what="the news", every=0.01)
    return 0


if __name__ == "__main__":
    scenarios = (everything, stick, backups, labelled, swapped, pulled, late, watch)
    name, *details = sys.argv[1].split("-")
    status = {f.__name__: f for f in scenarios}[name](Bed(), *details)  # type: ignore[operator]
    for command in " ".join(sys.argv[2:]).split("::") if sys.argv[2:] else ():
        status = main(command.split())
        sys.stderr.write(f"status: {status}\n")
    sys.exit(status)
