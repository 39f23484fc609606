"""What is in the image: the JSON manifest and the SPDX software bill of materials."""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from appliance.atomic import write_atomic
from appliance.release import ReleaseFacts
from appliance.tables import to_table
from imagebuild.artifacts import Artifact
from imagebuild.context import Context
from imagebuild.disk import NAMESPACE
from imagebuild.overlay import source_date_epoch
from imagebuild.packages import PackageSet

REQUIREMENT = re.compile(r"^([A-Za-z0-9_.-]+)==([^\s\\;]+)")


@dataclass(frozen=True, kw_only=True)
class Component:
    """One piece of software; ``purl`` is its package URL (github.com/package-url/purl-spec)."""

    name: str
    version: str
    kind: str
    purl: str
    sha256: str = ""


def components(context: Context, packages: PackageSet) -> Iterator[Component]:
    """Debian packages, Python wheels of Synapse and Go modules of Dendrite."""
    for package in (*packages.root, *packages.boot):
        yield Component(
            name=package.name,
            version=package.version,
            kind="deb",
            purl=f"pkg:deb/debian/{package.name}@{package.version}?arch={package.architecture}",
            sha256=package.sha256,
        )
    profiles = context.recipe.source / "image/profiles"
    for line in (profiles / context.recipe.profile.synapse.lock).read_text().splitlines():
        if found := REQUIREMENT.match(line):
            name, version = found.groups()
            yield Component(
                name=name, version=version, kind="pypi", purl=f"pkg:pypi/{name.lower()}@{version}"
            )
    modules = (profiles / context.recipe.profile.dendrite.directory / "go.mod").read_text()
    for name, version in re.findall(r"^(?:require)?\s+(\S+\.\S+/\S+) (v\S+)", modules, flags=re.M):
        yield Component(
            name=name, version=version, kind="golang", purl=f"pkg:golang/{name}@{version}"
        )


def write_manifest(
    context: Context,
    packages: PackageSet,
    facts: ReleaseFacts,
    artifacts: Sequence[Artifact],
    target: Path,
) -> None:
    """Versions, sizes and hashes; the same build gives the same file."""
    table = {
        "name": context.name,
        "version": context.recipe.version,
        "release": context.recipe.release,
        "facts": to_table(facts),
        "kernel": packages.kernel_release,
        "boards": [to_table(board) for board in context.recipe.boards],
        "artifacts": [
            {"kind": a.kind, "file": a.path.name, "size": a.size, "sha256": a.sha256}
            for a in artifacts
        ],
        "components": [to_table(part) for part in components(context, packages)],
    }
    write_atomic(target, json.dumps(table, indent=1) + "\n")


def write_sbom(context: Context, packages: PackageSet, target: Path) -> None:
    """SPDX 2.3 JSON (ISO/IEC 5962): one package per component, described by the document."""
    parts = list(components(context, packages))
    stamp = datetime.fromtimestamp(source_date_epoch(context), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    identity = uuid.uuid5(NAMESPACE, "".join(part.purl + part.sha256 for part in parts))
    table = {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": context.name,
        "documentNamespace": f"urn:uuid:{identity}",
        "creationInfo": {"created": stamp, "creators": ["Tool: hearth-imagebuild"]},
        "packages": [_spdx_package(index, part) for index, part in enumerate(parts)],
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relationshipType": "DESCRIBES",
                "relatedSpdxElement": f"SPDXRef-Package-{index}",
            }
            for index in range(len(parts))
        ],
    }
    write_atomic(target, json.dumps(table, indent=1) + "\n")


def _spdx_package(index: int, part: Component) -> dict[str, object]:
    package: dict[str, object] = {
        "SPDXID": f"SPDXRef-Package-{index}",
        "name": part.name,
        "versionInfo": part.version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": False,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
        "externalRefs": [
            {
                "referenceCategory": "PACKAGE-MANAGER",
                "referenceType": "purl",
                "referenceLocator": part.purl,
            }
        ],
    }
    if part.sha256:
        package["checksums"] = [{"algorithm": "SHA256", "checksumValue": part.sha256}]
    return package
