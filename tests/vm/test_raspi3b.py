"""The same image on QEMU's Raspberry Pi 3: the Pi's U-Boot, SD card, device tree, USB network.

QEMU's model ends at the firmware: it starts u-boot.bin itself, so bootcode.bin, start.elf and
config.txt are not exercised. Its SD card reads about 1 MiB/s under U-Boot, and the kernel is quiet
(loglevel=4): after U-Boot the serial console says next to nothing for two or three minutes.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from appliance.layout import SLOT_A
from imagebuild.context import Context
from vm.faults import APPEND, break_slot
from vm.guest import Guest, make_directory

pytestmark = [pytest.mark.vm, pytest.mark.timeout(1500)]

BOOT_SECONDS = 1200


@pytest.fixture
def pi(context: Context) -> Iterator[Guest]:
    guest = Guest(context, make_directory(context, "raspi3b"), machine_type="raspi3b")
    guest.flash()
    guest.start()
    yield guest
    guest.stop()


def test_the_pi_boots_its_slot_to_the_wizard(pi: Guest) -> None:
    assert pi.machine is not None
    pi.machine.wait_for_serial("hearth: slot A, attempts left A 6", seconds=300)
    # Its first page takes 16 seconds on a quiet host; giving up on it would begin it anew.
    pi.wait_for_pages(seconds=BOOT_SECONDS, each=180)
    status, body = pi.get("/claim")
    assert status == 200
    assert b"Raspberry Pi 3 Model B" in body, "the board's own device tree was used"


@pytest.mark.long
def test_an_early_panic_restarts_and_is_counted(context: Context) -> None:
    """By the driver of the watchdog, which init loads first: in Debian's kernel it is a module."""
    guest = Guest(context, make_directory(context, "raspi3b-panic"), machine_type="raspi3b")
    guest.flash()
    break_slot(guest.image, APPEND + '"$PANICKING_INIT"', slot=SLOT_A)
    guest.start()
    try:
        assert guest.machine is not None
        for left in (6, 5):
            guest.machine.wait_for_serial(f"hearth: slot A, attempts left A {left}", seconds=600)
        assert "Kernel panic" in guest.serial
    finally:
        guest.stop()
