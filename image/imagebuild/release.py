"""Publishing: what happens to an update server's directory, step by step.

The files of a release come first, then the list of revoked keys, and the signed index last: cut off
anywhere, what is there is what was there before, and the same command again goes on.
"""

from __future__ import annotations

import filecmp
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from appliance.channelindex import MAX_NOTES, render_index, to_seconds, to_text
from appliance.errors import ConfigError, HearthError, SignatureError, StateError
from appliance.log import logger
from appliance.release import Bundle, Channel, Index, Release, Rollout
from imagebuild import imager
from imagebuild.bundlefile import BundleFile, read_bundle
from imagebuild.indexes import (
    empty_index,
    find_release,
    renewed,
    with_release,
    with_rollout,
)
from imagebuild.signer import Signer
from imagebuild.site import SAFE_NAME, Site, check_new, finish_site

EXPIRY_DAYS = 60.0


@dataclass(frozen=True, kw_only=True)
class Publisher:
    """``days``: how long an index counts; it has to be signed anew before (`resign`).

    With ``dry_run`` all is looked at and signed, and nothing is written.
    """

    site: Site
    signer: Signer
    now: float
    days: float = EXPIRY_DAYS
    dry_run: bool = False

    def publish(
        self, channel: Channel, file: Path, *, notes: str, percent: float, image: Path | None = None
    ) -> Index:
        """A bundle into ``channel``, to ``percent`` of its appliances. Raises HearthError."""
        bundle = read_bundle(file, self.signer.keyring)
        bundle.signed.check_time(self.now)
        if not SAFE_NAME.fullmatch(file.name) or file.suffix != ".raucb":
            raise ConfigError(f"{file.name} is no name for a bundle", hint="as hearth-1.2.3.raucb")
        if len(notes) > MAX_NOTES:
            raise StateError(f"the release notes have {len(notes)} characters",
                             hint=f"at most {MAX_NOTES}; link to more")  # fmt: skip
        with self.site.lock():
            index = self.site.load(channel, self.signer.keyring)
            release = self._make_release(bundle, notes)
            changed = with_release(index, release)
            changed = with_rollout(changed, bundle.facts.version, percent=percent)
            self._check_version_is_new(bundle)
            entry = None
            if image is not None:
                entry = imager.make_entry(self.site, bundle.facts, image, self.now)
            if not self.dry_run:
                self._put_files(bundle, image, entry)
            return self._issue(changed)

    def _make_release(self, bundle: BundleFile, notes: str) -> Release:
        version = bundle.facts.version
        return Release(
            facts=bundle.facts,
            # Beside the index wherever the directory is served: a mirror needs no change.
            bundle=Bundle(
                url=f"../releases/{version}/{bundle.path.name}",
                size=bundle.size,
                sha256=bundle.sha256,
            ),
            published=to_text(self.now),
            notes=notes.strip(),
        )

    def _check_version_is_new(self, bundle: BundleFile) -> None:
        """A version is one thing for ever: caches and appliances rely on that."""
        version = bundle.facts.version
        for channel in self.site.channels():
            for one in self.site.load(channel, self.signer.keyring).releases:
                if one.facts.version == version and one.bundle.sha256 != bundle.sha256:
                    message = f"{channel.value} has another {version} already"
                    raise StateError(message, hint="give the new build a version of its own")
        for file in self.site.release_directory(version).glob("*.raucb"):
            is_same_name = file.name == bundle.path.name
            if is_same_name and filecmp.cmp(file, bundle.path, shallow=False):
                continue
            if not is_same_name and not self._counts_still(file):
                continue  # a revoked key's: signed again it needs another name, for the caches
            message = f"{file} is there already, and is another bundle"
            hint = "give the new build a version of its own; delete the file if nobody ever got it"
            if is_same_name and not self._counts_still(file):
                hint = "signed again by another key, it needs another name: hearth-1.2-again.raucb"
            raise StateError(message, hint=hint)

    def _counts_still(self, file: Path) -> bool:
        try:
            read_bundle(file, self.signer.keyring)
        except HearthError:
            return False
        return True

    def _put_files(
        self, bundle: BundleFile, image: Path | None, entry: dict[str, object] | None
    ) -> None:
        version = bundle.facts.version
        self.site.put(bundle.path, version)
        if image is None or entry is None:
            return
        self.site.put(image, version)
        if (block_map := imager.block_map_of(image)).exists():
            self.site.put(block_map, version)
        imager.write_entry(self.site, version, entry)

    def promote(self, version: str, source: Channel, target: Channel, percent: float) -> Index:
        """What has proved itself in one channel goes into another one."""
        with self.site.lock():
            release = find_release(self.site.load(source, self.signer.keyring), version)
            if release.rollout.paused:
                message = f"{version} is paused in {source.value}"
                raise StateError(message, hint=f"resume it there first, if {version} is good")
            file = self.site.release_directory(version) / Path(release.bundle.url).name
            self._check_file(release, file)
            release = replace(
                release, published=to_text(self.now), rollout=Rollout(percent=percent)
            )
            index = with_release(self.site.load(target, self.signer.keyring), release)
            return self._issue(with_rollout(index, version, percent=percent))

    def _check_file(self, release: Release, file: Path) -> None:
        if not file.exists():
            raise StateError(f"{file} is not there any more", hint="publish the release again")
        if read_bundle(file, self.signer.keyring).sha256 != release.bundle.sha256:
            raise StateError(f"{file} was changed since", hint="publish it as a new version")

    def change_rollout(
        self, channel: Channel, version: str, *, percent: float | None = None,
        paused: bool | None = None,
    ) -> Index:  # fmt: skip
        """How many may have it; or none for now (``paused``), or those again."""
        with self.site.lock():
            index = self.site.load(channel, self.signer.keyring)
            return self._issue(with_rollout(index, version, percent=percent, paused=paused))

    def resign(self, channel: Channel) -> tuple[Index, tuple[str, ...]]:
        """The same releases in an index that counts from now on.

        When the key of before was revoked, the releases whose bundles do not count without it are
        left out; returns them as well.
        """
        keyring = self.signer.keyring
        with self.site.lock():
            try:
                return self._issue(self.site.load(channel, keyring)), ()
            except SignatureError as error:
                logger.warning("%s", error.message)
            index = self.site.load(channel, keyring, even_revoked=True)
            kept = tuple(one for one in index.releases if self._counts(one))
            left_out = tuple(one.facts.version for one in index.releases if one not in kept)
            return self._issue(replace(index, releases=kept)), left_out

    def _counts(self, release: Release) -> bool:
        version = release.facts.version
        file = self.site.release_directory(version) / Path(release.bundle.url).name
        try:
            bundle = read_bundle(file, self.signer.keyring)
        except (HearthError, OSError) as error:
            logger.warning("%s is left out: %s", version, error)
            return False
        return bundle.sha256 == release.bundle.sha256 and bundle.facts == release.facts

    def start(self, channel: Channel) -> Index:
        """An empty channel."""
        return self._write(empty_index(channel, self.now, self.days))

    def _issue(self, index: Index) -> Index:
        """The changed ``index`` as the channel's next one."""
        return self._write(renewed(index, self.now, self.days))

    def _write(self, index: Index) -> Index:
        message, signed = self.signer.sign(render_index(index))
        signed.check_time(self.now)
        signed.check_time(to_seconds(index.expires))  # or appliances would refuse it before its end
        crl = self.site.newer_crl(self.signer.keyring)
        if self.dry_run:
            return index
        if crl:
            self.site.write_crl(crl)
        self.site.write_index(index.channel, message)
        imager.write_lists(self.site, index)
        return index


def init_site(
    directory: Path, url: str, make: Callable[[Site], Publisher]
) -> tuple[Site, tuple[Index, ...]]:
    """A new update server with empty channels."""
    check_new(directory)
    directory.mkdir(parents=True, exist_ok=True)
    site = Site(directory)
    publisher = make(site)
    with site.lock():
        missing = [channel for channel in Channel if channel not in site.channels()]
        started = tuple(publisher.start(channel) for channel in missing)
        finish_site(site, url)
    return site, started
