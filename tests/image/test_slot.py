"""The slot: a read-only ext4 that starts on every board."""

from __future__ import annotations

import gzip
import re
import subprocess
from pathlib import Path

import pytest

from appliance.layout import SLOT_A
from image.conftest import Entry, Tool
from image.test_card import script_text
from imagebuild.disk import SLOT_UUID
from imagebuild.initramfs import persist_lines
from imagebuild.recipe import SOURCE, load_boards, load_profile

pytestmark = pytest.mark.image


@pytest.fixture(scope="module")
def header(slot_device: str, run_tool: Tool) -> dict[str, str]:
    lines = run_tool("debugfs", "-R", "stats -h", slot_device).splitlines()
    return {name.strip(): value.strip() for name, _, value in (x.partition(":") for x in lines)}


def test_the_file_system_is_clean(slot_device: str, run_tool: Tool) -> None:
    run_tool("e2fsck", "-f", "-n", slot_device)


def test_it_is_what_a_read_only_slot_is(header: dict[str, str]) -> None:
    features = header["Filesystem features"].split()
    assert "has_journal" not in features
    assert "needs_recovery" not in features
    assert "orphan_file" not in features
    assert header["Filesystem state"] == "clean"
    assert header["Filesystem volume name"] == SLOT_A.label
    assert header["Directory Hash Seed"] == header["Filesystem UUID"]
    assert header["Reserved block count"] == "0"
    size = int(header["Block count"]) * int(header["Block size"])
    assert size <= (SLOT_A.size or 0)
    assert size % (4096 * int(header["Blocks per group"])) == 0
    assert header["Filesystem UUID"] == str(SLOT_UUID)


def test_uboot_can_read_it(header: dict[str, str]) -> None:
    """U-Boot's ext4 knows extents and 64bit, but not inline data or encryption."""
    unknown = {"inline_data", "encrypt", "casefold", "ea_inode", "verity"}
    assert not unknown & set(header["Filesystem features"].split())


def test_the_dates_are_the_packages_and_not_the_builds(header: dict[str, str], slot: Path) -> None:
    created = header["Filesystem created"]
    assert header["Last write time"] == created
    newest = max(path.lstat().st_mtime for path in slot.glob("usr/share/doc/*/copyright"))
    for path in slot.rglob("*"):
        if not path.is_symlink() and path.is_file():
            assert path.stat().st_mtime <= newest, path
    day = str(int(newest // 86400))
    for line in (slot / "etc/shadow").read_text().splitlines():
        assert line.split(":")[2] == day, line


def test_a_slot_can_grow_and_its_file_system_is_no_larger_than_it_must_be(
    header: dict[str, str],
) -> None:
    """Partitions never grow; what an update reads for every block should be of some use."""
    assert int(header["Free inodes"]) > 10_000
    used = int(header["Block count"]) - int(header["Free blocks"])
    assert (SLOT_A.size or 0) - used * 4096 > 1 << 30
    assert int(header["Free blocks"]) * 4096 < 256 << 20


def test_directories_lie_together_before_the_files(slot_device: str, run_tool: Tool) -> None:
    """Scattered, each would bring its surroundings along when an update adds one file."""

    def inode(path: str) -> int:
        said = run_tool("debugfs", "-R", f"stat {path}", slot_device)
        found = re.search(r"^Inode: (\d+) ", said, flags=re.M)
        assert found is not None
        return int(found.group(1))

    assert inode("/var/lib/dpkg/info") < inode("/boot/vmlinuz")
    assert inode("/usr/share/zoneinfo") < inode("/boot/initramfs")


def test_the_kernel_is_one_that_booti_takes(slot: Path) -> None:
    """An arm64 Image has "ARM\\x64" at 56 (kernel documentation, arch/arm64/booting)."""
    image = (slot / "boot/vmlinuz").read_bytes()
    if image[:2] == b"\x1f\x8b":
        image = gzip.decompress(image)
    assert image[56:60] == b"ARM\x64"


def test_device_trees_of_all_boards_are_there(slot: Path) -> None:
    for board in load_boards():
        raw = (slot / "boot/dtb/broadcom" / f"{board.device_tree}.dtb").read_bytes()
        assert raw[:4] == b"\xd0\x0d\xfe\xed"
        assert int.from_bytes(raw[4:8], "big") == len(raw)


def test_the_slots_script_is_the_repositorys(slot: Path) -> None:
    text = script_text(slot / "boot/slot.scr")
    assert text == (SOURCE / "image/boot/slot.cmd").read_bytes()


def test_modules_are_of_this_kernel_and_depmod_was_run(slot: Path) -> None:
    [release] = (slot / "usr/lib/modules").iterdir()
    found = subprocess.run(
        ["grep", "-aoPm1", r"Linux version \K\S+", slot / "boot/vmlinuz"],
        capture_output=True, text=True, check=False,
    ).stdout.split()  # fmt: skip
    assert not found or found[0] == release.name  # nothing to find in a compressed kernel
    depends = (release / "modules.dep").read_text()
    for line in depends.splitlines():
        name, _, needed = line.partition(":")
        for path in (name, *needed.split()):
            assert (release / path).exists(), path
    profile = load_profile("hearth")
    built_in = (release / "modules.builtin").read_text()
    present = {re.sub(r"[-_]", "_", Path(line.split(":")[0]).stem) for line in
               (*depends.splitlines(), *built_in.splitlines())}  # fmt: skip
    wanted = {name for names in profile.kernel.initramfs_lists.values() for name in names}
    missing = {name for name in wanted if name.replace("-", "_") not in present}
    assert not missing


def test_the_initramfs_is_small_and_ours(initramfs: Path) -> None:
    names = {str(path.relative_to(initramfs)) for path in initramfs.rglob("*") if path.is_file()}
    others = {name for name in names if not name.startswith("modules/")}
    assert others == {"init", "persist", "bin/busybox"}
    assert (initramfs / "init").read_bytes() == (SOURCE / "image/boot/init").read_bytes()
    assert (initramfs / "persist").read_text() == persist_lines()
    assert (initramfs / "init").stat().st_mode & 0o777 == 0o755
    assert (initramfs / "bin/busybox").read_bytes()[18:20] == b"\xb7\x00"  # EM_AARCH64
    for path in (initramfs, *initramfs.rglob("*")):
        assert path.lstat().st_uid == path.lstat().st_gid == 0


@pytest.mark.parametrize("kind", ["common", "pi", "virt"])
def test_the_initramfs_loads_modules_in_an_order_that_works(initramfs: Path, kind: str) -> None:
    order = (initramfs / "modules" / kind).read_text().split()
    before = (initramfs / "modules/common").read_text().split() if kind != "common" else []
    loaded = set(before)
    for name in order:
        data = (initramfs / f"modules/{name}.ko").read_bytes()
        depends = next(x for x in data.split(b"\0") if x.startswith(b"depends="))[8:].decode()
        for needed in filter(None, depends.split(",")):
            assert needed.replace("-", "_") in loaded, f"{name} needs {needed} first"
        loaded.add(name)


def test_the_initramfs_can_find_a_pis_card_and_restart_it(initramfs: Path, slot: Path) -> None:
    """On raspi3b an early panic reboots only when bcm2835_wdt is there (architecture, 4)."""
    [release] = (slot / "usr/lib/modules").iterdir()
    built_in = (release / "modules.builtin").read_text().replace("-", "_")
    loaded = (initramfs / "modules/pi").read_text().split()
    loaded += (initramfs / "modules/common").read_text().split()
    for name in ("bcm2835_wdt", "mmc_block", "sdhci_iproc", "ext4", "overlay"):
        assert name in loaded or f"/{name}.ko" in built_in, name


def test_places_to_mount_are_there(entries: dict[str, Entry]) -> None:
    for name in ("data", "boot/firmware", "proc", "sys", "dev", "run", "tmp", "etc", "var"):
        assert entries[name].mode & 0o170000 == 0o040000, name
    assert entries["etc/machine-id"].size == 0
