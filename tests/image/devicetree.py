"""What the kernel waits for before it tries a device, read from a board's device tree.

The tree names the suppliers of a device (Devicetree Specification 0.4, 2.3; driver core's
``fw_devlink``): regulators, clocks, pins, DMA and so on. A driver that is missing anywhere along
that way leaves the device unused for ever, which no emulator of ours would show for a Pi 5.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

# Properties with references, and the supplier's property that tells how many numbers follow each.
SUPPLIES = {
    r"clocks": "#clock-cells",
    r"dmas": "#dma-cells",
    r"resets": "#reset-cells",
    r"phys": "#phy-cells",
    r"power-domains": "#power-domain-cells",
    r"(.+-)?gpios?": "#gpio-cells",
    r".+-supply|pinctrl-\d|mmc-pwrseq|msi-parent": "",
}


@dataclass(kw_only=True, eq=False)
class Node:
    name: str
    parent: Node | None
    properties: dict[str, str] = field(default_factory=dict)

    @property
    def compatible(self) -> list[str]:
        return re.findall(r'"([^"]+)"', self.properties.get("compatible", ""))

    @property
    def is_enabled(self) -> bool:
        if self.properties.get("status", '"okay"') not in ('"okay"', '"ok"'):
            return False
        return self.parent is None or self.parent.is_enabled

    def cells(self, name: str) -> list[int]:
        numbers = re.findall(r"0x[0-9a-f]+", self.properties.get(name, ""))
        return [int(number, 16) for number in numbers]


def parse_source(source: str) -> list[Node]:
    """The nodes of what ``dtc -O dts`` prints: one line for each property, brace and node."""
    nodes: list[Node] = []
    at: Node | None = None
    for line in map(str.strip, source.splitlines()):
        if line.endswith("{"):
            at = Node(name=line[:-1].strip(), parent=at)
            nodes.append(at)
        elif line == "};":
            assert at is not None
            at = at.parent
        elif at is not None and line.endswith(";"):
            name, _, value = line[:-1].partition(" = ")
            at.properties[name] = value
    return nodes


def chain(start: Node, nodes: list[Node]) -> list[Node]:
    """``start``, its buses and all that they are supplied by, each once."""
    by_handle = {node.cells("phandle")[0]: node for node in nodes if node.cells("phandle")}
    found: list[Node] = []
    todo = [start]
    while todo:
        node = todo.pop()
        if node in found:
            continue
        found.append(node)
        if node.parent is not None:
            todo.append(node.parent)
        # A Pi's clock controller and its DSI feed each other; the kernel waits for no such circle.
        todo += [x for x in _suppliers(node, by_handle) if node not in _suppliers(x, by_handle)]
    return [node for node in found if node.compatible and node.parent is not None]


def _suppliers(node: Node, by_handle: dict[int, Node]) -> Iterator[Node]:
    for name in node.properties:
        counted = next((c for rule, c in SUPPLIES.items() if re.fullmatch(rule, name)), None)
        if counted is None:
            continue
        cells = node.cells(name)
        while cells:
            supplier = by_handle[cells[0]]
            yield supplier
            width = (supplier.cells(counted) or [0])[0] if counted else 0
            cells = cells[1 + width :]
