"""An account at a provider, whatever protocol it speaks; every conversation ends in an outcome."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol as Interface
from typing import assert_never, runtime_checkable

from services.ddns.outcome import Kind, Outcome, RefusalError
from services.ddns.provider import Account, Protocol, Provider
from services.wan import WanAddresses


class Updater(Interface):
    """What every protocol can do. Its methods may raise RefusalError."""

    def update(self, addresses: WanAddresses) -> Outcome:
        """Have the name lead to these; a family that is None is taken out where possible."""
        ...

    def check_account(self) -> Outcome:
        """Try token and name without changing anything; Kind.UNTOLD where there is no way to."""
        ...


@runtime_checkable
class TxtUpdater(Interface):
    """For ACME's dns-01: one value beside others, where the provider has room for others."""

    def set_txt(self, name: str, value: str) -> Outcome: ...
    def clear_txt(self, name: str, value: str) -> Outcome: ...


@runtime_checkable
class AliasUpdater(Interface):
    """For matrix.NAME and chat.NAME: once made, they follow NAME (a CNAME record)."""

    def set_alias(self, name: str, target: str) -> Outcome: ...


@dataclass(frozen=True, kw_only=True)
class Client:
    """Nothing here raises: what went wrong is in the outcome."""

    provider: Provider
    account: Account

    def update(self, addresses: WanAddresses) -> Outcome:
        return _settled(lambda: self._updater().update(addresses))

    def check_account(self) -> Outcome:
        return _settled(lambda: self._updater().check_account())

    def set_txt(self, name: str, value: str) -> Outcome:
        updater = self._updater()
        if not isinstance(updater, TxtUpdater):
            return Outcome(kind=Kind.BADSYS, said=f"{self.provider.title} has no TXT records")
        return _settled(lambda: updater.set_txt(name, value))

    def clear_txt(self, name: str, value: str) -> Outcome:
        updater = self._updater()
        if not isinstance(updater, TxtUpdater):
            return Outcome(kind=Kind.BADSYS, said=f"{self.provider.title} has no TXT records")
        return _settled(lambda: updater.clear_txt(name, value))

    def set_alias(self, name: str, target: str) -> Outcome:
        updater = self._updater()
        if not isinstance(updater, AliasUpdater):
            return Outcome(kind=Kind.BADSYS, said=f"{self.provider.title} makes no names itself")
        return _settled(lambda: updater.set_alias(name, target))

    def _updater(self) -> Updater:
        return make_updater(self.provider, self.account)


def _settled(act: Callable[[], Outcome]) -> Outcome:
    try:
        return act()
    except RefusalError as refusal:
        return refusal.outcome
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        # JSON of a shape that the provider does not document.
        return Outcome(kind=Kind.GARBLED, said=f"{type(error).__name__} in its answer")


def make_updater(provider: Provider, account: Account) -> Updater:
    """Imported one by one: a job speaks one protocol, and Python is slow to start on a Pi."""
    match provider.protocol:
        case Protocol.DYNDNS2:
            from services.ddns.dyndns2 import Dyndns2

            return Dyndns2(provider=provider, account=account)
        case Protocol.DUCKDNS:
            from services.ddns.duckdns import DuckDns

            return DuckDns(provider=provider, account=account)
        case Protocol.DESEC:
            from services.ddns.desec import DeSec

            return DeSec(provider=provider, account=account)
        case Protocol.CLOUDFLARE:
            from services.ddns.cloudflare import Cloudflare

            return Cloudflare(provider=provider, account=account)
        case Protocol.DYNV6:
            from services.ddns.dynv6 import Dynv6

            return Dynv6(provider=provider, account=account)
        case Protocol.NAMECHEAP:
            from services.ddns.namecheap import Namecheap

            return Namecheap(provider=provider, account=account)
        case Protocol.FREEDNS:
            from services.ddns.freedns import FreeDns

            return FreeDns(provider=provider, account=account)
        case Protocol.RFC2136:
            from services.ddns.rfc2136 import Rfc2136

            return Rfc2136(provider=provider, account=account)
        case never:
            assert_never(never)
