"""The addresses under which the world may reach us, as measured by services.address."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class WanAddresses:
    """``ipv4`` is the router's outside; ``ipv6`` is our own global and stable one."""

    ipv4: str | None = None
    ipv6: str | None = None

    @property
    def known(self) -> tuple[str, ...]:
        """IPv4 first."""
        return tuple(address for address in (self.ipv4, self.ipv6) if address)
