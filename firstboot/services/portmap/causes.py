"""Why a router did not do what we asked, with a sentence and a next step for the owner."""

from __future__ import annotations

from enum import StrEnum

from services.explanation import Explanation

# Not 443 to 443: there the appliance has its own pages, for the home network.
FORWARDS = "80 to 8080, 443 to 8443 and 8448 to 8448 of this device"
BY_HAND = (
    "enter the port forwarding by hand on the router's pages (often called port forwarding, "
    f"virtual server or NAT): {FORWARDS}"
)


class Cause(StrEnum):
    """One for each thing that the owner would do something different about."""

    NO_GATEWAY = "no-gateway"
    SILENT = "silent"
    UNSUPPORTED = "unsupported"
    UNAUTHORIZED = "unauthorized"
    LOW_PORT = "low-port"
    CONFLICT = "conflict"
    OWN_OLD_ADDRESS = "own-old-address"
    PERMANENT_ONLY = "permanent-only"
    SAME_PORT = "same-port"
    FULL = "full"
    FAILED = "failed"
    NO_WAN = "no-wan"
    NESTED = "nested"
    REWRITTEN = "rewritten"
    UNNAMED = "unnamed"
    GARBLED = "garbled"
    UNGUARDED = "unguarded"


EXPLANATIONS = {
    Cause.NO_GATEWAY: Explanation(
        sentence="There is no router on this network.",
        next_step="connect this device to the router with a cable and let it get an address",
    ),
    Cause.SILENT: Explanation(
        sentence="The router does not let devices open ports: it answers neither PCP, NAT-PMP "
        "nor UPnP.",
        next_step=f"switch UPnP or NAT-PMP on, on the router's pages; or {BY_HAND}",
    ),
    Cause.UNSUPPORTED: Explanation(
        sentence="The router answers, but does not know this way of opening ports.",
        next_step=BY_HAND,
    ),
    Cause.UNAUTHORIZED: Explanation(
        sentence="The router forbids this device to open ports.",
        next_step="allow it on the router's pages (UPnP may be read-only, or allowed only for "
        f"chosen devices); or {BY_HAND}",
    ),
    Cause.LOW_PORT: Explanation(
        sentence="The router opens only ports from 1024 up for devices; 80 and 443 are below.",
        next_step=f"{BY_HAND}; or go on with another port than 443",
    ),
    Cause.CONFLICT: Explanation(
        sentence="Another device already has this port of the router.",
        next_step="remove that forwarding on the router's pages, or switch it off on the other "
        "device; Hearth never takes a port away from somebody else",
    ),
    Cause.OWN_OLD_ADDRESS: Explanation(
        sentence="The router still forwards this port to an address that this device had before, "
        "and does not let it be changed.",
        next_step="wait an hour until that lease has ended, or remove it on the router's pages",
    ),
    Cause.PERMANENT_ONLY: Explanation(
        sentence="The router opens ports only for good, without an end.",
        next_step="nothing: Hearth asks for that too, and closes the ports when it is reset",
    ),
    Cause.SAME_PORT: Explanation(
        sentence="The router forwards a port only to the same port of a device, and Hearth keeps "
        "its public service apart from its own pages on 80 and 443.",
        next_step=BY_HAND,
    ),
    Cause.FULL: Explanation(
        sentence="The router has no room for another forwarding.",
        next_step="remove forwardings that nothing uses any more on the router's pages, or "
        "restart the router",
    ),
    Cause.FAILED: Explanation(
        sentence="The router tried to open the port and failed without a reason.",
        next_step="it may use the port itself: move its own remote administration away from 80 "
        "and 443; or restart the router",
    ),
    Cause.NO_WAN: Explanation(
        sentence="The router itself is not connected to the Internet now.",
        next_step="look at the router's line; Hearth tries again by itself",
    ),
    Cause.NESTED: Explanation(
        sentence="There is another router between this device and the one that answers.",
        next_step="put one of the two routers into bridge mode, or use only one",
    ),
    Cause.REWRITTEN: Explanation(
        sentence="The router agreed, but forwards the port to somewhere else than it was asked.",
        next_step=f"{BY_HAND}; newer software for the router may mend this",
    ),
    Cause.UNNAMED: Explanation(
        sentence="The router refused with a code that says little: its table of forwardings may "
        "be full, or something else on it uses the port.",
        next_step=f"look at the router's list of forwardings, restart the router, or {BY_HAND}",
    ),
    Cause.GARBLED: Explanation(
        sentence="What the router answers makes no sense.",
        next_step=f"restart the router, update its software, or {BY_HAND}",
    ),
    Cause.UNGUARDED: Explanation(
        sentence="This device could not set the rules that keep strangers from its own pages, so "
        "it lets nobody in over IPv6.",
        next_step="nothing to do at first: it is tried again every few minutes; if it stays so, "
        "restart this device",
    ),
}


class Refused(Exception):
    """Raised by mappers. ``said`` is the router's own word or what was seen: the evidence.

    ``retry_seconds`` is how long the router wants not to be asked the same again.
    """

    def __init__(self, cause: Cause, said: str = "", *, retry_seconds: int = 0) -> None:
        super().__init__(f"{cause.value}: {said}" if said else cause.value)
        self.cause = cause
        self.said = said
        self.retry_seconds = retry_seconds
