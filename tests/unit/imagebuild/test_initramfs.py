"""Kernel modules in load order, and the persistence table as /init reads it."""

from __future__ import annotations

from pathlib import Path

import pytest

from appliance.persistence import PERSISTED
from imagebuild.initramfs import load_order, persist_lines
from imagebuild.kernel import module_depends, module_name


def modinfo(*entries: str) -> bytes:
    """An ELF-like file whose .modinfo has ``entries``, as the kernel build writes them."""
    return b"\x7fELF\0code\0" + b"".join(entry.encode() + b"\0" for entry in entries) + b"tail"


@pytest.fixture
def modules(tmp_path: Path) -> dict[str, Path]:
    content = {
        "ext4": modinfo("depends=mbcache,jbd2", "softdep=pre: crc32c"),
        "jbd2": modinfo("depends=crc16"),
        "mbcache": modinfo("depends="),
        "crc16": modinfo("depends="),
        "crc32c": modinfo("depends="),
        "sdhci_iproc": modinfo("depends=sdhci-pltfm"),
        "sdhci_pltfm": modinfo("depends=sdhci"),
        "sdhci": modinfo("depends="),
        "ring_a": modinfo("depends=ring_b"),
    }
    made = {}
    for name, data in content.items():
        made[name] = tmp_path / f"{name}.ko"
        made[name].write_bytes(data)
    return made


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("kernel/fs/ext4/ext4.ko", "ext4"),
        ("kernel/drivers/mmc/host/sdhci-iproc.ko.xz", "sdhci_iproc"),
        ("dm-mod", "dm_mod"),
    ],
)
def test_the_kernels_name_of_a_module(path: str, name: str) -> None:
    assert module_name(path) == name


def test_hard_and_soft_dependencies_are_read() -> None:
    data = modinfo("depends=a-b,c", "softdep=pre: d-e post: f", "description=depends=not-this")
    assert module_depends(data) == ["a_b", "c", "d_e", "f"]
    assert module_depends(modinfo("depends=")) == []


def test_dependencies_come_first_and_once(modules: dict[str, Path]) -> None:
    order = load_order(["ext4", "sdhci_iproc", "ext4"], modules)
    assert sorted(order) == sorted(set(order))
    for name in order:
        needed = module_depends(modules[name].read_bytes())
        assert all(order.index(other) < order.index(name) for other in needed)
    assert set(order) == set(modules) - {"ring_a"}


def test_what_the_kernel_has_built_in_is_passed_over(modules: dict[str, Path]) -> None:
    assert load_order(["virtio_pci", "jbd2"], modules) == ["crc16", "jbd2"]
    assert load_order(["ring_a"], modules) == ["ring_a"]


def test_init_gets_every_bound_row_of_the_table() -> None:
    rows = [line.split(" ") for line in persist_lines().splitlines()]
    bound = {row.path: row for row in PERSISTED if row.bind}
    assert {path for path, _, _ in rows} == set(bound)
    for path, place, kind in rows:
        assert place == bound[path].bind
        assert kind == ("f" if bound[path].is_file else "d")
