"""What the DDNS job leaves behind: for the pages, for doctor, and for its own next run."""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from appliance.paths import Paths
from appliance.settings import Ddns, Secrets
from services.ddns.client import Client
from services.ddns.contract import ContractState, shifted
from services.ddns.outcome import Kind
from services.ddns.provider import Account
from services.ddns.providers import find_provider
from services.ddns.verify import ServerAnswer
from services.moment import Moment
from services.wan import WanAddresses

RESULT = "ddns"


@dataclass(frozen=True, kw_only=True)
class DdnsResult:
    """``kind`` and ``said`` are the provider's last answer; ``servers`` are the authoritative ones.

    ``is_correct``: they answer what is wanted; None when that could not be asked. ``problem`` is
    empty when all is well. ``next_at`` is when the provider may be asked again. ``noted`` tells
    which clock all these dates are of.
    """

    at: float = 0.0
    noted: Moment = field(default_factory=Moment)
    provider: str = ""
    name: str = ""
    wanted: WanAddresses = field(default_factory=WanAddresses)
    contract: ContractState = field(default_factory=ContractState)
    kind: Kind | None = None
    said: str = ""
    answered_at: float = 0.0
    servers: tuple[ServerAnswer, ...] = ()
    is_correct: bool | None = None
    verified_at: float = 0.0
    aliases: tuple[str, ...] = ()
    aliases_at: float = 0.0
    problem: str = ""
    hint: str = ""
    next_at: float = 0.0


def by_this_clock(result: DdnsResult, now: Moment) -> DdnsResult:
    """The result with its dates by the clock of ``now``, which may have been set since."""
    jump = result.noted.jump(now)
    if not jump:
        return result
    return replace(
        result,
        noted=now,
        contract=shifted(result.contract, jump),
        answered_at=result.answered_at + jump,
        verified_at=result.verified_at + jump,
        aliases_at=result.aliases_at + jump,
    )


@contextmanager
def hold_lock(paths: Paths) -> Iterator[None]:
    """The timer's run, the owner's and a certificate's may meet: the provider sees one of them."""
    paths.runtime.mkdir(parents=True, exist_ok=True)
    with (paths.runtime / "ddns.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def make_client(ddns: Ddns, secrets: Secrets) -> Client:
    """Raises ConfigError for an unknown provider."""
    account = Account(
        name=ddns.name,
        username=ddns.username,
        secret=secrets.ddns_secret,
        endpoint=ddns.endpoint,
    )
    return Client(provider=find_provider(ddns.provider), account=account)


def account_mark(ddns: Ddns, secrets: Secrets) -> str:
    """Tells whether the owner has changed anything, and no more.

    The pages may read results. A plain hash would let who reads it try passwords against it, so it
    is keyed with what only root knows.
    """
    key = f"{secrets.registration_shared_secret}{secrets.macaroon_secret_key}{secrets.form_secret}"
    fields = [ddns.provider, ddns.name, ddns.username, ddns.endpoint, secrets.ddns_secret]
    mark = hmac.new(key.encode(), json.dumps(fields).encode(), hashlib.sha256)
    return f"{ddns.provider}/{mark.hexdigest()[:32]}"
