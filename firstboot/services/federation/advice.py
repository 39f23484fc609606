"""The same cause asks for different things, by how the world comes in: what is said then. Pure."""

from __future__ import annotations

from dataclasses import replace

from appliance.settings import Public, Way
from services.federation.judge import EXPLANATIONS, Explanation
from services.federation.result import Cause
from services.portmap.causes import FORWARDS
from services.ways import wanted_ports

PASTE = (
    "look at: hearthctl tunnel status; if it says that all is well, paste the script (hearthctl "
    "tunnel script) into a root shell of the rented server again"
)
# Cause to sentence and next step; an empty sentence stays as it is.
TUNNEL = {
    Cause.PRIVATE_ADDRESS: ("", "let the name lead to your rented server's public address"),
    Cause.WRONG_ADDRESS: (
        "The server's name leads somewhere else, not to your rented server.",
        "wait some minutes if its address has just changed; otherwise look for another device "
        "that updates this name",
    ),
    Cause.CLOSED: (
        "Nothing that other servers send to your rented server arrives here.",
        "look whether a firewall of its provider lets in the TCP ports 80, 443 and 8448; then "
        f"{PASTE}",
    ),
    Cause.REFUSED: ("Your rented server refuses other servers: it passes nothing on.", PASTE),
    Cause.OTHER_MACHINE: (
        "",
        "look on your rented server whether a program of its own answers on the ports 443 and "
        "8448: switch that off",
    ),
}
FIREWALL = "the TCP ports 80, 443 and 8448 for this device in your router's IPv6 firewall"
IPV6 = {
    Cause.NOTHING_ARRIVES: (
        "Your router says that it lets in what comes from outside, but nothing arrives.",
        f"restart the router; if it stays so, allow {FIREWALL} by hand, and ask your provider "
        "whether it blocks them",
    ),
    Cause.CLOSED: ("", f"allow UPnP or PCP on your router's page, or allow {FIREWALL} by hand"),
    Cause.REFUSED: (
        "Your connection refuses other servers: the port is closed.",
        f"allow {FIREWALL}",
    ),
    Cause.OTHER_MACHINE: (
        "",
        "look whether another device uses the address that the name leads to; restart the "
        "appliance, so that it takes a new one",
    ),
}


def explain(cause: Cause, public: Public) -> Explanation:
    """What the owner reads about ``cause``, with the next step that helps on this way in."""
    usual = EXPLANATIONS[cause]
    sentence, next_step = "", ""
    match public.way:
        case Way.TUNNEL:
            sentence, next_step = TUNNEL.get(cause, ("", ""))
        case Way.IPV6:
            sentence, next_step = IPV6.get(cause, ("", ""))
        case Way.PORT:
            next_step = _one_port(usual.next_step, public)
        case Way.PORTS | Way.HOME:
            pass
    return replace(
        usual, sentence=sentence or usual.sentence, next_step=next_step or usual.next_step
    )


def _one_port(text: str, public: Public) -> str:
    """Only one port is forwarded, and it is not one of the usual ones."""
    [port] = wanted_ports(public)
    forward = f"{port.external} to {port.internal} of this device"
    return text.replace(FORWARDS, forward).replace("where port 443", f"where port {public.port}")
