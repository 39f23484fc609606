"""Everything that is out there: names, certificate authority, time, address echo, DDNS."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

from world.internet.host import Host
from world.internet.names import start_nameserver, start_resolver, wait_for_names
from world.internet.places import (
    ACME,
    ACME_NAME,
    ACME_STAGING,
    ACME_STAGING_NAME,
    CLOCK,
    DDNS,
    DDNS_NAMES,
    ECHO_A,
    ECHO_A_NAME,
    ECHO_B,
    ECHO_B_NAME,
    HAVE_IPV6,
    LINE_GATEWAY,
    LINE_GATEWAY6,
    OUTSIDER,
    REAL_ECHO_NAMES,
    REFUSED_NAME,
    RESOLVER,
    ipv6_of,
)
from world.internet.trust import Authority

PEBBLES = {"acme": (ACME, ACME_NAME), "acme-staging": (ACME_STAGING, ACME_STAGING_NAME)}
PEBBLE_MANAGEMENT = 15000
PEBBLE_PORT = 14000  # behind a front that has Let's Encrypt's own paths
CERTIFICATE_SECONDS = 90 * 86400  # as Let's Encrypt's
NTP_PORT = 123
# It tells this machine's own time, as a good clock's, and never sets it (option -x).
CHRONY = f"""
bindaddress {CLOCK}
port {NTP_PORT}
allow all
local stratum 1
cmdport 0
bindcmdaddress /
pidfile /run/chronyd.pid
user root
"""
DDNS_MODULE = "world.internet.ddns_endpoints"
# An outage of the line as a modem shows it: the link is up, nothing passes.
OUTAGE = """
table inet outage {
  chain in { type filter hook prerouting priority raw; iifname "home" drop; }
  chain out { type filter hook postrouting priority raw; oifname "home" drop; }
}
"""


class Wan:
    """The servers in the namespace ``wan``; its device ``home`` is the customer's line."""

    def __init__(self, host: Host, authority: Authority) -> None:
        self.host = host
        self.authority = authority
        self.roots = [authority.pem]

    def start(self) -> None:
        """Returns when everything answers."""
        addresses = {*(value for value, _ in PEBBLES.values()), RESOLVER, DDNS, CLOCK, *HAVE_IPV6}
        lines = [f"address add {address}/32 dev lo" for address in sorted(addresses)]
        lines += [f"address add {ipv6_of(address)}/128 dev lo" for address in HAVE_IPV6]
        self.host.batch_ip("\n".join(lines))
        self.host.set_kernel(
            net__ipv4__ip_forward=1, net__ipv6__conf__all__forwarding=1,
            net__ipv4__ip_unprivileged_port_start=0,
        )  # fmt: skip
        (self.host.etc / "resolv.conf").write_text(f"nameserver {RESOLVER}\n")
        start_nameserver(self.host)
        start_resolver(self.host)
        for name in PEBBLES:
            self._start_pebble(name)
        self._start_echo()
        self._start_ddns()
        self._start_clock()
        wait_for_names(self.host)
        for name in PEBBLES:
            self.host.wait_for_port(name, PEBBLE_MANAGEMENT, address=PEBBLES[name][0])
            self.roots.append(self._pebble_root(name))
            self.host.wait_for_port(f"{name}-front", 443, address=PEBBLES[name][0])
        self.host.wait_for_port("echo", 443, address=ECHO_A)
        self.host.wait_for_port("clock", NTP_PORT, "udp", address=CLOCK)

    def attach_line(self, address: str, *, ipv6: str | None) -> None:
        """The gateway's side of device ``home``; prefix ``ipv6`` is the home's, by ``address``."""
        lines = [f"address replace {LINE_GATEWAY}/24 dev home"]
        if ipv6:
            lines += [f"address replace {LINE_GATEWAY6}/64 dev home nodad"]
            lines += [f"route replace {ipv6} via {address} src {ipv6_of(OUTSIDER)}"]
        self.host.batch_ip("\n".join(lines))
        # Who connects from out here comes from far away, not from the line's gateway.
        prefix = LINE_GATEWAY.rpartition(".")[0]
        self.host.batch_ip(f"route replace {prefix}.0/24 dev home src {OUTSIDER}")

    def fail_line(self) -> None:
        """ISP outage: the line stays up, nothing passes in either direction."""
        self.host.run(["nft", "-f", "-"], input=OUTAGE)

    def mend_line(self) -> None:
        self.host.run(["nft", "destroy", "table", "inet", "outage"])

    def _certificate(self, *names: str) -> tuple[str, str]:
        directory = self.host.files / "tls"
        directory.mkdir(exist_ok=True)
        base = directory / names[0]
        self.authority.issue(names, Path(f"{base}.pem"), Path(f"{base}.key"))
        return f"/srv/tls/{names[0]}.pem", f"/srv/tls/{names[0]}.key"

    def _start_pebble(self, name: str) -> None:
        address, host_name = PEBBLES[name]
        certificate, key = self._certificate(host_name, address)
        config = {
            "listenAddress": f"{address}:{PEBBLE_PORT}",
            "managementListenAddress": f"{address}:{PEBBLE_MANAGEMENT}",
            "certificate": certificate,
            "privateKey": key,
            "certificateValidityPeriod": CERTIFICATE_SECONDS,
            "httpPort": 80,
            "tlsPort": 443,
            "domainBlocklist": [REFUSED_NAME],
        }
        (self.host.files / f"{name}.json").write_text(json.dumps({"pebble": config}))
        # Pebble waits up to 15 s before each validation unless told not to; and it refuses every
        # twentieth nonce by chance, which the ACME library makes good once in a row, not twice.
        argv = ["env", "PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0",
                "pebble", "-config", f"/srv/{name}.json",
                "-dnsserver", f"{RESOLVER}:53"]  # fmt: skip
        self.host.start(name, argv)
        front = ["python3", "-m", "world.internet.acmefront", address, certificate, key,
                 str(PEBBLE_PORT)]  # fmt: skip
        self.host.start(f"{name}-front", front)

    def _pebble_root(self, name: str) -> str:
        url = f"https://{PEBBLES[name][0]}:{PEBBLE_MANAGEMENT}/roots/0"
        return self.host.run(["curl", "-sSk", "--fail", "--max-time", "10", url]).stdout

    def _start_echo(self) -> None:
        certificate, key = self._certificate(ECHO_A_NAME, ECHO_B_NAME, *REAL_ECHO_NAMES)
        addresses = [ECHO_A, ECHO_B, ipv6_of(ECHO_A), ipv6_of(ECHO_B)]
        argv = ["python3", "-m", "world.internet.web", certificate, key, *addresses]
        self.host.start("echo", argv)

    def _start_ddns(self) -> None:
        """Helper DDNS's module, when there is one."""
        if importlib.util.find_spec(DDNS_MODULE) is None:
            return
        certificate, key = self._certificate(*DDNS_NAMES)
        argv = ["python3", "-m", DDNS_MODULE, "--listen", f"{DDNS}:443",
                "--certificate", certificate, "--key", key]  # fmt: skip
        self.host.start("ddns", argv)

    def _start_clock(self) -> None:
        (self.host.files / "chrony.conf").write_text(CHRONY)
        self.host.start("clock", ["chronyd", "-d", "-x", "-f", "/srv/chrony.conf"])
