"""A channel as it is published, and an appliance that asks it."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path

from appliance.channelindex import render_index, to_text
from appliance.paths import Paths
from appliance.release import Bundle, Channel, Index, Release, ReleaseFacts, Rollout
from services.update.channel import Checker, CheckResult, Source
from services.update.machine import Machine, read_machine
from unit.signing import Root, Signer, sign

DAY = 86400.0
NOW = float(round(time.time()))  # openssl makes certificates from today on
MACHINE_ID = "0123456789abcdef0123456789abcdef"


def make_appliance(
    root: Path, keys: Root, *, version: str = "1.0", model: str = "raspberrypi,4-model-b"
) -> Paths:
    """What a check needs of a slot and of /data."""
    paths = Paths(root)
    for directory in (paths.hearth, paths.image_facts.parent / "update", root / "etc",
                      root / "proc/device-tree"):  # fmt: skip
        directory.mkdir(parents=True)
    facts = {"version": version, "boot_interface": 1, "development": False}
    paths.image_facts.write_text(json.dumps(facts))
    os.utime(paths.image_facts, (NOW - 30 * DAY, NOW - 30 * DAY))
    (paths.image_facts.parent / "update/keyring.pem").write_bytes(keys.keyring.read_bytes())
    (root / "etc/machine-id").write_text(f"{MACHINE_ID}\n")
    (root / "proc/device-tree/compatible").write_bytes(f"{model}\0brcm,bcm2711\0".encode())
    return paths


def a_release(version: str, *, rollout: Rollout | None = None, **facts: object) -> Release:
    return Release(
        facts=replace(ReleaseFacts(version=version), **facts),  # type: ignore[arg-type]
        bundle=Bundle(url=f"../releases/{version}/hearth.raucb", size=1, sha256="00" * 32),
        published="2026-11-01T00:00:00Z",
        rollout=rollout or Rollout(),
    )


def an_index(*releases: Release, sequence: int = 1, channel: Channel = Channel.STABLE,
             issued: float = NOW - DAY, days: float = 60) -> Index:  # fmt: skip
    return Index(
        channel=channel,
        sequence=sequence,
        issued=to_text(issued),
        expires=to_text(issued + days * DAY),
        releases=releases,
    )


@dataclass
class Publisher:
    """Signs by hand: what ``hearth release`` refuses to publish can be published as well."""

    directory: Path
    signer: Signer

    def publish(self, index: Index) -> bytes:
        return self.publish_bytes(sign(render_index(index), self.signer), index.channel)

    def publish_bytes(self, message: bytes, channel: Channel = Channel.STABLE) -> bytes:
        file = self.directory / channel.value / "index.cms"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(message)
        return message

    def publish_crl(self, crl: bytes) -> None:
        (self.directory / "revoked.crl").write_bytes(crl)


@dataclass
class Appliance:
    paths: Paths
    url: str
    channel: Channel = Channel.STABLE
    last: CheckResult | None = None
    avoid: dict[str, str] = field(default_factory=dict)
    wants_it_now: bool = False

    @property
    def machine(self) -> Machine:
        return read_machine(self.paths)

    def check(self, now: float = NOW) -> CheckResult:
        source = Source(url=self.url, channel=self.channel)
        checker = Checker(self.paths, source, self.machine, self.last, self.avoid,
                          self.wants_it_now)  # fmt: skip
        self.last = checker.check(now)
        return self.last

    @property
    def offered(self) -> str:
        assert self.last is not None
        return self.last.offer.facts.version if self.last.offer else ""
