"""A publisher of releases, with keys and an update server's directory."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from appliance.release import Channel, Index
from imagebuild.release import Publisher, init_site
from imagebuild.signer import Signer as ReleaseSigner
from imagebuild.site import Site
from unit.bundles import make_bundle
from unit.services.channel_files import NOW
from unit.signing import Root, Signer

URL = "https://updates.example.org/hearth"
BETA, STABLE = Channel.BETA, Channel.STABLE


class Office:
    """Where releases are published, signed with the root's key named "release"."""

    def __init__(self, place: Path, root: Root) -> None:
        self.place = place
        self.root = root
        self.key = root.signer
        self.now = NOW
        self.site, _ = init_site(place / "site", URL, self.publisher)

    def publisher(self, site: Site | None = None, **wishes: Any) -> Publisher:
        signer = ReleaseSigner(certificate=self.key.certificate, key=str(self.key.key),
                               keyring=self.root.keyring)  # fmt: skip
        self.now += 1
        return Publisher(site=site or self.site, signer=signer, now=self.now, **wishes)

    def bundle(self, version: str, signer: Signer | None = None, **facts: object) -> Path:
        return make_bundle(self.place, version, signer or self.key, **facts)

    def publish(self, version: str, channel: Channel = BETA, *, percent: float = 100.0,
                image: Path | None = None, notes: str = "", **facts: object) -> Index:  # fmt: skip
        bundle = self.bundle(version, **facts)
        return self.publisher().publish(channel, bundle, notes=notes, percent=percent, image=image)

    def versions(self, channel: Channel) -> list[str]:
        index = self.site.load(channel, self.root.keyring)
        return [one.facts.version for one in index.releases]

    def files(self) -> dict[str, str]:
        return {
            str(path.relative_to(self.site.directory)): hashlib.sha256(
                path.read_bytes()
            ).hexdigest()
            for path in self.site.directory.rglob("*")
            if path.is_file()
        }
