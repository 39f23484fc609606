"""bootfs: the FAT partition that the Pi's firmware reads; made without mounting, by mtools."""

from __future__ import annotations

import re
import shutil
import struct
import zlib
from pathlib import Path

from appliance.errors import ImageError
from appliance.layout import BOOTFS
from appliance.run import run
from imagebuild.context import Context
from imagebuild.kernel import deb_files, find_package
from imagebuild.overlay import make_script, source_date_epoch
from imagebuild.packages import PackageSet
from imagebuild.sandbox import inside

FIRMWARE = ("bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat",
            "start_cd.elf", "fixup_cd.dat", "start4cd.elf", "fixup4cd.dat")  # fmt: skip
UBOOT_BUILD = "rpi_arm64"  # one binary for every 64-bit Pi
ENVIRONMENT_SIZE = 0x4000  # CONFIG_ENV_SIZE of Debian's rpi_arm64 build
# bootdelay -2: no delay and no key stops it, because noise on a Pi 5's UART did.
ENVIRONMENT_CHANGES = {"bootdelay": "-2", "preboot": ""}
VOLUME_ID = "48454152"


def make_bootfs(context: Context, packages: PackageSet, slot: Path, target: Path) -> None:
    """The file system image at ``target``; device trees come from the slot's kernel layer."""
    tree = context.work / "bootfs"
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    source = context.recipe.source / "image/boot"
    for name in ("config.txt", "cmdline.txt"):
        shutil.copyfile(source / name, tree / name)
    for member, data in deb_files(context, find_package(packages, "raspi-firmware")):
        directory, _, name = member.rpartition("/")
        if directory == "usr/lib/raspi-firmware" and name in FIRMWARE:
            (tree / name).write_bytes(data)
    for member, data in deb_files(context, find_package(packages, "u-boot-rpi")):
        if member == f"usr/lib/u-boot/{UBOOT_BUILD}/u-boot.bin":
            (tree / "u-boot.bin").write_bytes(data)
    binary = (tree / "u-boot.bin").read_bytes()
    environment = default_environment(binary) | ENVIRONMENT_CHANGES
    (tree / "uboot.env").write_bytes(render_environment(environment))
    make_script(context, source / "boot.cmd", tree / "boot.scr")
    for device_tree in sorted((slot / "boot/dtb/broadcom").glob("*.dtb")):
        shutil.copyfile(device_tree, tree / device_tree.name)
    _make_fat(context, tree, target)


def default_environment(binary: bytes) -> dict[str, str]:
    """The environment compiled into a U-Boot binary: NUL-separated name=value, two NULs at the end.

    A saved environment replaces the compiled one as a whole (U-Boot, "Environment Variables"), so
    ours must be complete. Raises ImageError when the block cannot be found.
    """
    start = binary.find(b"\0bootdelay=")
    if start < 0:
        start = binary.find(b"bootdelay=") - 1
    end = binary.find(b"\0\0", start + 1)
    first = start
    while first > 0 and (
        entry := re.search(rb"\0([\w.]+=[^\0]*)\Z", binary[max(0, first - 4096) : first])
    ):
        first -= len(entry.group(0))
    block = binary[first + 1 : end]
    items = (item.partition("=") for item in block.decode("ascii").split("\0"))
    values = {name: value for name, _, value in items}
    needed = {"bootcmd", "kernel_addr_r", "ramdisk_addr_r", "fdt_addr_r", "pxefile_addr_r"}
    if start < 0 or not needed <= values.keys():
        message = "the U-Boot binary's default environment was not found"
        raise ImageError(message, hint=f"missing: {', '.join(sorted(needed - values.keys()))}")
    return values


def render_environment(values: dict[str, str]) -> bytes:
    """The file form of U-Boot's environment: CRC-32, then the entries, padded with zeros."""
    text = b"".join(f"{name}={value}".encode() + b"\0" for name, value in sorted(values.items()))
    body = text.ljust(ENVIRONMENT_SIZE - 4, b"\0")
    return struct.pack("<I", zlib.crc32(body)) + body


def _make_fat(context: Context, tree: Path, target: Path) -> None:
    target.unlink(missing_ok=True)
    with target.open("wb") as file:
        file.truncate(BOOTFS.size or 0)
    stamp = source_date_epoch(context)
    sandbox = inside(
        context.tools,
        binds=[(target.parent, "/mnt"), (tree, "/srv")],
        cwd="/srv",
        env={"SOURCE_DATE_EPOCH": str(stamp), "TZ": "UTC", "MTOOLS_SKIP_CHECK": "1"},
    )
    script = (
        f"find . -exec touch -d @{stamp} {{}} + && "
        f"mkfs.vfat -F 32 -n {BOOTFS.label.upper()} -i {VOLUME_ID} --invariant"
        f" /mnt/{target.name} >/dev/null && "
        f"mcopy -m -s -i /mnt/{target.name} $(ls | LC_ALL=C sort) ::/"
    )
    run([*sandbox, "sh", "-ec", script])
