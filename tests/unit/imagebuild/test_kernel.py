"""What is taken out of Debian's kernel and firmware packages."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from imagebuild.kernel import lay_firmware, read_members

# As Debian's firmware-brcm80211 has them: (name below usr/lib/firmware, content or -> target).
PACKAGE = {
    "brcm/brcmfmac43455-sdio.bin": "-> ../cypress/cyfmac43455-sdio.bin",
    "brcm/brcmfmac43455-sdio.raspberrypi,4-model-b.txt": "board",
    "brcm/brcmfmac43455-sdio.raspberrypi,5-model-b.txt":
        "-> brcmfmac43455-sdio.raspberrypi,4-model-b.txt",
    "brcm/brcmfmac43012-sdio.bin": "-> ../cypress/cyfmac43012-sdio.bin",
    "brcm/bcm43xx-0.fw": "no Pi's",
    "cypress/cyfmac43012-sdio.bin": "no Pi's",
    "cypress/cyfmac43455-sdio.bin": "firmware",
}  # fmt: skip


@pytest.fixture
def layer(tmp_path: Path) -> Path:
    """What is laid into the image, from a real archive in the order of a .deb: names sorted."""
    tree = tmp_path / "package"
    for name, content in PACKAGE.items():
        path = tree / "usr/lib/firmware" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if content.startswith("-> "):
            path.symlink_to(content.removeprefix("-> "))
        else:
            path.write_text(content)
    archive = subprocess.run(
        ["tar", "--create", "--sort=name", "-C", tree, "."], check=True, capture_output=True
    ).stdout
    target = tmp_path / "layer"
    lay_firmware(read_members(io.BytesIO(archive)), target)
    return target / "usr/lib/firmware"


def test_a_radio_finds_its_firmware_by_the_names_that_its_driver_asks_for(layer: Path) -> None:
    assert (layer / "brcm/brcmfmac43455-sdio.bin").read_text() == "firmware"
    assert (layer / "brcm/brcmfmac43455-sdio.bin").is_symlink()  # not a second copy
    for board in ("4-model-b", "5-model-b"):
        name = f"brcm/brcmfmac43455-sdio.raspberrypi,{board}.txt"
        assert (layer / name).read_text() == "board"


def test_what_no_pi_has_stays_out_and_leaves_no_link(layer: Path) -> None:
    names = {path.relative_to(layer).as_posix() for path in layer.rglob("*") if not path.is_dir()}
    assert names == {name for name in PACKAGE if "43455" in name}


def test_an_archive_that_ends_early_is_an_error() -> None:
    whole = io.BytesIO()
    with tarfile.open(fileobj=whole, mode="w") as archive:
        member = tarfile.TarInfo("./file")
        member.size = 2000
        archive.addfile(member, io.BytesIO(bytes(2000)))
    with pytest.raises(tarfile.ReadError):
        list(read_members(io.BytesIO(whole.getvalue()[:1024])))
