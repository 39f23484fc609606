"""An update server: a directory of static files for any web server or content delivery network.

    revoked.crl                         which release keys count no more
    CHANNEL/index.cms                   what there is (appliance.channelindex)
    CHANNEL/rpi-imager.json             the same for Raspberry Pi Imager, and for one before 2.0.11
    CHANNEL/rpi-imager-cloudinit.json
    releases/VERSION/                   bundle, image, block map
    site.json, hearth.svg               its own address; a picture for Raspberry Pi Imager

Each file is replaced as a whole, and an index comes last: whoever copies or serves the directory
meanwhile never finds a release whose bundle is not there.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from appliance.atomic import fsync_directory, write_atomic
from appliance.channelindex import CRL_NAME, INDEX_NAME, MAX_CRL, MAX_INDEX, read_index
from appliance.errors import ConfigError, ConflictError, SignatureError, StateError
from appliance.release import Channel, Index
from appliance.signed import CERTIFICATE, CRL, newest_crls, split_pem

FACTS = "site.json"
# In an address as it is, and no way to another directory.
SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+-]*")
ICON = "hearth.svg"
ICON_DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" width="40" height="40">
<path d="M4 20 20 5l16 15v15H4z" fill="#7a2e1d"/>
<path d="M20 14c5 5 7 9 5 13-1 3-3 4-5 4s-4-1-5-4c-1-3 1-5 3-7 1-2 2-4 2-6z" fill="#ffb347"/>
</svg>
"""


@dataclass(frozen=True)
class Site:
    directory: Path

    @property
    def url(self) -> str:
        """Where the directory is served, without a slash at its end. Raises StateError."""
        try:
            return str(json.loads((self.directory / FACTS).read_text())["url"])
        except FileNotFoundError as error:
            message = f"{self.directory} is no update server's directory"
            raise StateError(
                message, hint="`hearth release init DIR --url URL` makes one"
            ) from error
        except (ValueError, KeyError, TypeError) as error:
            raise StateError(f"{self.directory / FACTS} is damaged: {error}") from error

    def index_file(self, channel: Channel) -> Path:
        return self.directory / channel.value / INDEX_NAME

    def imager_file(self, channel: Channel, name: str = "rpi-imager.json") -> Path:
        return self.directory / channel.value / name

    def release_directory(self, version: str) -> Path:
        return self.directory / "releases" / version

    def release_url(self, version: str, name: str) -> str:
        return f"{self.url}/releases/{quote(version)}/{quote(name)}"

    def load(self, channel: Channel, keyring: Path, *, even_revoked: bool = False) -> Index:
        """Raises StateError without such a channel, SignatureError for what strangers put there."""
        file = self.index_file(channel)
        try:
            message = file.read_bytes()
        except FileNotFoundError as error:
            text = f"{self.directory} has no channel {channel.value}"
            raise StateError(text, hint="`hearth release init` makes its channels") from error
        try:
            index, _ = read_index(message, keyring, even_revoked=even_revoked)
        except SignatureError as error:
            hint = "was a key revoked? then `hearth release resign` with a new one"
            raise SignatureError(f"{file}: {error.message}", hint=hint) from error
        if index.channel is not channel:
            raise ConfigError(f"{file} is the index of {index.channel.value}")
        return index

    def channels(self) -> tuple[Channel, ...]:
        return tuple(channel for channel in Channel if self.index_file(channel).exists())

    def write_index(self, channel: Channel, message: bytes) -> None:
        if len(message) > MAX_INDEX:
            text = f"the index of {channel.value} has {len(message)} bytes, too many for appliances"
            raise StateError(text, hint="are the release notes too long?")
        self.index_file(channel).parent.mkdir(parents=True, exist_ok=True)
        write_atomic(self.index_file(channel), message)

    def newer_crl(self, keyring: Path) -> str:
        """The newest lists of the site's own and the keyring's, if the site has to be changed."""
        text = keyring.read_text()
        file = self.directory / CRL_NAME
        there = file.read_text() if file.exists() else ""
        blocks = [*split_pem(text, CRL), *split_pem(there, CRL)]
        newest = "".join(one.pem for one in newest_crls(split_pem(text, CERTIFICATE), blocks))
        if not newest or len(newest) > MAX_CRL:
            raise ConfigError(f"{keyring} has no list of revoked keys that could be published")
        return "" if newest == there else newest

    def write_crl(self, text: str) -> None:
        write_atomic(self.directory / CRL_NAME, text)

    def put(self, source: Path, version: str) -> Path:
        """A copy of ``source`` among the release's files: all of it or nothing."""
        target = self.release_directory(version) / source.name
        partial = target.with_name(f".{target.name}.partial")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            shutil.copyfile(source, partial)
            partial.chmod(0o644)
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        fsync_directory(target.parent)
        return target

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Never two at once. Raises ConflictError, StateError."""
        try:
            descriptor = os.open(self.directory, os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError) as error:
            message = f"{self.directory} is no directory"
            raise StateError(
                message, hint="`hearth release init DIR --url URL` makes one"
            ) from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            message = f"somebody else is changing {self.directory}"
            raise ConflictError(message, hint="try again in a moment") from error
        finally:
            os.close(descriptor)


def check_new(directory: Path) -> None:
    """Raises StateError when there is something at that place already."""
    if (directory / FACTS).exists():
        message = f"{directory} is an update server's directory already"
        raise StateError(message, hint="`hearth release show` tells what it has")
    if directory.exists() and not directory.is_dir():
        raise StateError(f"{directory} is a file", hint="choose another place")


def finish_site(site: Site, url: str) -> None:
    """What makes the directory an update server's: written when all else is there."""
    write_atomic(site.directory / ICON, ICON_DRAWING)
    write_atomic(site.directory / FACTS, json.dumps({"url": url.rstrip("/")}) + "\n")
