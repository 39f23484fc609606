"""What machines in the home do: take a DHCP lease, and ask the router for a port."""

from __future__ import annotations

import json

from world.internet.host import Host

# BusyBox hands over the lease in the environment; busybox.net, udhcpc's README.
CLIENT_SCRIPT = """#!/bin/sh
set -eu
case $1 in
    deconfig) ip link set "$interface" up; ip -4 address flush dev "$interface" ;;
    bound | renew)
        ip address replace "$ip/$mask" dev "$interface"
        ip route replace default via "${router%% *}" dev "$interface"
        { for server in $dns; do echo "nameserver $server"; done
          echo "search ${domain:-home.arpa}"; } > /etc/resolv.conf ;;
esac
"""
NO_IGD = "no IGD answers"
# Prints the reserved port, or the error's text, with the very library that the appliance uses.
MAP = """
import json, miniupnpc
upnp = miniupnpc.UPnP()
upnp.discoverdelay = 500
try:
    upnp.discover()
    upnp.selectigd()
except Exception as error:  # discover() raises "Success" when nobody answers
    print(json.dumps([False, {no_igd!r}]))
    raise SystemExit
try:
    done = upnp.addportmapping(
        {outside}, {protocol!r}, {address!r}, {inside}, {name!r}, "", {lease}
    )
    print(json.dumps([bool(done), ""]))
except Exception as error:
    print(json.dumps([False, str(error)]))
"""


def dhcp_client(name: str) -> list[str]:
    """Stays in the foreground and renews; asks every second until it has an answer."""
    return ["busybox", "udhcpc", "-f", "-i", "eth0", "-s", "/srv/dhcp.sh", "-t", "30", "-T", "1",
            "-A", "1", "-x", f"hostname:{name}"]  # fmt: skip


def map_port(
    host: Host,
    address: str,
    outside: int,
    *,
    inside: int | None = None,
    lease: int = 3600,
    protocol: str = "TCP",
    name: str = "box",
) -> str:
    """Ask the router over UPnP; the error's text, empty when it agreed."""
    code = MAP.format(
        outside=outside, inside=inside or outside, protocol=protocol, address=address, name=name,
        lease=lease, no_igd=NO_IGD,
    )  # fmt: skip
    done, text = json.loads(host.python(code))
    return "" if done else text or "refused without a reason"
