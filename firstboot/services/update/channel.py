"""Asking a channel what there is: its revocation list, then its signed index.

What is remembered of it is the index itself, as it was signed: so its sequence number counts only
as long as its signer does. Someone with a stolen key could name the highest number of all; with
the key's revocation that memory is gone.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from urllib.parse import urljoin

from appliance.atomic import write_atomic
from appliance.channelindex import (
    CRL_NAME,
    INDEX_NAME,
    MAX_CRL,
    MAX_INDEX,
    read_index,
    to_seconds,
    to_text,
)
from appliance.errors import ConfigError, HearthError, NetworkError, SignatureError, StateError
from appliance.log import logger
from appliance.paths import Paths
from appliance.release import Channel, Index, Release
from services.update import fetch as web
from services.update.choose import PassedOver, choose
from services.update.keyring import stored_lists, take_crl, write_keyring
from services.update.machine import Machine

RESULT = "update-check"


@dataclass(frozen=True, kw_only=True)
class Source:
    """``url`` is the address above all channels."""

    url: str
    channel: Channel

    @property
    def index_url(self) -> str:
        return self._url(f"{self.channel.value}/{INDEX_NAME}")

    @property
    def crl_url(self) -> str:
        return self._url(CRL_NAME)

    def _url(self, name: str) -> str:
        return urljoin(web.check_url(self.url).rstrip("/") + "/", name)


@dataclass(frozen=True, kw_only=True)
class CheckResult:
    """What a check found (services.results, RESULT). Times in seconds since the epoch.

    ``at``: when it was tried last; ``checked_at``: when the channel's valid index was last met, be
    it the same as before: "last checked". ``error`` is why the last try came to nothing; ``offer``
    may be there all the same, from the index of before, as long as that has not expired. The
    offer's bundle URL is absolute.
    """

    at: float
    checked_at: float = 0.0
    source: str = ""
    error: str = ""
    hint: str = ""
    sequence: int = 0
    issued: str = ""
    expires: str = ""
    offer: Release | None = None
    passed_over: tuple[PassedOver, ...] = ()
    index_validators: web.Validators = field(default_factory=web.Validators)
    crl_validators: web.Validators = field(default_factory=web.Validators)


Fetch = Callable[..., web.Fetched]


@dataclass(frozen=True)
class Checker:
    """One check. ``previous`` is the result before, whose validators are sent along."""

    paths: Paths
    source: Source
    machine: Machine
    previous: CheckResult | None = None
    avoid: Mapping[str, str] = field(default_factory=dict)
    wants_it_now: bool = False
    fetch: Fetch = web.fetch

    def check(self, now: float) -> CheckResult:
        """Raises nothing that can be expected: what went wrong is in the result."""
        last = self.previous
        if last is None or last.source != self.source.index_url:
            last = CheckResult(at=now, source=self.source.index_url)
        result = replace(last, at=now, error="", hint="", offer=None, passed_over=())
        try:
            return self._ask(result, now)
        except HearthError as error:
            result = replace(result, error=error.message, hint=error.hint or "")
        except OSError as error:
            # No room for a temporary file, say.
            result = replace(result, error=f"{error.strerror}: {error.filename}")
        try:
            return self._fall_back(result, now)
        except (HearthError, OSError):
            return result  # it has the same cause

    def _ask(self, result: CheckResult, now: float) -> CheckResult:
        """Raises HearthError unless the server gave us, or confirmed, an index that is valid."""
        result = replace(result, crl_validators=self._take_crl(result.crl_validators))
        keyring = write_keyring(self.paths)
        stored = load_index(self.paths, self.source.channel, keyring)
        known = result.index_validators if stored else web.Validators()
        fetched = self.fetch(self.source.index_url, limit=MAX_INDEX, known=known)
        validators = fetched.validators
        if fetched.body is None:
            assert stored is not None  # without it no validators were sent
            index = stored
        else:
            index = self._accept(fetched.body, keyring, stored, now)
        check_expiry(index, now=likely_now(self.paths, now))
        if fetched.body is not None and not self._keep(fetched.body):
            validators = web.Validators()
        result = replace(result, checked_at=now, index_validators=validators)
        return self._offer(result, index)

    def _fall_back(self, result: CheckResult, now: float) -> CheckResult:
        """What the index of before has to offer, as long as it has not ended."""
        index = load_index(self.paths, self.source.channel, write_keyring(self.paths))
        if index is None or likely_now(self.paths, now) >= to_seconds(index.expires):
            return result
        return self._offer(result, index)

    def _take_crl(self, known: web.Validators) -> web.Validators:
        """News about revoked keys; without them the list that we have goes on to count."""
        if not stored_lists(self.paths):
            known = web.Validators()
        try:
            fetched = self.fetch(self.source.crl_url, limit=MAX_CRL, known=known)
            if fetched.body is not None and take_crl(self.paths, fetched.body):
                logger.info("a newer list of revoked keys was taken")
        except (NetworkError, SignatureError) as error:
            logger.warning("no news about revoked keys: %s", error.message)
            return web.Validators()
        except OSError as error:
            # Going on would mean to believe a key that we know to be stolen.
            message = f"the newer list of revoked keys cannot be kept: {error.strerror or error}"
            raise StateError(message, hint="is the card full? `hearthctl doctor` tells") from error
        return fetched.validators

    def _accept(self, body: bytes, keyring: Path, stored: Index | None, now: float) -> Index:
        index, signed = read_index(body, keyring)
        signed.check_time(max(likely_now(self.paths, now), to_seconds(index.issued)))
        if index.channel is not self.source.channel:
            message = f"this is the index of another channel: {index.channel.value}"
            raise SignatureError(message, hint="the update server is set up wrongly")
        if stored is None or index.sequence > stored.sequence or index == stored:
            return index
        raise SignatureError(
            f"the channel's index is number {index.sequence}, and number {stored.sequence} of "
            f"{stored.issued} is known here",
            hint="somebody is withholding news, or the update server was set back",
        )

    def _keep(self, body: bytes) -> bool:
        """A full disk is no reason to take no update; then the one before goes on to count."""
        target = index_file(self.paths, self.source.channel)
        try:
            target.parent.mkdir(mode=0o750, exist_ok=True)
            write_atomic(target, body, mode=0o640)
        except OSError as error:
            logger.warning("%s cannot be written: %s", target, error)
            return False
        return True

    def _offer(self, result: CheckResult, index: Index) -> CheckResult:
        choice = choose(index, self.machine, avoid=self.avoid, wants_it_now=self.wants_it_now)
        return replace(
            result,
            sequence=index.sequence,
            issued=index.issued,
            expires=index.expires,
            offer=absolute(choice.release, self.source) if choice.release else None,
            passed_over=choice.passed_over,
        )


def absolute(release: Release, source: Source) -> Release:
    """With the bundle's whole address. Raises NetworkError for one that https must not lead to."""
    url = web.allowed(source.index_url, release.bundle.url)
    return replace(release, bundle=replace(release.bundle, url=url))


def index_file(paths: Paths, channel: Channel) -> Path:
    return paths.update / f"{channel.value}-{INDEX_NAME}"


def load_index(paths: Paths, channel: Channel, keyring: Path) -> Index | None:
    """The index that was met last; None when there is none, or its signer counts no more."""
    file = index_file(paths, channel)
    try:
        index, _ = read_index(file.read_bytes(), keyring)
    except FileNotFoundError:
        return None
    except (OSError, SignatureError, ConfigError) as error:
        logger.warning("the channel's index of before is not used: %s", error)
        return None
    return index if index.channel is channel else None


def likely_now(paths: Paths, now: float) -> float:
    """At least this late it is: a Pi has no clock of its own and may start in 1970."""
    witnesses = [now]
    for file in (paths.image_facts, paths.last_time):
        with suppress(OSError):
            witnesses.append(file.stat().st_mtime)
    return max(witnesses)


def check_expiry(index: Index, *, now: float) -> None:
    """Raises SignatureError for an index that has ended: whoever holds back news is noticed."""
    if now >= to_seconds(index.expires):
        raise SignatureError(
            f"the channel's index ended at {index.expires}, and it is {to_text(now)}",
            hint="its publisher has to sign it anew; until then there are no updates from it",
        )
