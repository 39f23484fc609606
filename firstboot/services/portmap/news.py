"""What routers announce by themselves: that they have started, or have a new address outside.

NAT-PMP and PCP do so to 224.0.0.1 port 5350 (RFC 6886 section 3.2.1, RFC 6887 section 14.1.3),
UPnP with ssdp:alive to 239.255.255.250 port 1900, whose BOOTID.UPNP.ORG is another one after each
start (UPnP Device Architecture 1.1, section 1.2.2). Listening costs nothing, and nobody is asked.
"""

from __future__ import annotations

import socket
import struct
from dataclasses import dataclass, replace

from services.portmap.contract import is_another_life

ANNOUNCE_GROUP, ANNOUNCE_PORT = "224.0.0.1", 5350
SSDP_GROUP, SSDP_PORT = "239.255.255.250", 1900
MAX_PACKET = 2048
BOOT_ID = "bootid.upnp.org"
LOCATION = "location"
NATPMP_ADDRESS, PCP_ANNOUNCE = 128, 128
NATPMP_VERSION, PCP_VERSION = 0, 2
# As in natpmp.py and pcp.py, which a resident process had better not load as a whole.
ADDRESS_ANSWER = struct.Struct("!BBHI4s")
HEADER = struct.Struct("!BBxBII12x")


def open_group(group: str, port: int) -> socket.socket:
    """A socket that hears what is sent to ``group`` on every network that we are on."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    # Others on this machine may listen too (avahi does so for its own group).
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setblocking(False)
    listener.bind((group, port))
    return listener


def join(listener: socket.socket, group: str, interface: str) -> None:
    """Membership at the interface with our address ``interface``; having it already is fine."""
    wanted = struct.pack("4s4s", socket.inet_aton(group), socket.inet_aton(interface))
    try:
        listener.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, wanted)
    except OSError:
        return  # EADDRINUSE: a member; ENODEV: the address has just gone, and news of it come


@dataclass(frozen=True, kw_only=True)
class Life:
    """A router that counts ``epoch`` seconds at our time ``heard``; PCP tells no address.

    ``lines`` are those of its table that were asked for: port, client, the client's port.
    """

    heard: float
    address: str = ""
    epoch: int | None = None
    lines: frozenset[tuple[int, str, int]] | None = None

    def goes_on_in(self, later: Life) -> bool:
        """Whether ``later`` is the same life, at the same address outside, with nothing lost."""
        ours, (begin, end) = later.heard - self.heard, (self.epoch, later.epoch)
        if begin is not None and end is not None and is_another_life(ours, end - begin):
            return False
        if self.lines is not None and later.lines is not None and not self.lines <= later.lines:
            return False
        return not (self.address and later.address) or self.address == later.address

    def followed_by(self, later: Life) -> Life:
        """``later``, and what it does not tell as it was; but seconds belong to their moment."""
        lines = self.lines if later.lines is None else later.lines
        return replace(later, address=later.address or self.address, lines=lines)


def parse_announcement(packet: bytes, now: float) -> Life | None:
    """None for what is neither NAT-PMP's nor PCP's."""
    if len(packet) >= HEADER.size and packet[0] == PCP_VERSION and packet[1] == PCP_ANNOUNCE:
        return Life(epoch=HEADER.unpack_from(packet)[4], heard=now)
    if len(packet) == ADDRESS_ANSWER.size and packet[:2] == bytes((NATPMP_VERSION, NATPMP_ADDRESS)):
        *_, epoch, raw = ADDRESS_ANSWER.unpack_from(packet)
        return Life(address=socket.inet_ntoa(raw), epoch=epoch, heard=now)
    return None


def parse_alive(packet: bytes) -> tuple[str, str] | None:
    """A gateway's description and boot id from ssdp:alive; None for anything else."""
    lines = packet.decode("ascii", errors="replace").splitlines()
    if not lines or not lines[0].upper().startswith("NOTIFY "):
        return None
    pairs = (line.partition(":") for line in lines[1:])
    fields = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if fields.get("nts", "").lower() != "ssdp:alive":
        return None
    if "internetgatewaydevice" not in fields.get("nt", "").lower():
        return None
    return fields.get(LOCATION, ""), fields.get(BOOT_ID, "")
