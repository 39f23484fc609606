"""The home router: NAT, DHCP, IPv6 announcements, and miniupnpd for IGD, NAT-PMP and PCP."""

from __future__ import annotations

from world.internet.host import Host
from world.internet.options import Igd, Ipv6, Line, RouterOptions, Udp
from world.internet.places import (
    CGNAT_ADDRESS,
    CGNAT_GATEWAY,
    HOSTS,
    LAN_DOMAIN,
    LEASES,
    LINE_ADDRESS,
    LINE_ADDRESS6,
    LINE_GATEWAY,
    LINE_GATEWAY6,
    RESOLVER,
    ROUTER,
    ROUTER6,
    UPSTREAM_ADDRESS,
    UPSTREAM_GATEWAY,
)
from world.internet.rules import CARRIER, REFUSER_PORT, home_rules

IGD_PORT = 5000
SOAP_FRONT_PORT = 5001
INSIDE = {  # address and gateway of the router's own outside
    Line.PUBLIC: (LINE_ADDRESS, LINE_GATEWAY),
    Line.CGNAT: (CGNAT_ADDRESS, CGNAT_GATEWAY),
    Line.DOUBLE_NAT: (UPSTREAM_ADDRESS, UPSTREAM_GATEWAY),
}
DNSMASQ = f"""
user=root
interface=lan
bind-interfaces
no-resolv
no-hosts
server={RESOLVER}
domain={LAN_DOMAIN}
local=/{LAN_DOMAIN}/
dhcp-range={LEASES},1h
dhcp-authoritative
dhcp-option=option:router,{ROUTER}
dhcp-leasefile=/run/leases
cache-size=0
no-ping
log-facility=-
log-dhcp
"""
DNSMASQ6 = """
enable-ra
dhcp-range=::,constructor:lan,ra-only,64,1h
"""
# dnsmasq counts the documentation ranges as private (its rfc1035.c), in which the box's whole
# Internet lives: names that are out there by themselves are excepted, the owners' are not.
REBIND = "\nstop-dns-rebind\n" + "".join(f"rebind-domain-ok=/{name}/\n" for name in HOSTS)
MINIUPNPD = """
ext_ifname=wan
listening_ip=lan
ext_allow_private_ipv4=yes
ext_ip={address}
lease_file=/run/upnp.leases
http_port={port}
enable_upnp={upnp}
enable_pcp_pmp={pmp}
force_igd_desc_v1={v1}
ipv6_disable={no_ipv6}
secure_mode={secure}
system_uptime=no
min_lifetime=120
max_lifetime=86400
upnp_table_name=home
upnp_nat_table_name=home
upnp_forward_chain=miniupnpd
upnp_nat_chain=prerouting_miniupnpd
upnp_nat_postrouting_chain=postrouting_miniupnpd
uuid=5b6f7c4e-0000-4000-8000-000000000001
friendly_name=Router in a box
{rules}
allow 1-65535 0.0.0.0/0 1-65535
deny 0-65535 0.0.0.0/0 0-65535
"""


def yes(value: object) -> str:
    return "yes" if value else "no"


class Router:
    """Its devices: ``wan`` to the line, ``lan`` to the home's switch. New at every power-on."""

    def __init__(self, host: Host, options: RouterOptions) -> None:
        self.host = host
        self.options = options

    def start(self, address: str) -> None:
        """Returns when it serves its home; ``address`` is its outside one."""
        host, options = self.host, self.options
        host.set_kernel(
            net__ipv4__ip_forward=1, net__ipv4__ip_unprivileged_port_start=0,
            net__ipv6__conf__all__forwarding=int(options.ipv6 is not Ipv6.OFF),
        )  # fmt: skip
        self._addresses()
        self._set_address(address)
        front = (IGD_PORT, SOAP_FRONT_PORT) if options.permanent_only else None
        host.run(["nft", "-f", "-"], input=home_rules(options, soap_front=front))
        more = DNSMASQ6 if options.ipv6 is not Ipv6.OFF else ""
        more += REBIND if options.filters_private else ""
        (host.files / "dnsmasq.conf").write_text(DNSMASQ + more)
        host.start("dnsmasq", ["dnsmasq", "--keep-in-foreground", "--conf-file=/srv/dnsmasq.conf"])
        for port in options.own_ports:
            web = ["python3", "-m", "http.server", "--directory", "/opt", str(port)]
            host.start(f"web-{port}", web)
        if options.igd is not Igd.OFF or options.udp is not Udp.OFF:
            self._start_miniupnpd(address)
            self._start_fronts()
        if options.hairpin:
            host.start("hairpin", ["python3", "-m", "world.internet.hairpin"])
        self._wait()

    def _addresses(self) -> None:
        lines = f"address add {ROUTER}/24 dev lan\n"
        if self.options.ipv6 is not Ipv6.OFF:
            lines += f"address add {ROUTER6}/64 dev lan nodad\n"
            lines += f"address add {LINE_ADDRESS6}/64 dev wan nodad\n"
            lines += f"route add default via {LINE_GATEWAY6}"
        self.host.batch_ip(lines)

    def set_address(self, address: str) -> None:
        """The line gives another outside address; miniupnpd starts anew, as routers do then."""
        self._set_address(address)
        if "miniupnpd" in self.host.daemons():
            # SIGTERM: it takes its rules away, and reads them back from its file of leases.
            self.host.stop("miniupnpd")
            self._start_miniupnpd(address)
            self._wait()

    def _set_address(self, address: str) -> None:
        gateway = INSIDE[self.options.line][1]
        self.host.batch_ip(
            f"address flush dev wan to 0.0.0.0/0\naddress add {address}/24 dev wan\n"
            f"route replace default via {gateway}"
        )

    def _start_miniupnpd(self, address: str) -> None:
        # The address is told: documentation ranges count as private, and 2.3.9 does not report
        # those that it finds on the device, whatever ext_allow_private_ipv4 says.
        options = self.options
        refused = (
            f"deny 0-{options.lowest_port - 1} 0.0.0.0/0 0-65535" if options.lowest_port else ""
        )
        config = MINIUPNPD.format(
            port=IGD_PORT, address=address, upnp=yes(options.igd is not Igd.OFF),
            pmp=yes(options.udp is not Udp.OFF),
            v1=yes(options.igd is Igd.V1), no_ipv6=yes(options.ipv6 is Ipv6.OFF), rules=refused,
            # soapfront.py is its client then, and checks in its place
            secure=yes(not options.permanent_only),
        )  # fmt: skip
        (self.host.files / "miniupnpd.conf").write_text(config)
        self.host.start("miniupnpd", ["miniupnpd", "-d", "-f", "/srv/miniupnpd.conf"])

    def _start_fronts(self) -> None:
        options = self.options
        if options.permanent_only:
            argv = ["python3", "-m", "world.internet.soapfront", str(SOAP_FRONT_PORT),
                    f"{ROUTER}:{IGD_PORT}"]  # fmt: skip
            self.host.start("soapfront", argv)
        if options.udp in (Udp.NATPMP, Udp.PCP):
            argv = ["python3", "-m", "world.internet.refuser", str(REFUSER_PORT), options.udp.value]
            self.host.start("refuser", argv)

    def _wait(self) -> None:
        host, options = self.host, self.options
        host.wait_for_port("dnsmasq", 67, "udp")
        if options.igd is not Igd.OFF:
            host.wait_for_port("miniupnpd", IGD_PORT)
        if options.udp is not Udp.OFF:
            host.wait_for_port("miniupnpd", 5351, "udp")
        if options.permanent_only:
            host.wait_for_port("soapfront", SOAP_FRONT_PORT)
        if options.udp in (Udp.NATPMP, Udp.PCP):
            host.wait_for_port("refuser", REFUSER_PORT, "udp")
        for port in options.own_ports:
            host.wait_for_port(f"web-{port}", port)

    def mappings(self) -> str:
        """The rules that port control has made, as nft lists them."""
        return self.host.run(
            ["nft", "list", "chain", "inet", "home", "prerouting_miniupnpd"]
        ).stdout


class Carrier:
    """A NAT between the router and the Internet, which nobody at home can configure."""

    def __init__(self, host: Host, line: Line) -> None:
        self.host = host
        self.line = line

    def start(self, address: str) -> None:
        self.host.set_kernel(net__ipv4__ip_forward=1)
        self.host.batch_ip(f"address add {INSIDE[self.line][1]}/24 dev inside")
        self.set_address(address)
        self.host.run(["nft", "-f", "-"], input=CARRIER)

    def set_address(self, address: str) -> None:
        self.host.batch_ip(
            f"address flush dev wan to 0.0.0.0/0\naddress add {address}/24 dev wan\n"
            f"route replace default via {LINE_GATEWAY}"
        )
