"""An account at a provider whose endpoint is on the loopback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from services.ddns.client import Client
from services.ddns.provider import Account
from services.ddns.providers import find_provider
from world.internet.ddns_endpoints import NAMES, SECRET, USER, serve
from world.internet.ddns_ledger import Entry, Ledger


@dataclass
class Bench:
    client: Client
    ledger: Ledger
    name: str


def at_endpoint(client: Client, url: str) -> Client:
    """The same account, with the provider's paths under ``url``."""
    provider = client.provider
    moved = {
        field: url + "/" + getattr(provider, field).partition("//")[2].partition("/")[2]
        for field in ("endpoint", "api")
        if getattr(provider, field)
    }
    account = replace(client.account, endpoint=f"{url}/nic/update") if not moved else client.account
    provider = replace(provider, **{key: value.rstrip("/") for key, value in moved.items()})
    if provider.id in ("desec", "freedns"):  # their paths are nothing without it
        provider = replace(provider, endpoint=f"{provider.endpoint}/")
    return Client(provider=provider, account=account)


def make_client(provider: str, *, secret: str = SECRET, name: str | None = None) -> Client:
    row = find_provider(provider)
    account = Account(
        name=name or NAMES[provider], username=USER if row.username else "", secret=secret
    )
    if provider == "he":
        account = replace(account, username=USER)
    return Client(provider=row, account=account)


@contextmanager
def open_bench(provider: str, *, secret: str = SECRET, name: str | None = None) -> Iterator[Bench]:
    ledger = Ledger(user=USER, secret=SECRET, names={NAMES[provider]: Entry()})
    with serve(provider, ledger) as server:
        client = at_endpoint(make_client(provider, secret=secret, name=name), server.url)
        yield Bench(client, ledger, client.account.name)
