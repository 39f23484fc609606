"""A Matrix server name and its parts (Matrix specification, appendices, "Server Name")."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from appliance.errors import ConfigError

FEDERATION_PORT = 8448
MAX_PORT = 65535
MAX_NAME = 255
NAME = re.compile(r"[0-9A-Za-z.-]{1,255}")
PARTS = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^\[\]:]+)(:(?P<port>[0-9]{1,5}))?")


@dataclass(frozen=True, kw_only=True)
class ServerName:
    """``host`` is without brackets; ``port`` is None where the name has none."""

    host: str
    port: int | None = None

    @property
    def is_literal(self) -> bool:
        return is_literal(self.host)

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port is None else f"{host}:{self.port}"


def parse_server_name(text: str) -> ServerName:
    """Raises ConfigError for what is no server name."""
    found = PARTS.fullmatch(text) if len(text) <= MAX_NAME else None
    if found is None:
        raise _wrong(text)
    host, port = found["host"].strip("[]"), found["port"]
    is_ipv6 = found["host"].startswith("[")
    if is_ipv6 != (":" in host) or (is_ipv6 and not is_literal(host)):
        raise _wrong(text)
    if not is_ipv6 and NAME.fullmatch(host) is None:
        raise _wrong(text)
    number = None if port is None else int(port)
    if number is not None and not 0 < number <= MAX_PORT:
        raise _wrong(text)
    return ServerName(host=host, port=number)


def is_literal(host: str) -> bool:
    """Whether this is an address rather than a name."""
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


def _wrong(text: str) -> ConfigError:
    return ConfigError(f"{text[:80]!r} is not a Matrix server name", hint="for example: matrix.org")
