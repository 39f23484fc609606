from __future__ import annotations

import pytest

from appliance.protocol import Status
from appliance.state import Phase
from firstboot.console import Console
from firstboot.screen import View, address_url, render_screen, render_serial, urls
from unit.firstboot.machine import Machine

STATUS = Status(
    phase=Phase.UNCLAIMED,
    version="0.1.0",
    development=False,
    board="Raspberry Pi 4 Model B",
    names=("hearth-ab12.local", "hearth.local"),
    addresses=("192.0.2.15", "2001:db8::5"),
    data="ok",
)


def view(code: str = "ABCD-EFGH", **changes: object) -> View:
    return View(status=Status(**{**vars(STATUS), **changes}), code=code)  # type: ignore[arg-type]


def test_the_line_that_programs_look_for() -> None:
    first = render_serial(view()).splitlines()[0]
    assert first == "hearth: wizard at http://192.0.2.15/ claim code ABCD-EFGH"


def test_without_a_network_it_says_so_and_shows_no_url() -> None:
    text = render_serial(view(names=(), addresses=()))
    assert text.splitlines()[0] == "hearth: unclaimed, waiting for the network"
    assert "http" not in text


def test_all_ways_in_and_an_address_for_the_qr_code() -> None:
    assert urls(view()) == (
        "http://hearth-ab12.local/",
        "http://hearth.local/",
        "http://192.0.2.15/",
        "http://[2001:db8::5]/",
    )
    assert address_url(view()) == "http://192.0.2.15/"
    assert address_url(view(addresses=())) == ""


@pytest.mark.parametrize("phase", list(Phase))
def test_every_phase_fits_a_screen_of_eighty_columns(phase: Phase) -> None:
    text = render_screen(
        view(phase=phase, authority_fingerprint=":".join(["AB"] * 32), notes=("x " * 100,)), ""
    )
    assert max(len(line) for line in text.splitlines()) <= 80
    assert len(text.splitlines()) <= 25


def test_problems_and_development_images_are_named() -> None:
    text = render_screen(
        view(development=True, data="damaged", data_detail="The data are damaged.", notes=("n",)),
        "QR",
    )
    assert "development image" in text
    assert "! The data are damaged." in text
    assert "! n" in text
    assert text.rstrip().endswith("QR")
    assert "hearth: ! n" in render_serial(view(notes=("n",)))


def test_a_used_code_is_not_shown() -> None:
    assert "laim code" not in render_screen(view(code=""), "") + render_serial(view(code=""))


def test_terminals_get_a_view_once_per_change(machine: Machine) -> None:
    root = machine.paths.root
    for directory in ("dev", "sys/class/tty/console", "sys/class/graphics/fb0"):
        (root / directory).mkdir(parents=True)
    (root / "sys/class/tty/console/active").write_text("tty0 ttyAMA0\n")
    for name in ("tty1", "ttyAMA0"):
        (root / "dev" / name).touch()
    console = Console(machine.paths)
    console.show(view())
    serial = (root / "dev/ttyAMA0").read_bytes()
    screen = (root / "dev/tty1").read_text()
    assert b"claim code ABCD-EFGH\r\n" in serial
    assert "ABCD-EFGH" in screen
    assert "\u2580" in screen
    (root / "dev/ttyAMA0").write_bytes(b"")
    console.show(view())
    assert (root / "dev/ttyAMA0").read_bytes() == b""
    console.show(view(phase=Phase.SETUP))
    assert b"state setup" in (root / "dev/ttyAMA0").read_bytes()


def test_no_terminals_at_all_are_no_error(machine: Machine) -> None:
    Console(machine.paths).show(view())


def test_rescue_mode_is_the_first_thing_that_the_console_says_is_wrong() -> None:
    lines = render_serial(view(rescue=True, notes=("another",))).splitlines()
    problems = [line for line in lines if line.startswith("hearth: !")]
    assert problems[0].startswith("hearth: ! Rescue mode")
    assert "! Rescue mode" in render_screen(view(rescue=True), "")
    assert "Rescue" not in render_screen(view(), "")
