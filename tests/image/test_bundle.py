"""Bundles by RAUC itself: made from an image, judged by what an appliance tells RAUC to insist on.

A small slot stands in for the real one; what is tested is the release path, with a throwaway root.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import os
import subprocess
from pathlib import Path

import pytest
from benchmarks.adaptive import index_of, install
from benchmarks.remote import serve

from appliance.layout import SLOT_A
from appliance.paths import Paths
from appliance.release import ReleaseFacts
from appliance.tables import to_table
from image.conftest import Tool
from imagebuild.bundle import MANIFEST, Signing, SlotImage, make_bundle, read_slot
from imagebuild.bundlefile import BundleFile
from imagebuild.context import Context
from imagebuild.keys import init_root, new_release_key, revoke
from imagebuild.recipe import SOURCE
from imagebuild.sandbox import inside
from services.update.raucconf import write_rauc_files

pytestmark = pytest.mark.image

FACTS = ReleaseFacts(version="1.2.3", boards=("rpi3", "rpi4"), synapse_schema=94, synapse="1.163.0")
NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two roots, release keys, and a small image of a released version."""
    directory = tmp_path_factory.mktemp("bundle")
    for root in ("ours", "strange"):
        init_root(directory / root, root, NOW)
        for name in ("good", "bad"):
            new_release_key(directory / root, name, NOW)
    return directory


@pytest.fixture(scope="module")
def image(place: Path, run_tool: Tool) -> Path:
    tree, slot, image = place / "tree", place / "slot", place / "x.img"
    (tree / "usr/share/hearth").mkdir(parents=True)
    (tree / "content").write_bytes(os.urandom(1_000_000) + bytes(5_000_000))
    table = {"version": FACTS.version, "development": False, "facts": to_table(FACTS)}
    (tree / "usr/share/hearth/image.json").write_text(json.dumps(table))
    run_tool("mke2fs", "-q", "-t", "ext4", "-b", "4096", "-d", tree, slot, "32M")
    with image.open("wb") as file:
        file.truncate(SLOT_A.start + (SLOT_A.size or 0))
        file.seek(SLOT_A.start)
        file.write(slot.read_bytes())
    return image


def signing(place: Path, root: str = "ours", key: str = "good") -> Signing:
    directory = place / root
    return Signing(
        certificate=f"{directory}/{key}.crt",
        key=f"{directory}/{key}.key",
        keyring=directory / "keyring.pem",
    )


@pytest.fixture(scope="module")
def slot_image(context: Context, image: Path) -> SlotImage:
    return read_slot(context, image)


@pytest.fixture(scope="module")
def bundle(context: Context, place: Path, slot_image: SlotImage) -> BundleFile:
    return make_bundle(context, slot_image, signing(place), "New things", place / "good.raucb")


def judge(context: Context, place: Path, bundle: Path) -> subprocess.CompletedProcess[str]:
    """RAUC with the very configuration and keyring that an appliance renders for it."""
    paths = Paths(place / "appliance")
    paths.runtime.mkdir(parents=True, exist_ok=True)
    paths.boot_report.write_text("slot=A\ndisk=/dev/vda\ndata=ok\n")
    if not paths.templates.exists():
        paths.templates.parent.mkdir(parents=True)
        paths.templates.symlink_to(SOURCE / "overlays/base/usr/share/hearth/templates")
    keyring = paths.root / "usr/share/hearth/update/keyring.pem"
    keyring.parent.mkdir(exist_ok=True)
    keyring.write_bytes((place / "ours/keyring.pem").read_bytes())
    write_rauc_files(paths)
    # Its handler and its disk are not here: `rauc info` asks for neither.
    sandbox = inside(
        context.tools.resolve(),
        read_only=[(paths.root / "run/rauc", "/run/rauc"),
                   (paths.root / "run/hearth-update", "/run/hearth-update"),
                   (bundle, "/run/bundle.raucb")],
    )  # fmt: skip
    return subprocess.run(
        [*sandbox, "rauc", "info", "--output-format=json-2", "/run/bundle.raucb"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_the_slot_tells_what_it_is(slot_image: SlotImage) -> None:
    assert slot_image.facts == FACTS
    assert not slot_image.is_development
    assert slot_image.size == 32 << 20


def test_an_appliance_believes_a_release(context: Context, place: Path, bundle: BundleFile) -> None:
    result = judge(context, place, bundle.path)
    assert result.returncode == 0, result.stderr
    table = json.loads(result.stdout)
    assert table["update"] == {"version": FACTS.version, "compatible": FACTS.compatible}
    assert table["bundle"]["format"] == "verity"
    [image] = table["images"]
    assert image["slot-class"] == "rootfs"
    assert image["adaptive"] == ["block-hash-index"]
    assert image["size"] == 32 << 20
    assert table["meta"]["hearth"]["synapse-schema"] == "94"
    assert bundle.facts == FACTS


def test_the_bundle_holds_slot_index_and_notes(
    bundle: BundleFile, run_tool: Tool, place: Path
) -> None:
    names = run_tool("unsquashfs", "-l", bundle.path).split()
    assert {Path(name).name for name in names} >= {
        "rootfs.ext4", "rootfs.ext4.block-hash-index", "notes.txt", "manifest.raucm",
    }  # fmt: skip
    target = place / "unpacked"
    run_tool("unsquashfs", "-d", target, bundle.path)
    assert (target / "rootfs.ext4").read_bytes() == (place / "slot").read_bytes()
    assert (target / "notes.txt").read_text() == "New things"
    assert (target / "rootfs.ext4.block-hash-index").stat().st_size == (32 << 20) // 4096 * 32


@pytest.mark.parametrize("seed", ["nothing", "nearly the same", "the same"])
def test_what_is_there_already_is_not_downloaded(
    bundle: BundleFile, place: Path, seed: str
) -> None:
    """The benchmark's model of RAUC rebuilds the very slot, and asks for no more than it must."""
    slot, old, target = place / "slot", place / "old", place / "new"
    raw = bytearray(slot.read_bytes())
    if seed == "nearly the same":
        at = raw.index((place / "tree/content").read_bytes()[:4096])
        raw[at + 100_000 : at + 100_003] = b"old"
    old.write_bytes(b"" if seed == "nothing" else raw)
    with serve(bundle.path.parent) as (address, count):
        made = install(f"{address}/{bundle.path.name}", [old], target)
    assert target.read_bytes() == slot.read_bytes()
    assert made.sha256 == hashlib.sha256(slot.read_bytes()).hexdigest()
    assert made.zero + made.local + made.fetched == (32 << 20) // 4096
    if seed == "nothing":
        assert made.fetched > 240
        assert count.sent > 1_000_000
    else:
        assert made.fetched == (1 if seed == "nearly the same" else 0)
        assert count.sent < 200_000


def test_what_the_benchmark_passes_over_is_downloaded(bundle: BundleFile, place: Path) -> None:
    with serve(bundle.path.parent) as (address, _):
        everything = set(index_of(place / "slot"))
        made = install(
            f"{address}/{bundle.path.name}", [place / "slot"], place / "new", without=everything
        )
    assert made.fetched > 240
    assert (place / "new").read_bytes() == (place / "slot").read_bytes()


def test_an_appliance_refuses_a_stranger(
    context: Context, place: Path, slot_image: SlotImage
) -> None:
    made = make_bundle(context, slot_image, signing(place, "strange"), "", place / "s.raucb")
    result = judge(context, place, made.path)
    assert result.returncode != 0
    assert "signature verification failed" in result.stderr


def test_an_appliance_refuses_what_a_revoked_key_has_signed(
    context: Context, place: Path, slot_image: SlotImage, bundle: BundleFile
) -> None:
    made = make_bundle(context, slot_image, signing(place, key="bad"), "", place / "bad.raucb")
    assert judge(context, place, made.path).returncode == 0
    revoke(place / "ours", "bad", datetime.datetime.now(datetime.UTC))
    result = judge(context, place, made.path)
    assert result.returncode != 0
    assert "revoked" in result.stderr
    # ... and nothing else: the list is newer than this bundle is.
    assert judge(context, place, bundle.path).returncode == 0


@pytest.mark.parametrize("at", ["manifest", "end", "length"])
def test_an_appliance_refuses_a_changed_manifest(
    context: Context, place: Path, bundle: BundleFile, at: str
) -> None:
    raw = bytearray(bundle.path.read_bytes())
    where = {"manifest": raw.rindex(b"version=1.2.3") + 8, "end": len(raw) - 20, "length": -1}[at]
    raw[where] ^= 1
    changed = place / f"changed-{at}.raucb"
    changed.write_bytes(raw)
    assert judge(context, place, changed).returncode != 0


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_an_appliance_refuses_a_cut_bundle(
    context: Context, place: Path, bundle: BundleFile, share: float
) -> None:
    raw = bundle.path.read_bytes()
    cut = place / "cut.raucb"
    cut.write_bytes(raw[: int(len(raw) * share)])
    assert judge(context, place, cut).returncode != 0


def test_an_appliance_refuses_another_format(
    context: Context, place: Path, slot_image: SlotImage, run_tool: Tool
) -> None:
    """RAUC's older formats check a bundle before they mount it, and it may change in between."""
    content = place / "plain"
    content.mkdir()
    (content / "rootfs.ext4").write_bytes((place / "slot").read_bytes())
    text = MANIFEST.format(compatible=FACTS.compatible, version="1").replace("verity", "plain")
    (content / "manifest.raucm").write_text(text.replace("[meta.hearth]\n", ""))
    sandbox = inside(
        context.tools.resolve(), binds=[(place, "/mnt")], read_only=[(place / "ours", "/srv")]
    )
    subprocess.run(
        [*sandbox, "rauc", "bundle", "--cert=/srv/good.crt", "--key=/srv/good.key",
         "/mnt/plain", "/mnt/plain.raucb"], check=True, capture_output=True,
    )  # fmt: skip
    result = judge(context, place, place / "plain.raucb")
    assert result.returncode != 0
    assert "plain" in result.stderr


def test_nothing_is_left_of_a_bundle_that_could_not_be_made(
    context: Context, place: Path, slot_image: SlotImage
) -> None:
    wrong = Signing(
        certificate=f"{place}/ours/good.crt",
        key=f"{place}/strange/good.key",
        keyring=place / "ours/keyring.pem",
    )
    with pytest.raises(Exception, match="could not make the bundle"):
        make_bundle(context, slot_image, wrong, "", place / "none.raucb")
    assert not (place / "none.raucb").exists()
    assert not (context.work / "bundle").exists()
