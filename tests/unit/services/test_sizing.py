"""Which memory budget a board gets, that it fits, and what follows for what may run there."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.errors import CommandError, FieldError, StateError
from appliance.run import run
from appliance.settings import Device, RamClass, Software, load_settings, save_toml
from firstboot.fitting import check_reach, check_software
from services.configuration import apply_configuration
from services.homeserver import find_homeserver
from services.limits import find_limits
from services.sizing import (
    SIZES,
    Size,
    choose_size,
    find_excess,
    find_size,
    load_memory,
    refuse_public,
    refuse_software,
)
from unit.services.appliance_files import OVERLAY, RecordedUnits, make_appliance

# MemTotal in kB as boards have shown it, and where it was read. Where only the boot message is
# known ("Memory: xK/yK available (... zK cma-reserved)") it is x + z: the kernel gives CMA back.
SHOWN = (
    (426068, RamClass.MB512, "Zero 2 W, arm64, trixie; raspberrypi/picamera2#1358"),
    (388088, RamClass.MB512, "Zero 2 W, firmware of 2023-12; raspberrypi/firmware#1873"),
    (949328, RamClass.GB1, "Pi 3; eidottermihi/rpicheck#107"),
    (947280, RamClass.GB1, "Pi 3, 939088K + 8192K; raspberrypi/linux#2966"),
    (945152, RamClass.GB1, "Pi 4 of 2 GB of which the firmware shows one; HAOS#439, 923 MB"),
    (1709568, RamClass.GB2, "Pi 4, 1578496K + 131072K; tiny-pilot/tinypilot#1576"),
    (3672368, RamClass.GB4, "Pi 4, 3344688K + 327680K, GPU with 256 MB; balena-raspberrypi#1206"),
    (3843332, RamClass.GB4, "Pi 4, 3581188K + 262144K; sakaki-/gentoo-on-rpi-64bit#99"),
    (8085820, RamClass.GB8, "Pi 4, 2061312 - 39857 pages; raspberrypi/linux#5297"),
    (8283750, RamClass.GB8, "Pi 5, 7.9 GiB; raspberrypi/rpi-eeprom#750"),
)  # fmt: skip


@pytest.mark.parametrize(("kilobytes", "ram", "source"), SHOWN)
def test_boards_get_the_size_that_they_are_sold_with(
    tmp_path: Path, kilobytes: int, ram: RamClass, source: str
) -> None:
    paths = make_appliance(tmp_path)
    (tmp_path / "proc/meminfo").write_text(f"MemTotal:  {kilobytes} kB\nMemFree: 1 kB\n")
    assert choose_size(paths, load_settings(paths.settings)).ram is ram, source


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.ram.value)
def test_a_budget_fits_every_board_of_its_size(size: Size) -> None:
    # The one with old firmware, which takes 120 MB for itself, has its headroom to lose.
    shown = [kb // 1024 for kb, ram, _ in SHOWN if ram is size.ram and kb != 388088]
    assert size.budget.total <= min(shown)
    assert size.budget.homeserver_most < size.budget.total - size.budget.base


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.ram.value)
def test_strangers_cannot_take_all_memory(size: Size) -> None:
    """What nginx takes with every connection held over TLS: 9 MiB, and 38 kB each."""
    worst = 9 + size.connections * 38 / 1024
    assert worst <= size.budget.nginx + size.budget.headroom / 2
    # Its unit lets it have two files a connection.
    assert 2 * size.connections < 10000


@pytest.mark.parametrize(
    ("kilobytes", "swap"),
    [(426068, 319551), (949328, 711996), (1709568, 1048576), (8085820, 1048576)],
)
def test_swap_is_sized_by_the_memory(tmp_path: Path, kilobytes: int, swap: int) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text(f"MemFree:  1 kB\nMemTotal:        {kilobytes} kB\nSwapTotal: 0 kB\n")
    script = OVERLAY / "usr/lib/hearth/zram-swap"
    assert run([script, "size", meminfo]).stdout == f"{swap}\n"


def test_sizes_between_two_boards_count_as_the_smaller() -> None:
    assert find_size(2950).ram is RamClass.GB2, "a board of 3 GB"
    assert find_size(16000).ram is RamClass.GB8
    assert find_size(100).ram is RamClass.MB512, "there is none below"


def test_synapse_s_caches_lie_above_its_idle_heap_and_within_its_share() -> None:
    """Autotuning compares the whole heap: a target below 85 MiB, idle, would evict for ever."""
    for size in SIZES:
        assert 85 * 1.5 < size.synapse["heap_target"] < size.synapse["heap_most"]
        assert size.synapse["heap_most"] < size.budget.homeserver_most, "where it is ended"
        if not refuse_software(size, Software.SYNAPSE):
            # 60 MiB are not heap: programs and libraries. A tenth is lost between objects.
            assert size.synapse["heap_most"] * 1.1 + 60 <= size.budget.homeserver_most


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.ram.value)
def test_postgresql_s_settings_stay_in_its_share(size: Size) -> None:
    """Shared buffers, and for each connection of the pool a few MiB and one sort."""
    for pool in (size.synapse["connections"], size.dendrite["connections"]):
        sorts = pool * (5 + size.postgresql["work_mem"])
        assert size.postgresql["shared_buffers"] + sorts <= size.budget.postgresql


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.ram.value)
def test_postgresql_counts_on_no_more_cache_than_it_may_have(size: Size) -> None:
    """The planner takes an index for cheap as far as effective_cache_size goes."""
    [_, limit] = find_limits(size, find_homeserver(Software.DENDRITE))
    [high] = limit.properties
    most = int(high.removeprefix("MemoryHigh=").removesuffix("M"))
    assert size.postgresql["effective_cache"] <= most - size.postgresql["shared_buffers"]


def test_the_owner_s_word_counts_and_too_much_is_said(tmp_path: Path) -> None:
    paths = make_appliance(tmp_path)
    settings = load_settings(paths.settings)
    assert settings is not None
    assert find_excess(paths, settings) == ""
    bold = replace(settings, device=Device(memory=RamClass.GB4))
    save_toml(bold, paths.settings, mode=0o640)
    assert load_settings(paths.settings) == bold
    assert choose_size(paths, bold).ram is RamClass.GB4
    assert "4 GB, and it has 927 MB" in find_excess(paths, bold)
    modest = replace(settings, device=Device(memory=RamClass.MB512))
    assert find_excess(paths, modest) == "", "less than there is does no harm"


def test_the_smallest_board_gets_dendrite_at_home(tmp_path: Path) -> None:
    paths = make_appliance(tmp_path)
    check_software(paths, Software.SYNAPSE)
    check_reach(paths)
    (tmp_path / "proc/meminfo").write_text("MemTotal:         426068 kB\n")
    check_software(paths, Software.DENDRITE)
    with pytest.raises(FieldError, match=r"1 GB .* has 416 MB"):
        check_software(paths, Software.SYNAPSE)
    with pytest.raises(FieldError, match=r"1 GB .* has 416 MB"):
        check_reach(paths)
    settings = load_settings(paths.settings)
    assert settings is not None
    assert "Synapse needs" in find_excess(paths, settings), "a card that was moved"


def test_only_the_smallest_board_is_refused_anything() -> None:
    assert [size.ram for size in SIZES if refuse_public(size)] == [RamClass.MB512]
    assert [size.ram for size in SIZES if refuse_software(size, Software.SYNAPSE)] == [
        RamClass.MB512
    ]
    assert not any(refuse_software(size, Software.DENDRITE) for size in SIZES)


@pytest.mark.parametrize("text", ["", "MemTotal:\n", "MemTotal: much kB\n", "MemFree: 1 kB\n"])
def test_an_unreadable_size_is_an_error(tmp_path: Path, text: str) -> None:
    paths = make_appliance(tmp_path)
    (tmp_path / "proc/meminfo").write_text(text)
    with pytest.raises(StateError, match="meminfo"):
        load_memory(paths)


@pytest.mark.parametrize("software", Software)
def test_limits_are_told_once_a_start_and_again_when_they_change(
    tmp_path: Path, software: Software
) -> None:
    paths, units = make_appliance(tmp_path, software=software), RecordedUnits()
    told = apply_configuration(paths, units, boot=True, dry_run=True).actions
    assert told[-2:] == (f"limit hearth-{software}.service", "limit hearth-postgresql.service")
    assert units.limits == []
    apply_configuration(paths, units, boot=True)
    assert units.limits == [
        (f"hearth-{software}.service", "MemoryMax=440M", "MemorySwapMax=120M"),
        ("hearth-postgresql.service", "MemoryHigh=220M"),
    ]
    assert apply_configuration(paths, units, boot=True).actions == ()
    (tmp_path / "proc/meminfo").write_text("MemTotal:        3843332 kB\n")
    apply_configuration(paths, units, boot=True)
    assert [unit for unit, *_ in units.limits[2:]] == [unit for unit, *_ in units.limits[:2]]
    assert units.limits[2][1] == "MemoryMax=2070M"
    shutil.rmtree(paths.runtime)  # as a restart of the machine does
    assert len(apply_configuration(paths, units, boot=True).actions) == 2


def test_a_limit_that_systemd_refused_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths, units = make_appliance(tmp_path), RecordedUnits()

    def refuse(unit: str, properties: Sequence[str]) -> None:
        raise CommandError("no memory controller")

    monkeypatch.setattr(units, "set_properties", refuse)
    with pytest.raises(CommandError):
        apply_configuration(paths, units, boot=True)
    monkeypatch.undo()
    assert len(apply_configuration(paths, units, boot=True).actions) == 2


@pytest.mark.parametrize("size", SIZES, ids=lambda size: size.ram.value)
def test_every_size_renders_for_both_homeservers(tmp_path: Path, size: Size) -> None:
    for software in Software:
        paths = make_appliance(tmp_path / software, software=software)
        settings = load_settings(paths.settings)
        assert settings is not None
        chosen = replace(settings, device=replace(settings.device, memory=size.ram))
        save_toml(chosen, paths.settings, mode=0o640)
        apply_configuration(paths, RecordedUnits(), boot=True)
        text = (paths.rendered / "postgresql/postgresql.conf").read_text()
        assert f"\nshared_buffers = {size.postgresql['shared_buffers']}MB\n" in text
        most = int(text.partition("\nmax_connections = ")[2].split()[0])
        pools = {Software.SYNAPSE: size.synapse, Software.DENDRITE: size.dendrite}
        assert most == pools[software]["connections"] + 10
        assert "\nsynchronous_commit = on\n" in text
