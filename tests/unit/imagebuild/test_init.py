"""Parts of the initramfs's script, run by a busybox shell on real files and a real terminal.

/slot and /dev/watchdog are elsewhere here; what is written to the watchdog comes out of a terminal.
"""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[3] / "image/boot/init"
MARK = Path(__file__).parents[3] / "overlays/base/usr/lib/hearth/mark-start"
START = "watchdog='' keeper=''"


class Init:
    """``run`` sources the script's functions and then runs some lines."""

    def __init__(self, root: Path) -> None:
        self.root = root
        text = SCRIPT.read_text()
        functions = text[text.index("say() {") : text.index(f"\n{START}")]
        for real in ("/slot", "/dev/watchdog", "/proc/device-tree", "/proc/cmdline", "/run/"):
            functions = functions.replace(real, f"{root}{real}")
        self.functions = functions
        for name in ("slot/data", "dev", "proc/device-tree", "run"):
            (root / name).mkdir(parents=True)
        (root / "proc/cmdline").write_text("quiet rauc.slot=B\n")

    def run(self, lines: str, *, seconds: float = 30) -> str:
        script = f"{self.functions}\n{START}\n{lines}\n"
        result = subprocess.run(
            ["busybox", "sh", "-c", script], capture_output=True, text=True, timeout=seconds
        )
        assert "not found" not in result.stderr, result.stderr
        return result.stdout


@pytest.fixture
def init(tmp_path: Path) -> Init:
    return Init(tmp_path)


class Terminal:
    """A character device whose other end counts what is written."""

    def __init__(self, link: Path) -> None:
        self.read_end, self.device = pty.openpty()
        link.symlink_to(os.ttyname(self.device))

    def written(self) -> bytes:
        found = b""
        while select.select([self.read_end], [], [], 0.2)[0]:
            found += os.read(self.read_end, 4096)
        return found


@pytest.fixture
def watchdog(init: Init) -> Iterator[Terminal]:
    terminal = Terminal(init.root / "dev/watchdog")
    yield terminal
    os.close(terminal.read_end)
    os.close(terminal.device)


def marks(init: Init) -> list[str]:
    return (init.root / "slot/data/system/boots").read_text().splitlines()


def test_each_start_leaves_a_mark(init: Init) -> None:
    init.run("slot=B; note_start")
    [line] = marks(init)
    assert re.fullmatch(r"slot=B boot=[0-9a-f-]{36} stage=initramfs", line)
    init.run("slot=A; note_start")
    assert len(marks(init)) == 2


def test_a_mark_begins_after_a_torn_one(init: Init) -> None:
    file = init.root / "slot/data/system/boots"
    file.parent.mkdir()
    file.write_text("slot=A boot=x stage=systemd\nslot=B boo")
    init.run("slot=B; note_start")
    assert marks(init)[1] == "slot=B boo"
    assert marks(init)[2].endswith("stage=initramfs")


def test_the_marks_do_not_grow_for_ever(init: Init) -> None:
    file = init.root / "slot/data/system/boots"
    file.parent.mkdir()
    file.write_text("".join(f"slot=A boot={n} stage=systemd\n" for n in range(5000)))
    init.run("slot=B; note_start")
    assert len(marks(init)) == 101
    assert marks(init)[99] == "slot=A boot=4999 stage=systemd"
    assert not file.with_name("boots.new").exists()


def test_without_a_watchdog_nothing_happens(init: Init) -> None:
    said = init.run('kind=virt; find_watchdog; alive 5; hand_over_watchdog; echo "[$watchdog]"')
    assert said == "[]\n"
    assert not (init.root / "run/systemd").exists()


def test_the_watchdog_is_kept_quiet_and_handed_over(init: Init, watchdog: Terminal) -> None:
    began = time.monotonic()
    init.run("kind=virt; find_watchdog; sleep 1; alive 30; sleep 1; hand_over_watchdog")
    assert time.monotonic() - began < 10, "nobody waits for the keeper's own end"
    assert watchdog.written().count(b"\n") >= 2
    text = (init.root / "run/systemd/system.conf.d/hearth-watchdog.conf").read_text()
    assert text == "[Manager]\nRuntimeWatchdogSec=90\nRebootWatchdogSec=90\n"


def test_a_step_that_hangs_is_left_to_the_watchdog(init: Init, watchdog: Terminal) -> None:
    init.run("kind=virt; find_watchdog; alive 1; sleep 6; kill $keeper 2>/dev/null; echo")
    first = watchdog.written()
    assert 1 <= first.count(b"\n") <= 3
    assert watchdog.written() == b""


@pytest.mark.parametrize(
    ("serial", "seconds"),
    [
        (b"10000000a1b2c3d4\0", "14"),
        (b"0000000000000000\0", ""),
        (b"", ""),
    ],
)
def test_only_a_pi_with_a_serial_number_is_a_real_one(
    init: Init, watchdog: Terminal, serial: bytes, seconds: str
) -> None:
    (init.root / "proc/device-tree/serial-number").write_bytes(serial)
    init.run("kind=pi; find_watchdog; hand_over_watchdog")
    file = init.root / "run/systemd/system.conf.d/hearth-watchdog.conf"
    assert file.exists() == bool(seconds)
    if seconds:
        assert f"RuntimeWatchdogSec={seconds}\n" in file.read_text()
    else:
        assert watchdog.written() == b"", "never armed"


def test_the_kernel_argument_leaves_it_off(init: Init, watchdog: Terminal) -> None:
    (init.root / "proc/cmdline").write_text("quiet hearth.watchdog=off rauc.slot=B\n")
    init.run("kind=virt; find_watchdog; alive 5; hand_over_watchdog")
    assert watchdog.written() == b""
    assert not (init.root / "run/systemd").exists()


def test_the_watchdog_is_the_first_module_to_be_loaded(init: Init) -> None:
    """And nothing else is loaded with its options."""
    modules = init.root / "modules"
    modules.mkdir()
    (modules / "virt").write_text("i6300esb\nvirtio_blk\n")
    (modules / "common").write_text("ext4\n")
    functions = init.functions.replace("/modules/", f"{modules}/")
    init.functions = functions
    said = init.run("insmod() { echo insmod ${1##*/} $2 $3; }; load_modules")
    assert said.splitlines() == [
        "insmod i6300esb.ko heartbeat=90 nowayout=1",
        "insmod virtio_blk.ko",
        "insmod ext4.ko",
    ]


def test_the_early_unit_leaves_its_mark_behind_the_initramfss(init: Init) -> None:
    init.run("slot=B; note_start")
    (init.root / "run/hearth").mkdir()
    (init.root / "run/hearth/boot").write_text("slot=B\ndisk=/dev/vda\n")
    script = MARK.read_text().replace("/data/", f"{init.root}/slot/data/")
    script = script.replace("/run/", f"{init.root}/run/")
    subprocess.run(["/bin/sh", "-c", script, "mark-start", "systemd"], check=True)
    first, second = marks(init)
    assert second == first.replace("initramfs", "systemd"), "the same start"


@pytest.mark.parametrize(
    ("now", "is_set"), [(5, True), (1_799_999_999, True), (1_800_000_000, False)]
)
def test_a_clock_that_is_behind_the_image_is_set(init: Init, now: int, is_set: bool) -> None:
    facts = init.root / "slot/usr/share/hearth/image.json"
    facts.parent.mkdir(parents=True)
    facts.touch()
    os.utime(facts, (1_800_000_000, 1_800_000_000))
    # The machine's own clock is not ours to set.
    date = f'date() {{ [ "$1" != +%s ] || {{ echo {now}; return; }}; echo "$@" >&4; }}'
    asked = init.run(f"{date}\n{{ set_clock; }} 4>&1")
    assert asked == ("-s @1800000000\n" if is_set else "")


def test_a_slot_that_does_not_say_when_it_was_made_sets_no_clock(init: Init) -> None:
    assert init.run("date() { echo asked; }\nset_clock; echo goes on") == "goes on\n"
