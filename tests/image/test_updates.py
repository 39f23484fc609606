"""What a slot must hold so that it can be updated, and what must not be in it."""

from __future__ import annotations

import ast
import json
import re
from pathlib import Path

import pytest

from appliance.release import ReleaseFacts
from appliance.tables import parse_table
from image.conftest import Tool
from imagebuild.context import Context
from imagebuild.keyring import check_keyring
from imagebuild.overlay import KEYRING

pytestmark = pytest.mark.image

UNITS = ("usr/lib/systemd/system", "etc/systemd/system")
# In tenths of exposure; it mounts, writes partitions and downloads.
RAUC_LIMIT = 35
SCHEMA = "usr/lib/hearth/synapse/synapse/storage/schema/__init__.py"


@pytest.fixture(scope="module")
def image_facts(slot: Path) -> dict[str, object]:
    table: dict[str, object] = json.loads((slot / "usr/share/hearth/image.json").read_text())
    return table


def units(slot: Path) -> list[Path]:
    found = [path for place in UNITS for path in (slot / place).rglob("*")]
    return [path for path in found if path.is_file() and not path.is_symlink()]


def test_no_unit_marks_a_slot_good_unconditionally(slot: Path) -> None:
    """Debian's package or RAUC's documentation has one; ours would commit whatever starts."""
    assert len(units(slot)) > 100
    for path in units(slot):
        assert not re.search(r"^Exec\w+=.*mark-(good|active)", path.read_text(), flags=re.M), path
    masked = slot / "etc/systemd/system/rauc-mark-good.service"
    assert str(masked.readlink()) == "/dev/null"


def test_rauc_does_not_start_by_itself(slot: Path) -> None:
    for place in UNITS:
        assert not list((slot / place).glob("*.wants/rauc*"))
    service = (slot / "usr/share/dbus-1/system-services/de.pengutronix.rauc.service").read_text()
    assert "SystemdService=rauc.service" in service


def test_rauc_is_patched_for_as_long_as_it_needs_it(slot: Path) -> None:
    """Debian's rauc from 1.15.1 on reads the kernel's answer itself (verity_status.c)."""
    status = (slot / "var/lib/dpkg/status").read_text()
    found = re.search(r"^Package: rauc\n(?:.+\n)*?Version: (\d+)\.(\d+)", status, flags=re.M)
    assert found, "rauc is a package of the image"
    assert (int(found[1]), int(found[2])) < (1, 15), "remove image/profiles/rauc and its layer"
    unit = (slot / "etc/systemd/system/rauc.service.d/hearth.conf").read_text()
    library = re.search(r"^Environment=LD_PRELOAD=/(\S+)$", unit, flags=re.M)
    assert library, "systemd sets it"
    assert (slot / library[1]).read_bytes()[18:20] == b"\xb7\x00", "ELF's e_machine: AArch64"


def test_rauc_is_caged(in_tools: Tool) -> None:
    in_tools("systemd-analyze security --offline=true --root=/media --no-pager"
             f" --threshold={RAUC_LIMIT} rauc.service")  # fmt: skip
    said = in_tools("systemd-analyze verify --root=/media --man=no rauc.service 2>&1")
    assert "rauc" not in said


def test_only_root_may_ask_rauc(slot: Path) -> None:
    """Ours has taken the place of Debian's policy, which lets everybody install."""
    places = ("usr/share/dbus-1/system.d", "etc/dbus-1/system.d")
    found = [path for place in places for path in (slot / place).glob("*rauc*")]
    assert [path.name for path in found] == ["de.pengutronix.rauc.conf"]
    assert '<deny send_destination="de.pengutronix.rauc"/>' in found[0].read_text()


def test_the_kernel_can_mount_what_is_streamed(slot: Path) -> None:
    [release] = (slot / "usr/lib/modules").iterdir()
    built_in = (release / "modules.builtin").read_text().splitlines()
    loadable = [line.split(":")[0] for line in (release / "modules.dep").read_text().splitlines()]
    names = {Path(line).stem.replace("-", "_") for line in (*built_in, *loadable)}
    assert names >= {"nbd", "loop", "dm_mod", "dm_verity", "squashfs"}


def test_what_updates_are_made_with_is_there(slot: Path) -> None:
    for name in ("usr/bin/rauc", "usr/bin/openssl", "usr/lib/hearth/slot-backend"):
        assert (slot / name).stat().st_mode & 0o111, name


def test_the_slot_believes_those_who_sign_its_updates(slot: Path, context: Context) -> None:
    keyring = check_keyring(slot / KEYRING)
    made = context.recipe.keyring or context.recipe.development_keys / "keyring.pem"
    assert (slot / KEYRING).read_bytes() == made.read_bytes()
    assert len(keyring.roots) == 1
    assert (slot / KEYRING).stat().st_mode & 0o777 == 0o644


def test_a_development_image_is_known_by_its_root(
    slot: Path, image_facts: dict[str, object]
) -> None:
    assert image_facts["development"] == check_keyring(slot / KEYRING).is_development


def constants(path: Path) -> dict[str, int]:
    """Integers that a module assigns."""
    found = {}
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            try:
                found[node.targets[0].id] = ast.literal_eval(node.value)
            except ValueError:
                continue
    return found


def test_the_slot_says_what_is_in_it(slot: Path, image_facts: dict[str, object]) -> None:
    table = image_facts["facts"]
    assert isinstance(table, dict)
    facts = parse_table(ReleaseFacts, table, where="image.json")
    schema = constants(slot / SCHEMA)
    assert facts.synapse_schema == schema["SCHEMA_VERSION"]
    assert facts.synapse_compatible == schema["SCHEMA_COMPAT_VERSION"]
    assert 0 < facts.synapse_compatible <= facts.synapse_schema
    [metadata] = (slot / "usr/lib/hearth/synapse").glob("matrix_synapse-*.dist-info/METADATA")
    assert f"\nVersion: {facts.synapse}\n" in metadata.read_text()
    assert (slot / f"usr/lib/postgresql/{facts.postgresql}/bin/postgres").exists()
    assert facts.dendrite.encode() in (slot / "usr/lib/hearth/dendrite/dendrite").read_bytes()
    assert facts.version == image_facts["version"]
    assert facts.boot_interface == image_facts["boot_interface"]


def test_the_manifest_beside_the_image_says_the_same(
    context: Context, image_facts: dict[str, object]
) -> None:
    manifest = json.loads((context.build / f"{context.name}.json").read_text())
    assert manifest["facts"] == image_facts["facts"]
