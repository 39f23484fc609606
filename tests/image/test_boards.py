"""Every board's device tree against the drivers that the image carries.

Only one of these boards can be emulated; for the others this is what stands between a forgotten
module and a Pi that never finds its card.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

from image.conftest import Tool
from image.devicetree import Node, chain, parse_source
from imagebuild.recipe import Board, load_boards
from services.update.machine import BOARDS as BOARDS_BY_MODEL

pytestmark = pytest.mark.image

BOARDS = [board.device_tree for board in load_boards()]
# Clocks without a driver of their own: the clock framework makes them while it reads the tree.
FRAMEWORK = {"fixed-clock", "fixed-factor-clock"}
# Buses that are only a level of the tree, on a Pi 5 below the RP1 chip.
PLAIN_BUS = {"simple-bus"}


@pytest.fixture(scope="module")
def trees(slot: Path, run_tool: Tool) -> dict[str, list[Node]]:
    return {
        name: parse_source(run_tool(
            "dtc", "-q", "-I", "dtb", "-O", "dts", slot / f"boot/dtb/broadcom/{name}.dtb"))
        for name in BOARDS
    }  # fmt: skip


@pytest.fixture(scope="module")
def built_in(slot: Path) -> set[str]:
    [release] = (slot / "usr/lib/modules").iterdir()
    text = (release / "modules.builtin.modinfo").read_text(errors="replace")
    return {line.split(".alias=", 1)[1] for line in text.split("\0") if ".alias=" in line}


@pytest.fixture(scope="module")
def in_slot(slot: Path, built_in: set[str]) -> set[str]:
    [release] = (slot / "usr/lib/modules").iterdir()
    lines = (release / "modules.alias").read_text().splitlines()
    return built_in | {line.split()[1] for line in lines if line.startswith("alias ")}


@pytest.fixture(scope="module")
def in_initramfs(initramfs: Path, built_in: set[str]) -> set[str]:
    """What the kernel and the modules that /init loads on a Pi call themselves responsible for."""
    found = set(built_in)
    for name in (initramfs / "modules/pi").read_text().split():
        data = (initramfs / f"modules/{name}.ko").read_bytes()
        found |= {x[6:].decode() for x in data.split(b"\0") if x.startswith(b"alias=")}
    return found


def modalias(node: Node, compatible: str) -> str:
    """The kernel's name for a device: of the tree, or of PCI or USB where the tree names one."""
    if match := re.fullmatch(r"pci([0-9a-f]+),([0-9a-f]+)", compatible):
        vendor, device = (part.upper().zfill(8) for part in match.groups())
        return f"pci:v{vendor}d{device}sv00000000sd00000000bc00sc00i00"
    if match := re.fullmatch(r"usb([0-9a-f]+),([0-9a-f]+)", compatible):
        vendor, product = (part.upper().zfill(4) for part in match.groups())
        # Hubs go by their class (09) to usbcore, adapters by vendor and product.
        kind = "FF" if "ethernet" in node.name else "09"
        return f"usb:v{vendor}p{product}d0000dc00dsc00dp00ic{kind}iscFFip00in00"
    return f"of:NxT(null)C{compatible}"


def without_driver(nodes: Iterable[Node], aliases: set[str]) -> list[str]:
    missing = []
    for node in nodes:
        names = node.compatible
        if not FRAMEWORK.isdisjoint(names) or names[0] in PLAIN_BUS:
            continue
        if not any(fnmatchcase(modalias(node, name), rule) for rule in aliases for name in names):
            missing.append(f"{node.name} ({', '.join(names)})")
    return missing


def of_kind(nodes: list[Node], kinds: tuple[str, ...]) -> list[Node]:
    return [node for node in nodes if node.is_enabled and node.name.split("@")[0] in kinds]


@pytest.mark.parametrize("board", BOARDS)
def test_the_initramfs_can_use_the_card(
    trees: dict[str, list[Node]], in_initramfs: set[str], board: str
) -> None:
    nodes = trees[board]
    [card] = [x for x in of_kind(nodes, ("mmc",)) if "non-removable" not in x.properties]
    assert len(chain(card, nodes)) > 2
    assert without_driver(chain(card, nodes), in_initramfs) == []


@pytest.mark.parametrize("board", BOARDS)
def test_the_slot_can_use_network_and_usb(
    trees: dict[str, list[Node]], in_slot: set[str], board: str
) -> None:
    nodes = trees[board]
    devices = of_kind(nodes, ("ethernet", "usb"))
    assert devices
    needed = [node for device in devices for node in chain(device, nodes)]
    assert without_driver(needed, in_slot) == []


@pytest.mark.parametrize("board", load_boards(), ids=lambda board: board.name)
def test_an_update_knows_the_board_by_its_model(trees: dict[str, list[Node]], board: Board) -> None:
    root = trees[board.device_tree][0]
    model = root.compatible[0].split("\\0")[0]
    assert board.name in BOARDS_BY_MODEL[model]
