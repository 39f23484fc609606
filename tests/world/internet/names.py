"""The DNS of the box, by two bind9: one authoritative for everything, one that resolves for all.

The authoritative one takes RFC 2136 updates: key ``owner`` for the owner's zone, key ``provider``
for every zone, which is how a DDNS endpoint makes an accepted update visible.
"""

from __future__ import annotations

from world.internet.host import Host
from world.internet.places import (
    HAVE_IPV6,
    HOSTS,
    KEYS,
    NAMESERVER,
    NAMESERVER_NAME,
    OWNER_KEY,
    OWNER_ZONE,
    PROVIDER_KEY,
    RESOLVER,
    ZONES,
    ipv6_of,
)

TTL = 60
PORT = 53

COMMON = """
options {{
    directory "/srv/{name}";
    pid-file "/run/named/{name}.pid";
    session-keyfile "/run/named/{name}.key";
    listen-on {{ {address}; }};
    listen-on-v6 {{ {address6}; }};
    query-source address {address};
    dnssec-validation no;
    notify no;
    max-cache-ttl 60;
    max-ncache-ttl 5;
    {options}
}};
controls {{ inet {address} allow {{ any; }} keys {{ "{provider}"; }}; }};
"""
KEY = 'key "{name}" {{ algorithm hmac-sha256; secret "{secret}"; }};\n'
ZONE = 'zone "{zone}" {{ type primary; file "{file}"; allow-update {{ {keys} }}; }};\n'
ROOT = f"""$TTL {TTL}
@ SOA {NAMESERVER_NAME}. hostmaster.example.com. 1 3600 600 86400 5
@ NS {NAMESERVER_NAME}.
{NAMESERVER_NAME}. A {NAMESERVER}
"""


def start_nameserver(host: Host) -> None:
    """The authoritative server, for the root too."""
    directory = host.files / "authority"
    directory.mkdir()
    config = _common("authority", NAMESERVER, "recursion no;")
    (directory / "root.zone").write_text(ROOT + "".join(_delegation(zone) for zone in ZONES))
    config += ZONE.format(zone=".", file="root.zone", keys="none;")
    for zone in ZONES:
        (directory / f"{zone}.zone").write_text(_zone(zone))
        names = [PROVIDER_KEY, OWNER_KEY] if zone == OWNER_ZONE else [PROVIDER_KEY]
        keys = " ".join(f'key "{name}";' for name in names)
        config += ZONE.format(zone=zone, file=f"{zone}.zone", keys=keys)
    (directory / "named.conf").write_text(config)
    _start(host, "authority")


def start_resolver(host: Host) -> None:
    directory = host.files / "resolver"
    directory.mkdir()
    config = _common("resolver", RESOLVER, "recursion yes; allow-recursion { any; };")
    config += 'zone "." { type hint; file "root.hints"; };\n'
    (directory / "root.hints").write_text(
        f". {TTL} NS {NAMESERVER_NAME}.\n{NAMESERVER_NAME}. {TTL} A {NAMESERVER}\n"
    )
    (directory / "named.conf").write_text(config)
    _start(host, "resolver")


def wait_for_names(host: Host) -> None:
    """Until both answer: a port that listens is not yet a zone that is loaded."""
    for name, address in (("authority", NAMESERVER), ("resolver", RESOLVER)):
        host.wait_for(name, lambda address=address: _answers(host, address), f"{name} answers")


def flush_resolver(host: Host) -> None:
    """Let the resolver forget what it has learnt, as after a TTL."""
    host.run(["rndc", "-c", "/srv/resolver/rndc.conf", "flush"])


def _answers(host: Host, address: str) -> bool:
    argv = ["dig", f"@{address}", "+short", "+tries=1", "+time=1", NAMESERVER_NAME]
    return host.run(argv, check=False).stdout.strip() == NAMESERVER


def _start(host: Host, name: str) -> None:
    address = RESOLVER if name == "resolver" else NAMESERVER
    (host.files / name / "rndc.conf").write_text(
        KEY.format(name=PROVIDER_KEY, secret=KEYS[PROVIDER_KEY])
        + f'options {{ default-server {address}; default-key "{PROVIDER_KEY}"; }};\n'
    )
    # One worker each: they share two cores with everything else.
    host.start(name, ["named", "-g", "-n", "1", "-c", f"/srv/{name}/named.conf"])


def _common(name: str, address: str, options: str) -> str:
    keys = "".join(KEY.format(name=key, secret=secret) for key, secret in KEYS.items())
    return keys + COMMON.format(
        name=name, address=address, address6=f"{ipv6_of(address)};", options=options,
        provider=PROVIDER_KEY,
    ).replace(";;", ";")  # fmt: skip


def _delegation(zone: str) -> str:
    return f"{zone}. NS {NAMESERVER_NAME}.\n"


def _zone(zone: str) -> str:
    lines = [f"$ORIGIN {zone}.", f"$TTL {TTL}"]
    lines.append(f"@ SOA {NAMESERVER_NAME}. hostmaster.example.com. 1 3600 600 86400 5")
    lines.append(f"@ NS {NAMESERVER_NAME}.")
    for name, address in HOSTS.items():
        if name == zone or name.endswith(f".{zone}"):
            lines.append(f"{name}. A {address}")
            if address in HAVE_IPV6 and not name.startswith("ipv4."):
                lines.append(f"{name}. AAAA {ipv6_of(address)}")
    return "\n".join(lines) + "\n"


def update_record(host: Host, name: str, kind: str, value: str, *, ttl: int = TTL) -> None:
    """Replace one record by RFC 2136 with the providers' key."""
    lines = [f"server {NAMESERVER}", f"update delete {name}. {kind}",
             f"update add {name}. {ttl} {kind} {value}", "send"]  # fmt: skip
    key = f"hmac-sha256:{PROVIDER_KEY}:{KEYS[PROVIDER_KEY]}"
    host.run(["nsupdate", "-y", key], input="\n".join(lines) + "\n")
