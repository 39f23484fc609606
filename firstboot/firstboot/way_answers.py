"""Page "way": which ways in this connection and provider allow, and the owner's choice, judged."""

from __future__ import annotations

from appliance.answers import CheckState, Measured, WayOffer
from appliance.errors import FieldError
from appliance.paths import Paths
from appliance.settings import Public, Way
from appliance.validate import is_port
from services.address import Reachability
from services.ddns.provider import Ipv6, Txt
from services.ddns.providers import PROVIDERS, find_provider
from services.names import PublicNames
from services.portmap.mapper import PORTS
from services.reach import AddressResult
from services.results import load_result
from services.wan import RESULT, WanAddresses
from services.ways import WITHOUT_HTTP, can_prove_by_dns

HTTPS = 443
# The listener on our side is for what the router calls 80; nothing else may be there.
HTTP = PORTS[0].external
BEST = {
    Reachability.CGNAT: Way.TUNNEL,
    Reachability.DOUBLE_NAT: Way.TUNNEL,
    Reachability.IPV6_ONLY: Way.IPV6,
}
ROUTERS = (Way.PORTS, Way.PORT)
# What must happen before ports of the router lead here.
CAUTIONS = {
    Reachability.CGNAT: "Nobody reaches you this way until your provider gives you a public IPv4 "
    "address of your own.",
    Reachability.DOUBLE_NAT: "Nobody reaches you this way until the outer box is in bridge mode, "
    "or forwards the ports to your router.",
    Reachability.IPV6_ONLY: "Nobody reaches you this way: this line has no IPv4.",
    Reachability.NO_IGD: "Nobody reaches you this way until you have forwarded the ports in your "
    "router's own pages.",
}


def offer_ways(
    paths: Paths, public: Public, server_name: str, network: Measured
) -> tuple[WayOffer, ...]:
    """All of them, the recommended one first; what was not measured stands in nobody's way."""
    verdict = Reachability(network.kind) if network.state is CheckState.DONE else None
    found = load_result(paths, RESULT, AddressResult) if verdict is not None else None
    best = BEST.get(verdict, Way.PORTS) if verdict is not None else Way.PORTS
    offers = [
        WayOffer(
            way=way,
            is_recommended=way is best,
            obstacle=_obstacle(public, server_name, way)
            or _line_obstacle(way, found.wan if found else None),
            caution=CAUTIONS.get(verdict, "") if verdict and way in ROUTERS else "",
        )
        for way in Way
    ]
    return tuple(sorted(offers, key=lambda offer: not offer.is_recommended))


def judge_way(public: Public | None, server_name: str, way: Way, port: int) -> int:
    """The port that clients connect to. Raises FieldError("way") or FieldError("port").

    What the line allows is not judged: it was measured once, and may be mended.
    """
    assert public is not None
    obstacle = _obstacle(public, server_name, way)
    if obstacle:
        raise FieldError("way", obstacle, hint="choose another way, or another provider")
    if way is not Way.PORT:
        return HTTPS
    if not is_port(port):
        raise FieldError("port", f"{port} is not a port.", hint="for example 8448")
    if port in (HTTP, HTTPS):
        message = f"Port {port} is what “Through your router” opens; this is for another one."
        raise FieldError("port", message, hint="for example 8448")
    return port


def _obstacle(public: Public, server_name: str, way: Way) -> str:
    """What the provider cannot do for this way."""
    names = PublicNames(server=server_name, homeserver=server_name)
    if way in WITHOUT_HTTP and not can_prove_by_dns(public, names):
        able = ", ".join(one.title for one in PROVIDERS if one.txt is not Txt.NONE)
        return (
            "Its certificate is proved by a TXT record of the name, which needs the server's name "
            f"at one of these providers: {able}."
        )
    if way is Way.IPV6 and public.ddns is not None:
        provider = find_provider(public.ddns.provider)
        if provider.ipv6 is Ipv6.NONE:
            return f"{provider.title} does not take IPv6 addresses."
    return ""


def _line_obstacle(way: Way, wan: WanAddresses | None) -> str:
    if way is Way.IPV6 and wan is not None and wan.ipv6 is None:
        return "This connection has no IPv6 address of its own."
    return ""
