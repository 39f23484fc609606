"""What the owner answered on page "tunnel", judged."""

from __future__ import annotations

import ipaddress

from appliance.errors import FieldError
from appliance.settings import Reach, Tunnel
from appliance.validate import check_server_name, is_port
from services.wan import is_publishable

EXAMPLE = "for example 198.51.100.7, as your provider's page shows it"


def judge_tunnel(server: str, port: int) -> Tunnel:
    """Raises FieldError naming the form's field."""
    server = server.strip().lower()
    if not server:
        raise FieldError("server", "Type the address of the rented server.", hint=EXAMPLE)
    if not is_port(port):
        raise FieldError("tunnel_port", f"{port} is not a port.", hint="51820 is right for most")
    if not _is_ipv4(server):
        try:
            check_server_name(server, Reach.PUBLIC)
        except FieldError as error:
            raise FieldError("server", error.message, hint=EXAMPLE) from error
    return Tunnel(server=server, port=port)


def _is_ipv4(server: str) -> bool:
    """Raises FieldError for an address that cannot be it."""
    try:
        address = ipaddress.ip_address(server.strip("[]"))
    except ValueError:
        return False
    if address.version != 4:  # noqa: PLR2004
        message = "This is an IPv6 address; those who have only IPv4 could not come in by it."
        raise FieldError("server", message, hint=f"type its IPv4 address, {EXAMPLE}")
    if not is_publishable(server):
        message = f"{server} is an address of a private network; the world cannot reach it."
        raise FieldError("server", message, hint=f"type its public address, {EXAMPLE}")
    return True
