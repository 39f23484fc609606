"""What DNS says about a server: addresses and SRV records, in the order in which to try them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from appliance.deadline import Deadline
from appliance.errors import NetworkError

if TYPE_CHECKING:
    import dns.resolver

LOOKUP_SECONDS = 8.0
MAX_ADDRESSES = 8
MAX_SERVICES = 8


@dataclass(frozen=True, kw_only=True)
class Service:
    """One SRV record (RFC 2782). ``problem`` says why it cannot be used."""

    target: str
    port: int
    priority: int
    weight: int
    problem: str = ""


def make_resolver() -> dns.resolver.Resolver:
    import dns.resolver

    resolver = dns.resolver.Resolver()
    resolver.lifetime = LOOKUP_SECONDS
    return resolver


@dataclass(frozen=True)
class Lookup:
    """Asks the resolver that the machine uses; tests bring one of their own.

    ``deadline`` is for all questions together.
    """

    resolver: Callable[[], dns.resolver.Resolver] = make_resolver
    deadline: Deadline | None = None

    def addresses(self, name: str) -> tuple[str, ...]:
        """A, then AAAA; CNAMEs are followed. Empty when there are none.

        Raises NetworkError when no name server answers.
        """
        found = [record.to_text() for kind in ("A", "AAAA") for record in self._ask(name, kind)]
        return tuple(found[:MAX_ADDRESSES])

    def services(self, name: str) -> tuple[Service, ...]:
        """By priority, then by weight. Empty when there are none or "." says so (RFC 2782).

        Raises NetworkError when no name server answers.
        """
        records = [one for one in self._ask(name, "SRV") if one.target.to_text() != "."]
        records.sort(key=lambda one: (one.priority, -one.weight, one.target, one.port))
        return tuple(self._service(record) for record in records[:MAX_SERVICES])

    def _service(self, record: Any) -> Service:
        target = record.target.to_text(omit_final_dot=True)
        is_alias = bool(self._ask(target, "CNAME"))
        return Service(
            target=target,
            port=record.port,
            priority=record.priority,
            weight=record.weight,
            problem="its target is an alias, which RFC 2782 forbids" if is_alias else "",
        )

    def _ask(self, name: str, kind: str) -> list[Any]:
        import dns.exception
        import dns.name
        import dns.resolver

        resolver = self.resolver()
        if self.deadline is not None:
            resolver.lifetime = min(resolver.lifetime, self.deadline.remaining)
        try:
            return list(resolver.resolve(f"{name.rstrip('.')}.", kind))
        except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer, dns.name.LabelTooLong):
            return []
        except (dns.name.EmptyLabel, dns.name.NameTooLong):
            return []
        except (dns.exception.DNSException, OSError) as error:
            reason = " ".join(str(error).split()) or type(error).__name__
            message = f"DNS gives no answer about {name}: {reason}"
            raise NetworkError(message, hint="is the Internet there?") from error
