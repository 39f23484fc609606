"""The Internet in a box does what the real one does, so that tests in it mean something."""

from __future__ import annotations

import ipaddress
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography import x509

from appliance.deadline import wait_until
from world.internet.ddns_endpoints import NAMES, SECRET
from world.internet.home import NO_IGD, map_port
from world.internet.host import Host
from world.internet.names import flush_resolver
from world.internet.options import VARIANTS, RouterOptions
from world.internet.places import (
    ACME_DIRECTORY,
    CGNAT_ADDRESS,
    CLOCK_NAMES,
    ECHO_URLS,
    LINE_ADDRESS,
    LINE_ADDRESS_AFTER,
    NAMESERVER,
    OUTSIDER,
    REMOTE,
    REMOTE_NAME,
    ROUTER,
    ROUTER6,
    UPSTREAM_ADDRESS,
    ipv6_of,
)
from world.internet.programs import ensure_programs
from world.internet.remote import Remote
from world.internet.world import World
from world.patience import stretched

pytestmark = [pytest.mark.world, pytest.mark.timeout(300)]

NAME = "home.example.org"
# The bound is for a native machine with a cached tree and nothing beside it.
START_SECONDS = 15.0
EXTERNAL = """
import json, miniupnpc
upnp = miniupnpc.UPnP()
upnp.discoverdelay = 500
found = upnp.discover()
upnp.selectigd()
print(json.dumps([upnp.externalipaddress(), upnp.getspecificportmapping(443, "TCP")]))
"""
# Answers each connection with the address that it came from.
ANSWERER = """
import socket, sys
listener = socket.create_server(("::", int(sys.argv[1])), family=socket.AF_INET6,
                                dualstack_ipv6=True)
while True:
    connection, caller = listener.accept()
    connection.sendall(caller[0].removeprefix("::ffff:").encode())
    connection.close()
"""
CALL = """
import socket, sys
try:
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), 2) as connection:
        print(connection.recv(100).decode())
except OSError:
    print("")
"""
ASK_5351 = """
import socket, sys
family = socket.AF_INET6 if ":" in sys.argv[1] else socket.AF_INET
with socket.socket(family, socket.SOCK_DGRAM) as asker:
    asker.settimeout(2)
    asker.sendto(bytes.fromhex(sys.argv[2]), (sys.argv[1], 5351))
    try:
        print(asker.recv(1100).hex())
    except TimeoutError:
        print("")
"""


# RFC 5905 7.3: what a client sends is little more than the version; the answer's stratum, and the
# seconds since 1900 at which it was sent.
ASK_TIME = """
import socket, struct, sys
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as asker:
    asker.settimeout(5)
    asker.sendto(b"\x23" + bytes(47), (sys.argv[1], 123))
    answer = asker.recv(100)
print(answer[1], struct.unpack(">I", answer[40:44])[0] - 2208988800)
"""


@contextmanager
def world(path: Path, name: str) -> Iterator[World]:
    with World(path, VARIANTS[name]) as made:
        yield made


def call(host: Host, address: str, port: int) -> str:
    """What the answerer at an address says, which is whom it sees; empty without an answer."""
    return host.run(["python3", "-c", CALL, address, str(port)]).stdout.strip()


def answer(host: Host, port: int) -> None:
    host.start(f"answerer-{port}", ["python3", "-c", ANSWERER, str(port)])
    host.wait_for_port(f"answerer-{port}", port)


def is_alive(pid: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


def own_address(world: World) -> str:
    return world.lan_address(world.lan)


def echo(host: Host, url: str) -> str:
    return host.run(["curl", "-sS", "--max-time", "5", url], check=False).stdout.strip()


def ask(world: World, request: str, router: str = ROUTER) -> bytes:
    """The router's answer to a datagram on its port for port control."""
    text = world.lan.run(["python3", "-c", ASK_5351, router, request]).stdout.strip()
    return bytes.fromhex(text)


def natpmp_address(answer: bytes) -> str:
    return ".".join(str(part) for part in answer[8:12])


def natpmp_map(inside: int, outside: int, lifetime: int = 3600) -> str:
    """RFC 6886 3.3: version 0, operation 2 (TCP), reserved, ports, lifetime."""
    return f"00020000{inside:04x}{outside:04x}{lifetime:08x}"


def pcp_map(client: str, inside: int, outside: int, lifetime: int = 3600) -> str:
    """RFC 6887 7.1 and 11.1: MAP of a TCP port; IPv4 addresses are written as mapped ones."""
    address = ipaddress.IPv6Address(client if ":" in client else f"::ffff:{client}").packed.hex()
    anything = "0" * 32 if ":" in client else f"{'0' * 20}ffff{'0' * 8}"
    head = f"02010000{lifetime:08x}{address}"
    return f"{head}{'ab' * 12}06000000{inside:04x}{outside:04x}{anything}"


def test_the_home_is_behind_a_router(tmp_path: Path) -> None:
    """DHCP, names, NAT, both echoes; and it is there fast."""
    ensure_programs()
    start = time.monotonic()
    with world(tmp_path, "plain") as made:
        assert time.monotonic() - start < stretched(START_SECONDS)
        assert own_address(made).startswith("192.0.2.1")
        assert made.lan.run(["dig", "+short", "www.duckdns.org"]).stdout.strip()
        assert [echo(made.lan, url) for url in ECHO_URLS] == [LINE_ADDRESS] * 2
        assert made.wan.host.run(["ping", "-c1", "-W2", own_address(made)], check=False).returncode
        holders = [host.pid for host in made.hosts.values()]
    assert not [pid for pid in holders if is_alive(pid)]


def test_a_mapped_port_is_reached_from_outside_and_inside(tmp_path: Path) -> None:
    with world(tmp_path, "plain") as made:
        answer(made.lan, 443)
        assert call(made.wan.host, LINE_ADDRESS, 443) == ""
        assert map_port(made.lan, own_address(made), 443) == ""
        assert call(made.wan.host, LINE_ADDRESS, 443) == OUTSIDER
        # through the hairpin one comes from the router
        wait_until(
            lambda: call(made.lan, LINE_ADDRESS, 443) == ROUTER, seconds=10, what="the hairpin"
        )
        assert json.loads(made.lan.python(EXTERNAL))[0] == LINE_ADDRESS


def test_a_certificate_is_issued_through_the_router(tmp_path: Path) -> None:
    with world(tmp_path, "plain") as made:
        made.set_name(NAME, "A", LINE_ADDRESS)
        argv = ["python3", "-m", "world.internet.acme_client", ACME_DIRECTORY, NAME]
        refused = made.lan.run(argv, check=False)
        assert refused.returncode, "a certificate without an open port"
        assert map_port(made.lan, own_address(made), 80) == ""
        chain = made.lan.run(argv).stdout.encode()
        leaf = x509.load_pem_x509_certificates(chain)[0]
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        assert names.get_values_for_type(x509.DNSName) == [NAME]
        # the machines of the box trust it
        (made.lan.files / "chain.pem").write_bytes(chain)
        made.lan.run(["openssl", "verify", "-untrusted", "/srv/chain.pem", "/srv/chain.pem"])


def test_updates_need_their_key_and_are_seen(tmp_path: Path) -> None:
    with world(tmp_path, "plain") as made:
        update = f"server 198.51.100.2\nupdate add {NAME}. 60 A 203.0.113.5\nsend\n"
        assert made.lan.run(["nsupdate"], input=update, check=False).returncode
        made.set_name(NAME, "A", "203.0.113.5")
        assert made.lan.run(["dig", "+short", NAME]).stdout.strip() == "203.0.113.5"
        made.set_name(NAME, "A", "203.0.113.6")
        flush_resolver(made.wan.host)
        assert made.lan.run(["dig", "+short", NAME]).stdout.strip() == "203.0.113.6"


def test_a_reboot_forgets_and_a_new_address_does_not(tmp_path: Path) -> None:
    with world(tmp_path, "plain") as made:
        answer(made.lan, 443)
        assert map_port(made.lan, own_address(made), 443) == ""
        made.change_address(LINE_ADDRESS_AFTER)
        assert echo(made.lan, ECHO_URLS[0]) == LINE_ADDRESS_AFTER
        assert json.loads(made.lan.python(EXTERNAL))[0] == LINE_ADDRESS_AFTER
        assert call(made.wan.host, LINE_ADDRESS, 443) == ""
        assert call(made.wan.host, LINE_ADDRESS_AFTER, 443) == OUTSIDER
        made.reboot_router()
        assert call(made.wan.host, LINE_ADDRESS_AFTER, 443) == ""
        assert echo(made.lan, ECHO_URLS[0]) == LINE_ADDRESS_AFTER
        assert map_port(made.lan, own_address(made), 443) == ""
        assert call(made.wan.host, LINE_ADDRESS_AFTER, 443) == OUTSIDER


def test_an_outage_ends(tmp_path: Path) -> None:
    with world(tmp_path, "upnp-off") as made:
        assert echo(made.lan, ECHO_URLS[0]) == LINE_ADDRESS
        made.fail_line()
        assert echo(made.lan, ECHO_URLS[0]) == ""
        made.mend_line()
        assert echo(made.lan, ECHO_URLS[0]) == LINE_ADDRESS
        # and this router has nobody to ask for a port
        assert map_port(made.lan, own_address(made), 443) == NO_IGD
        assert ask(made, "0000") == b""


def test_permanent_leases_only(tmp_path: Path) -> None:
    with world(tmp_path, "permanent-only") as made:
        answer(made.lan, 443)
        assert "OnlyPermanentLeasesSupported" in map_port(made.lan, own_address(made), 443)
        # secure mode is the front's business here
        assert map_port(made.lan, "192.0.2.50", 443, lease=0) != ""
        assert map_port(made.lan, own_address(made), 443, lease=0) == ""
        assert call(made.wan.host, LINE_ADDRESS, 443) == OUTSIDER


def test_another_host_has_the_port(tmp_path: Path) -> None:
    with world(tmp_path, "port-taken") as made:
        assert "ConflictInMappingEntry" in map_port(made.lan, own_address(made), 443)
        assert made.other is not None
        owner = json.loads(made.lan.python(EXTERNAL))[1]
        assert owner[0] == made.lan_address(made.other)
        assert map_port(made.lan, own_address(made), 80) == ""


def test_the_router_has_port_80_itself(tmp_path: Path) -> None:
    with world(tmp_path, "router-has-80") as made:
        assert "ConflictWithOtherMechanisms" in map_port(made.lan, own_address(made), 80)
        page = made.wan.host.run(["curl", "-sS", f"http://{LINE_ADDRESS}/"]).stdout
        assert "Directory listing" in page


def test_low_ports_are_refused(tmp_path: Path) -> None:
    with world(tmp_path, "no-low-ports") as made:
        assert map_port(made.lan, own_address(made), 443) != ""
        assert map_port(made.lan, own_address(made), 8443, inside=443) == ""
        # RFC 6886 3.3: another port than the one asked for
        assert int.from_bytes(ask(made, natpmp_map(443, 443))[10:12], "big") >= 1024


def test_natpmp_only(tmp_path: Path) -> None:
    with world(tmp_path, "natpmp-only") as made:
        answer(made.lan, 443)
        assert map_port(made.lan, own_address(made), 443) == NO_IGD
        refused = ask(made, pcp_map(own_address(made), 443, 443))
        assert (refused[0], refused[3]) == (0, 1)  # RFC 6886 3.5: unsupported version
        assert natpmp_address(ask(made, "0000")) == LINE_ADDRESS
        assert ask(made, natpmp_map(443, 443))[2:4] == b"\0\0"
        assert call(made.wan.host, LINE_ADDRESS, 443) == OUTSIDER


def test_pcp_only(tmp_path: Path) -> None:
    with world(tmp_path, "pcp-only") as made:
        answer(made.lan, 443)
        refused = ask(made, natpmp_map(443, 443))
        assert (refused[0], refused[3]) == (2, 1)  # RFC 6887 9: UNSUPP_VERSION, version 2
        assert ask(made, pcp_map(own_address(made), 443, 443))[3] == 0
        assert call(made.wan.host, LINE_ADDRESS, 443) == OUTSIDER


@pytest.mark.parametrize(
    ("variant", "outside"), [("double-nat", UPSTREAM_ADDRESS), ("cgnat", CGNAT_ADDRESS)]
)
def test_a_second_nat_keeps_everybody_out(tmp_path: Path, variant: str, outside: str) -> None:
    with world(tmp_path, variant) as made:
        answer(made.lan, 443)
        assert echo(made.lan, ECHO_URLS[0]) == LINE_ADDRESS
        assert map_port(made.lan, own_address(made), 443) == ""
        assert json.loads(made.lan.python(EXTERNAL))[0] == outside
        assert natpmp_address(ask(made, "0000")) == outside
        assert call(made.wan.host, LINE_ADDRESS, 443) == ""
        made.change_address(LINE_ADDRESS_AFTER)
        assert echo(made.lan, ECHO_URLS[0]) == LINE_ADDRESS_AFTER


def global_ipv6(host: Host) -> str:
    lines = host.run(["ip", "-6", "-o", "address", "show", "scope", "global"]).stdout.splitlines()
    ready = [line for line in lines if "tentative" not in line]
    return ready[0].split()[3].partition("/")[0] if ready else ""


def test_ipv6_behind_a_firewall(tmp_path: Path) -> None:
    with world(tmp_path, "ipv6-firewall") as made:
        address = wait_until(
            lambda: global_ipv6(made.lan), seconds=20, what="an IPv6 address", every=0.1
        )
        answer(made.lan, 443)
        assert call(made.lan, address, 443) == address
        six = made.lan.run(["curl", "-sS6", "--max-time", "5", ECHO_URLS[0]]).stdout.strip()
        assert six == address
        assert call(made.wan.host, address, 443) == ""
        # IGD opens no port below 1024 for IPv6, PCP does
        pinhole = ["upnpc", "-6", "-m", "eth0", "-A", "", "0", address]
        refused = made.lan.run([*pinhole, "443", "tcp", "3600"], check=False)
        assert "606" in refused.stdout
        assert ask(made, pcp_map(address, 443, 443), ROUTER6)[3] == 0
        assert call(made.wan.host, address, 443) == ipv6_of(OUTSIDER)
        answer(made.lan, 8443)
        assert call(made.wan.host, address, 8443) == ""
        made.lan.run([*pinhole, "8443", "tcp", "3600"])
        assert call(made.wan.host, address, 8443) == ipv6_of(OUTSIDER)


def test_igd_version_1(tmp_path: Path) -> None:
    with world(tmp_path, "igd1") as made:
        page = made.lan.run(["curl", "-sS", f"http://{ROUTER}:5000/rootDesc.xml"]).stdout
        assert "InternetGatewayDevice:1" in page
        assert "InternetGatewayDevice:2" not in page
        assert map_port(made.lan, own_address(made), 443) == ""


def test_a_server_joins_the_internet(tmp_path: Path) -> None:
    with world(tmp_path, "plain") as made:
        remote = made.add_server("remote", REMOTE)
        assert echo(remote, ECHO_URLS[1]) == REMOTE
        answer(made.lan, 443)
        assert map_port(made.lan, own_address(made), 443) == ""
        assert call(remote, LINE_ADDRESS, 443) == REMOTE


def test_the_second_homeserver_is_reached_by_its_name(tmp_path: Path) -> None:
    with world(tmp_path, "plain") as made:
        remote = Remote(made)
        url = f"https://{REMOTE_NAME}:8448/_matrix/federation/v1/version"
        version = json.loads(made.lan.run(["curl", "-sS", "--max-time", "30", url]).stdout)
        assert version["server"]["name"] == "Synapse"
        token = remote.add_user("bob")
        who = remote.ask("GET", "/_matrix/client/v3/account/whoami", token=token)
        assert who["user_id"] == f"@bob:{REMOTE_NAME}"
        remote.stop()
        assert made.lan.run(["curl", "-sS", "--max-time", "5", url], check=False).returncode
        remote.start()
        assert remote.ask("GET", "/_matrix/client/v3/account/whoami", token=token) == who


def test_the_time_is_told_under_the_names_that_debian_asks(tmp_path: Path) -> None:
    with world(tmp_path, "plain") as made:
        for name in CLOCK_NAMES:
            told = made.lan.run(["python3", "-c", ASK_TIME, name]).stdout
            stratum, seconds = map(int, told.split())
            assert 1 <= stratum < 16
            assert abs(seconds - time.time()) < 5


def test_an_accepted_ddns_update_is_seen_in_the_dns(tmp_path: Path) -> None:
    with world(tmp_path, "plain") as made:
        name = NAMES["duckdns"]
        label = name.partition(".")[0]
        url = f"https://www.duckdns.org/update?domains={label}&token={SECRET}&ip={LINE_ADDRESS}"
        assert made.lan.run(["curl", "-sS", "--max-time", "5", url]).stdout.startswith("OK")
        asked = made.lan.run(["dig", "+short", f"@{NAMESERVER}", name]).stdout.strip()
        assert asked == LINE_ADDRESS


def test_nothing_is_left_when_the_start_fails(tmp_path: Path) -> None:
    made = World(tmp_path, RouterOptions(taken_ports=(443,), lowest_port=1024))
    with pytest.raises(Exception, match="port 443 cannot be taken"), made:
        pass
    pids = [host.pid for host in made.hosts.values()]
    assert pids
    assert not [pid for pid in pids if is_alive(pid)]
