"""Where our end of the tunnel is: what its keeper has to know, and little to load for it."""

from __future__ import annotations

from appliance.settings import Settings, Tunnel, Way

INTERFACE = "hearth"
# Out of the way of what home routers and providers give out of 10.0.0.0/8.
OURS, THEIRS = "10.213.77.2", "10.213.77.1"
UNIT = "hearth-tunnel.service"
CONFIG, GUARD = "wireguard/hearth.conf", "wireguard/guard.nft"


def find_tunnel(settings: Settings | None) -> Tunnel | None:
    """None where the world comes in by another way."""
    public = settings.public if settings else None
    return public.tunnel if public and public.way is Way.TUNNEL else None
