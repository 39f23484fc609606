"""The client against RAUC's own service on a bus of its own, where the tools tree has one."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from appliance.errors import (
    CommandError,
    ConfigError,
    DiskFullError,
    HearthError,
    ImageError,
    MissingToolError,
    NetworkError,
    SignatureError,
    StateError,
)
from appliance.paths import Paths
from appliance.release import to_meta
from appliance.slotstate import INITIAL, newest, read_copies, write_next
from imagebuild.context import default_cache
from imagebuild.vm import tool
from services import slots
from services.update.hashindex import FLASHED, UNKNOWN, note_flashed
from services.update.rauc import ATTEMPTS, INTERFACE, NAME, OBJECT, Rauc, SlotRecord, explain
from unit.services.test_slot_cuts import make_card
from unit.services.update.bench import FACTS

TRANSACTION = "123e4567-e89b-12d3-a456-426614174000"
BUS = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={path}</listen><auth>EXTERNAL</auth>
<policy context="default"><allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/>
<allow own="*"/><allow user="*"/></policy>
</busconfig>"""
SYSTEM = """[system]
compatible=hearth-arm64
bootloader=custom
bundle-formats=verity
data-directory={place}/appliance/data/system/rauc
[handlers]
bootloader-custom-backend={place}/backend
[keyring]
path={place}/good.pem
[slot.rootfs.0]
device={place}/slotA
type=raw
bootname=A
[slot.rootfs.1]
device={place}/slotB
type=raw
bootname=B
"""


@dataclass(frozen=True)
class Service:
    place: Path
    rauc: Rauc

    @property
    def paths(self) -> Paths:
        return Paths(self.place / "appliance")

    def call(self, *words: str) -> subprocess.CompletedProcess[str]:
        """A method that the appliance itself does not use, and a person may."""
        argv = ["busctl", f"--address=unix:path={self.place}/bus", "call", NAME, OBJECT, INTERFACE]
        return subprocess.run([*argv, *words], capture_output=True, text=True, check=False)

    def bundle(self, name: str, key: str, manifest: str) -> str:
        source = self.place / name
        source.mkdir()
        (source / "rootfs.img").write_bytes(os.urandom(65536))
        head = "[update]\ncompatible=hearth-arm64\nversion=1.1\n[bundle]\nformat=verity\n"
        image = "[image.rootfs]\nfilename=rootfs.img\n"
        (source / "manifest.raucm").write_text(f"{head}{image}{manifest}")
        target = f"{source}.raucb"
        signer = [f"--cert={self.place}/{key}.pem", f"--key={self.place}/{key}.key"]
        argv = ["rauc", "bundle", *signer, f"--keyring={self.place}/{key}.pem", source, target]
        environment = {"PATH": f"{self.place}:/usr/bin:/bin"}
        subprocess.run(argv, check=True, capture_output=True, env=environment, cwd=self.place)
        return target


def wrap(place: Path, name: str) -> None:
    try:
        words = tool(default_cache() / "tools", name)
    except MissingToolError:
        pytest.skip(f"no {name}: the tools tree has none")
    file = place / name
    file.write_text(f'#!/bin/sh\nexec {" ".join(words)} "$@"\n')
    file.chmod(0o755)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    place = tmp_path_factory.mktemp("rauc")
    for name in ("rauc", "mksquashfs"):
        wrap(place, name)
    os.environ["PATH"] = f"{place}:{os.environ['PATH']}"
    for name in ("good", "stranger"):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
             "-nodes", "-keyout", place / f"{name}.key", "-out", place / f"{name}.pem",
             "-days", "99", "-subj", f"/CN={name}"],
            check=True, capture_output=True,
        )  # fmt: skip
    for name in ("slotA", "slotB"):
        (place / name).write_bytes(bytes(1024 * 1024))
    paths = make_card(place / "appliance", "A", INITIAL)
    backend = place / "backend"
    root = f"-m firstboot --root {paths.root} slot-backend"
    backend.write_text(f'#!/bin/sh\nexec {sys.executable} {root} "$@"\n')
    backend.chmod(0o755)
    note_flashed(paths)
    (place / "system.conf").write_text(SYSTEM.format(place=place))
    (place / "bus.conf").write_text(BUS.format(path=place / "bus"))
    address = f"unix:path={place}/bus"
    bus = subprocess.Popen(["dbus-daemon", f"--config-file={place}/bus.conf", "--nofork"])
    daemon = None
    try:
        wait_for(lambda: (place / "bus").exists())
        argv = [place / "rauc", f"--conf={place}/system.conf", "--override-boot-slot=A", "service"]
        environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": address}
        with (place / "log").open("w") as log:
            daemon = subprocess.Popen(argv, env=environment, stdout=log, stderr=log)
        rauc = Rauc(address)
        wait_for(lambda: answers(rauc))
        yield Service(place, rauc)
    finally:
        for process in (daemon, bus):
            if process is not None:
                process.terminate()
                process.wait()


def wait_for(condition) -> None:
    until = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)


def answers(rauc: Rauc) -> bool:
    try:
        rauc.look()
    except HearthError:
        return False
    return True


def meta() -> str:
    lines = [f"{name}={value}" for name, value in to_meta(FACTS).items()]
    return "\n".join(["[meta.hearth]", *lines, ""])


def test_a_real_rauc_reads_the_facts_of_a_real_bundle(service: Service) -> None:
    info = service.rauc.inspect(service.bundle("ours", "good", meta()))
    assert info.facts == FACTS
    assert len(info.manifest) == 64


SLOW_BUS = """#!/bin/sh
echo >> {place}/asked
if [ $(wc -l < {place}/asked) -lt {attempts} ]; then
    echo "{words}" >&2
    exit 1
fi
exec {real} "$@"
"""
# As seen in a virtual machine with two others beside it.
SLOW = (
    "Call failed: Failed to activate service 'de.pengutronix.rauc': timed out"
    " (service_start_timeout=25000ms)",
    f"Failed to get property Operation on interface {INTERFACE}: Connection timed out",
)


@pytest.mark.parametrize("words", SLOW)
@pytest.mark.parametrize(("attempts", "is_answered"), [(3, True), (99, False)])
def test_a_service_that_starts_slowly_is_asked_again(
    service: Service, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, attempts: int,
    is_answered: bool, words: str,
) -> None:  # fmt: skip
    busctl = tmp_path / "busctl"
    text = SLOW_BUS.format(place=tmp_path, attempts=attempts, real=shutil.which("busctl"),
                            words=words)  # fmt: skip
    busctl.write_text(text)
    busctl.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert answers(service.rauc) is is_answered
    asked = (tmp_path / "asked").read_text().count("\n")
    assert asked == (attempts if is_answered else ATTEMPTS)


def test_a_real_rauc_keeps_the_table_of_a_flashed_slot(service: Service) -> None:
    """And removes what it does not look for, "unknown" among it."""
    place = service.paths.data / "system/rauc/slot.rootfs.0"
    for name in (FLASHED, UNKNOWN):
        (place / name).mkdir(parents=True)
    service.rauc.slot("A")
    assert [path.name for path in place.iterdir()] == [FLASHED]


def test_a_real_rauc_refuses_a_strangers_bundle(service: Service) -> None:
    with pytest.raises(SignatureError):
        service.rauc.inspect(service.bundle("strangers", "stranger", meta()))


def test_a_real_bundle_without_facts(service: Service) -> None:
    with pytest.raises(ConfigError, match="hearth"):
        service.rauc.inspect(service.bundle("silent", "good", ""))


def test_a_truncated_and_a_missing_bundle(service: Service) -> None:
    whole = Path(service.bundle("whole", "good", meta()))
    half = whole.with_name("half.raucb")
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    for source in (str(half), "/nowhere.raucb"):
        with pytest.raises((ImageError, SignatureError)):
            service.rauc.inspect(source)


def test_an_installation_is_watched_to_its_end(service: Service) -> None:
    """It ends in an error on hosts without a device mapper, and is told as one."""
    assert not service.rauc.look().is_installing
    service.rauc.install("/nowhere.raucb", TRANSACTION)
    wait_for(lambda: not service.rauc.look().is_installing)
    seen = service.rauc.look()
    assert (seen.percent, seen.message) == (100, "Installing failed.")
    assert isinstance(explain(seen.error), ImageError)


def test_what_rauc_wrote_down_of_a_slot(service: Service) -> None:
    assert service.rauc.slot("B") == SlotRecord()
    with pytest.raises(StateError, match="no slot C"):
        service.rauc.slot("C")


def test_a_real_rauc_uses_the_back_end(service: Service) -> None:
    """Mark is "rauc status mark-..."; GetPrimary asks the back end each time."""
    write_next(service.paths.root / "card", INITIAL)
    assert "rootfs.0" in service.call("GetPrimary").stdout
    assert service.call("Mark", "ss", "active", "other").returncode == 0
    assert slots.status(service.paths).primary == "B"
    assert "rootfs.1" in service.call("GetPrimary").stdout
    assert service.call("Mark", "ss", "bad", "other").returncode == 0
    assert (slots.status(service.paths).primary, slots.status(service.paths).trial) == ("A", "B")
    assert service.call("Mark", "ss", "active", "booted").returncode == 0
    assert slots.status(service.paths).trial == ""
    assert service.call("Mark", "ss", "good", "booted").returncode == 0
    before = newest(read_copies(service.paths.root / "card"))
    for refused in (("bad", "booted"), ("good", "other")):
        assert service.call("Mark", "ss", *refused).returncode != 0
    assert newest(read_copies(service.paths.root / "card")) == before


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("Call failed: signature verification failed: certificate revoked", SignatureError),
        ("Compatible mismatch: Expected 'hearth-arm64' but bundle manifest has 'x'", ConfigError),
        ("Failed updating slot: No space left on device", DiskFullError),
        ("Failed to configure nbd device: ...", NetworkError),
        ("Failed mounting bundle: squashfs is damaged", ImageError),
        # Seen in the booted image:
        ("Invalid bundle format: Signature size (619065674) exceeds bundle size", ImageError),
        ("", CommandError),
        ("Call failed:\n\n  two\n lines ", CommandError),
    ],
)
def test_each_cause_is_an_error_of_its_kind(said: str, kind: type[HearthError]) -> None:
    error = explain(said)
    assert type(error) is kind
    assert "RAUC: " in error.message
    assert "\n" not in error.message
    assert error.hint


def test_no_bus_at_all(tmp_path: Path) -> None:
    with pytest.raises(HearthError):
        Rauc(f"unix:path={tmp_path}/none").look()
