"""The packet filter of the home router, of a carrier and of a second router, for nftables."""

from __future__ import annotations

from world.internet.options import Ipv6, RouterOptions, Udp
from world.internet.places import LAN

TABLE = "home"
REFUSER_PORT = 5350  # where refuser.py answers what the router does not speak
# miniupnpd adds its rules to the three chains with its name.
HOME = """
table inet home {{
  chain miniupnpd {{ }}
  chain prerouting_miniupnpd {{ }}
  chain postrouting_miniupnpd {{ }}
  chain hairpin {{ }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname "wan" ct state established,related accept
    iifname "wan" meta l4proto {{ icmp, ipv6-icmp }} accept
    {own_ports}
    iifname "wan" drop
  }}
  chain forward {{
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "lan" accept
    meta l4proto ipv6-icmp accept
    {ipv6}
    jump miniupnpd
  }}
  chain prerouting {{
    type nat hook prerouting priority dstnat;
    {mapped}
    {soap}
    iifname "lan" jump hairpin
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat;
    jump postrouting_miniupnpd
    oifname "wan" ip saddr {lan} masquerade
    iifname "lan" oifname "lan" ct status dnat masquerade
    {rewritten}
  }}
}}
{spoken}
{quiet}
"""
# What a router tells everybody (RFC 6886 3.2.1, RFC 6887 14.1.3, UPnP's ssdp:alive) stays in it.
QUIET = """
table inet quiet {
  chain out {
    type filter hook output priority filter;
    ip daddr { 224.0.0.1, 239.255.255.250 } udp dport { 1900, 5350 } drop
  }
}
"""
# Port control packets whose first byte is not a version that the router speaks go to refuser.py,
# and its answers seem to come from the right port. Without connection tracking: a client may ask
# for several versions from one socket.
SPOKEN = """
table inet versions {{
  chain in {{
    type filter hook prerouting priority raw;
    iifname "lan" udp dport 5351 @th,64,8 != {version} udp dport set {port} notrack
  }}
  chain out {{
    type filter hook output priority raw;
    oifname "lan" udp sport {port} udp sport set 5351 notrack
  }}
}}
"""
VERSIONS = {Udp.NATPMP: 0, Udp.PCP: 2}  # RFC 6886 3.1, RFC 6887 9
CARRIER = """
table inet carrier {
  chain forward {
    type filter hook forward priority filter; policy drop;
    ct state established,related accept
    iifname "inside" accept
  }
  chain postrouting {
    type nat hook postrouting priority srcnat;
    oifname "wan" masquerade
  }
}
"""


def home_rules(options: RouterOptions, *, soap_front: tuple[int, int] | None) -> str:
    """``soap_front``: connections from the home to the first port end at the second one."""
    ports = ", ".join(map(str, options.own_ports))
    version = VERSIONS.get(options.udp)
    return HOME.format(
        lan=LAN,
        own_ports=f'iifname "wan" tcp dport {{ {ports} }} accept' if ports else "",
        ipv6="meta nfproto ipv6 accept" if options.ipv6 is Ipv6.OPEN else "",
        mapped="" if options.lies else "jump prerouting_miniupnpd",
        soap=f'iifname "lan" tcp dport {soap_front[0]} redirect to :{soap_front[1]}'
        if soap_front
        else "",
        rewritten='iifname "wan" oifname "lan" ct status dnat masquerade'
        if options.rewrites_source
        else "",
        quiet=QUIET if options.quiet else "",
        spoken="" if version is None else SPOKEN.format(version=version, port=REFUSER_PORT),
    )
