"""The Internet in a box: a home behind a router, and everything that it talks to out there.

    wan      resolver and authoritative DNS (bind9), two certificate authorities (pebble), two
             address echoes and the DDNS providers over HTTPS, a time server (chrony); device
             `home` is the customer's line
    carrier  only with a second or a carrier's NAT
    router   the home router: nftables, dnsmasq, miniupnpd, as RouterOptions says
    switch   the home's cables, which outlive the router's reboots
    lan      a machine in the home with a DHCP lease: the place of the appliance's processes
    other    another one, when ``taken_ports`` asks for it

Each is a host of its own (host.py) with the programs of one cached Debian tree (programs.py). More
machines join the home with ``plug_in`` (a Sandbox with an appliance, for example), and the
Internet with ``add_server`` (a second homeserver: remote.py). Nothing in the box reaches the
real Internet.
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType

from appliance.errors import CommandError
from world.internet.home import CLIENT_SCRIPT, dhcp_client, map_port
from world.internet.host import Host, connect
from world.internet.names import update_record
from world.internet.options import Ipv6, Line, RouterOptions
from world.internet.places import (
    HOME_PREFIX6,
    LINE_ADDRESS,
    LINE_ADDRESS6,
    RESOLVER,
)
from world.internet.programs import ensure_programs
from world.internet.router import INSIDE, Carrier, Router
from world.internet.trust import Authority, install_roots
from world.internet.wan import Wan

ROUTER_MACS = {"wan": "00:00:5e:00:53:01", "lan": "00:00:5e:00:53:02"}  # RFC 9542 2.1.4


class World:
    """Everything runs when the ``with`` begins, and is gone when it ends."""

    def __init__(self, state: Path, options: RouterOptions | None = None) -> None:
        self.state = state
        self.options = options or RouterOptions()
        self.address = LINE_ADDRESS
        self.hosts: dict[str, Host] = {}
        self._stack = ExitStack()
        self._ports = 0

    def __enter__(self) -> World:
        try:
            self.tree = ensure_programs()
            self._build()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        self._stack.close()
        for host in self.hosts.values():
            host.close()

    def add_host(self, name: str, tree: Path | None = None) -> Host:
        """A machine without any cable."""
        host = Host(name, tree or self.tree, self.state)
        self.hosts[name] = host.__enter__()
        return host

    def _build(self) -> None:
        self.wan = Wan(self.add_host("wan"), Authority())
        self.wan.start()
        install_roots(self.wan.host, self.wan.roots)
        self.switch = self.add_host("switch")
        self.switch.batch_ip("link add name cables type bridge\nlink set cables up")
        self.router: Router | None = None
        self.carrier: Carrier | None = None
        self.power_on()
        self.lan = self.add_machine("lan")
        self.other: Host | None = None
        if self.options.taken_ports:
            self.other = self.add_machine("other")
            self._take_ports()

    # ---- the line and the router

    def power_on(self) -> None:
        """The router (and what is between it and the line) starts, knowing nothing of before."""
        upstream = self.wan.host, "home"
        outside = self.address
        if self.options.line is not Line.PUBLIC:
            host = self.add_host("carrier")
            connect(upstream, (host, "wan"))
            upstream = host, "inside"
            self.carrier = Carrier(host, self.options.line)
            outside = INSIDE[self.options.line][0]
        host = self.add_host("router")
        connect(upstream, (host, "wan"))
        self._plug_in(host, "lan")
        # A router keeps its hardware addresses; or the home would talk to the dead one for a while.
        host.batch_ip(
            "\n".join(f"link set {device} address {mac}" for device, mac in ROUTER_MACS.items())
        )
        ipv6 = HOME_PREFIX6 if self.options.ipv6 is not Ipv6.OFF else None
        self.wan.attach_line(LINE_ADDRESS6, ipv6=ipv6)
        if self.carrier:
            self.carrier.start(self.address)
        self.router = Router(host, self.options)
        self.router.start(outside)

    def power_off(self) -> None:
        """Without a warning to anybody."""
        # The kernel takes devices of dead namespaces away later; the next ones have these names.
        self.switch.run(["ip", "link", "delete", "to-router"])
        self.wan.host.run(["ip", "link", "delete", "home"])
        for name in ("router", "carrier"):
            if host := self.hosts.pop(name, None):
                host.close()
        self.router = self.carrier = None

    def reboot_router(self) -> None:
        """Off and on again: mappings, leases and connections are forgotten."""
        self.power_off()
        self.power_on()
        if self.other:
            self._take_ports()

    def change_address(self, address: str) -> None:
        """The line's public address becomes another one, as after a forced reconnection."""
        self.address = address
        if self.carrier:
            self.carrier.set_address(address)
        elif self.router:
            self.router.set_address(address)

    def fail_line(self) -> None:
        self.wan.fail_line()

    def mend_line(self) -> None:
        self.wan.mend_line()

    # ---- the home

    def add_machine(self, name: str) -> Host:
        """A machine in the home, on ``eth0``, with its DHCP lease; it trusts the box's roots."""
        host = self.add_host(name)
        install_roots(host, self.wan.roots)
        self._plug_in(host, "eth0")
        script = host.files / "dhcp.sh"
        script.write_text(CLIENT_SCRIPT)
        script.chmod(0o755)
        host.start("udhcpc", dhcp_client(name))
        host.wait_for("udhcpc", lambda: self.lan_address(host), "a DHCP lease")
        return host

    def plug_in(self, host: Host, device: str = "eth0") -> None:
        """A cable from the home's switch to a host that cares for its address itself."""
        self._plug_in(host, device)

    def add_tap(self, name: str) -> Path:
        """A socket of the home's switch for a virtual machine; the namespace it is in."""
        self.switch.batch_ip(
            f"tuntap add dev {name} mode tap\nlink set {name} master cables\nlink set {name} up"
        )
        return Path(f"/proc/{self.switch.pid}/ns/net")

    def _plug_in(self, host: Host, device: str) -> None:
        port = f"to-{host.name}"
        connect((self.switch, port), (host, device))
        self.switch.batch_ip(f"link set {port} master cables")

    def lan_address(self, host: Host) -> str:
        """The IPv4 address of a machine in the home; empty while it has none."""
        words = host.run(["ip", "-4", "-o", "address", "show", "dev", "eth0"]).stdout.split()
        return words[3].partition("/")[0] if len(words) > 3 else ""

    def _take_ports(self) -> None:
        assert self.other is not None
        address = self.lan_address(self.other)
        for port in self.options.taken_ports:
            if problem := map_port(self.other, address, port, lease=0, name="other machine"):
                raise CommandError(f"port {port} cannot be taken for the other machine: {problem}")

    # ---- out there

    def add_server(self, name: str, address: str, *, tree: Path | None = None) -> Host:
        """A machine in the Internet with one public address; it resolves like everybody."""
        host = self.add_host(name, tree)
        connect((self.wan.host, name), (host, "eth0"))
        gateway = RESOLVER
        host.batch_ip(
            f"address add {address} peer {gateway} dev eth0\nroute add default via {gateway}"
        )
        self.wan.host.batch_ip(f"route add {address}/32 dev {name}")
        (host.etc / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
        install_roots(host, self.wan.roots)
        return host

    def set_name(self, name: str, kind: str, value: str, *, ttl: int = 60) -> None:
        """Put a record into the authoritative server, as the world's owner of all names."""
        update_record(self.wan.host, name, kind, value, ttl=ttl)
