"""The bill of materials: SPDX 2.3 in form, and every lock file's content in it."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.release import ReleaseFacts
from appliance.tables import parse_table
from imagebuild.artifacts import describe, write_checksums
from imagebuild.context import Context, make_context
from imagebuild.manifest import components, write_manifest, write_sbom
from imagebuild.packages import load_lock
from imagebuild.recipe import SOURCE, make_recipe

LOCK = load_lock(SOURCE / "image/hearth.lock")
EPOCH = "1700000000"


@pytest.fixture
def build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", EPOCH)
    return make_context(make_recipe("hearth"), build=tmp_path / "b", cache=tmp_path / "c")


def test_every_lock_file_is_in_it(build: Context) -> None:
    parts = list(components(build, LOCK))
    names = {(part.kind, part.name) for part in parts}
    assert {("deb", package.name) for package in (*LOCK.root, *LOCK.boot)} <= names
    wheels = (SOURCE / "image/profiles/synapse.lock").read_text()
    pinned = {line.split("==")[0] for line in wheels.splitlines() if "==" in line[:60]}
    assert {name for kind, name in names if kind == "pypi"} == pinned
    assert "matrix-synapse" in pinned
    assert ("golang", "github.com/element-hq/dendrite") in names
    assert len(parts) == len({part.purl for part in parts})


def test_the_sbom_has_spdx_form(build: Context, tmp_path: Path) -> None:
    """SPDX specification 2.3, chapters 6 and 7: the fields that must be there."""
    target = tmp_path / "x.spdx.json"
    write_sbom(build, LOCK, target)
    table = json.loads(target.read_text())
    assert table["spdxVersion"] == "SPDX-2.3"
    assert table["dataLicense"] == "CC0-1.0"
    assert table["SPDXID"] == "SPDXRef-DOCUMENT"
    assert table["documentNamespace"].startswith("urn:uuid:")
    assert table["creationInfo"]["created"] == "2023-11-14T22:13:20Z"
    assert table["creationInfo"]["creators"]
    identifiers = [package["SPDXID"] for package in table["packages"]]
    assert len(set(identifiers)) == len(identifiers)
    assert all(re.fullmatch(r"SPDXRef-[A-Za-z0-9.-]+", text) for text in identifiers)
    for package in table["packages"]:
        assert {"name", "versionInfo", "downloadLocation", "filesAnalyzed"} <= package.keys()
        [reference] = package["externalRefs"]
        assert reference["referenceCategory"] == "PACKAGE-MANAGER"
        assert re.fullmatch(r"pkg:(deb/debian|pypi|golang)/\S+@\S+", reference["referenceLocator"])
    described = {row["relatedSpdxElement"] for row in table["relationships"]}
    assert described == set(identifiers)


def test_the_same_lock_gives_the_same_sbom_and_another_one_another(
    build: Context, tmp_path: Path
) -> None:
    write_sbom(build, LOCK, tmp_path / "one")
    write_sbom(build, LOCK, tmp_path / "two")
    changed = replace(LOCK.root[0], version="0")
    write_sbom(build, replace(LOCK, root=(changed, *LOCK.root[1:])), tmp_path / "three")
    one, two, three = (json.loads((tmp_path / n).read_text()) for n in ("one", "two", "three"))
    assert one == two
    assert one["documentNamespace"] != three["documentNamespace"]


def test_the_manifest_names_versions_boards_and_artefacts(build: Context, tmp_path: Path) -> None:
    file = tmp_path / "some.img.zst"
    file.write_bytes(b"content")
    facts = ReleaseFacts(version=build.recipe.version, synapse_schema=94)
    write_manifest(build, LOCK, facts, [describe("image", file)], tmp_path / "m.json")
    table = json.loads((tmp_path / "m.json").read_text())
    assert table["version"].endswith("-dev")
    assert table["release"] is False
    assert parse_table(ReleaseFacts, table["facts"], where="manifest") == facts
    assert table["kernel"] == LOCK.kernel_release
    assert {board["name"] for board in table["boards"]} >= {"rpi3", "rpi4", "rpi5"}
    assert table["artifacts"] == [
        {
            "kind": "image",
            "file": "some.img.zst",
            "size": 7,
            "sha256": hashlib.sha256(b"content").hexdigest(),
        }
    ]
    assert str(tmp_path) not in (tmp_path / "m.json").read_text()


def test_checksums_are_in_the_form_of_sha256sum(tmp_path: Path) -> None:
    file = tmp_path / "some.img"
    file.write_bytes(b"content")
    write_checksums([describe("image", file)], tmp_path / "sums")
    assert (tmp_path / "sums").read_text() == (
        f"{hashlib.sha256(b'content').hexdigest()}  some.img\n"
    )
