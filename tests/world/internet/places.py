"""Who has which address and name in the Internet in a box.

Addresses are from the documentation ranges (RFC 5737, RFC 3849), but for those inside a carrier's
network and a second router, which are private because that is what they show, and the second
homeserver's: Synapse refuses to federate with documentation addresses.
"""

from __future__ import annotations

# ---- the Internet
RESOLVER = "198.51.100.1"  # the recursive resolver that everybody uses
NAMESERVER = "198.51.100.2"  # authoritative for the root and all zones
ACME = "198.51.100.10"
ACME_STAGING = "198.51.100.11"
DDNS = "198.51.100.20"
ECHO_A = "198.51.100.30"
ECHO_B = "198.51.100.31"
REMOTE = "192.175.48.40"  # AS112 (RFC 7535): public, and of no use to anybody else
VPS = "198.51.100.50"
OUTSIDER = "198.51.100.60"  # where somebody far away connects from
TESTER = "198.51.100.70"
CLOCK = "198.51.100.80"  # a time server, in the pool that Debian asks
# The same last part as their IPv4 address.
PREFIX6 = "2001:db8:ffff::"
HAVE_IPV6 = (RESOLVER, NAMESERVER, DDNS, ECHO_A, ECHO_B, OUTSIDER, ACME, ACME_STAGING)


def ipv6_of(address: str) -> str:
    return PREFIX6 + address.rpartition(".")[2]


# Under their real names, so that a client's own table of authorities is used as it is.
ACME_NAME = "acme-v02.api.letsencrypt.org"
ACME_STAGING_NAME = "acme-staging-v02.api.letsencrypt.org"
ACME_DIRECTORY = f"https://{ACME_NAME}/directory"
ACME_STAGING_DIRECTORY = f"https://{ACME_STAGING_NAME}/directory"
ECHO_A_NAME = "ip.example.com"
ECHO_B_NAME = "ip.example.net"
# What the appliance asks by itself (services.echo); the other family's names lead nowhere.
REAL_ECHO_NAMES = {"api.ipify.org": ECHO_A, "ipv4.icanhazip.com": ECHO_B}
ECHO_URLS = (f"https://{ECHO_A_NAME}/", f"https://{ECHO_B_NAME}/")
REFUSED_NAME = "refused.example.org"  # no authority certifies it or what is beneath
REMOTE_NAME = "remote.example.net"
VPS_NAME = "vps.example.net"
TESTER_NAME = "federationtester.matrix.org"
NAMESERVER_NAME = "ns.example.com"
# timesyncd.conf(5), FallbackNTP as Debian builds it
CLOCK_NAMES = tuple(f"{number}.debian.pool.ntp.org" for number in range(4))

# Hosts whose names the DDNS endpoints answer to, and zones in which they sell names.
DDNS_NAMES = (
    "www.duckdns.org", "update.dedyn.io", "update6.dedyn.io", "desec.io", "api.cloudflare.com",
    "dynv6.com", "ipv4.dynv6.com", "ipv6.dynv6.com", "freedns.afraid.org", "sync.afraid.org",
    "dynupdate.no-ip.com", "dynamicdns.park-your-domain.com", "www.ovh.com", "api.dynu.com",
    "dyn.dns.he.net", "members.dyndns.org", "ipv64.net", "ddns.example.com",
)  # fmt: skip
DDNS_ZONES = (
    "duckdns.org", "dedyn.io", "desec.io", "cloudflare.com", "dynv6.com", "dynv6.net", "afraid.org",
    "mooo.com", "no-ip.com", "ddns.net", "park-your-domain.com", "ovh.com", "dynu.com",
    "freeddns.org", "he.net", "dyndns.org", "ipv64.net", "no-ip.org", "noip.me",
)  # fmt: skip
OWNER_ZONE = "example.org"  # the owner's own, with an RFC 2136 key
ZONES = (OWNER_ZONE, "example.com", "example.net", "letsencrypt.org", "ipify.org", "icanhazip.com",
         "ntp.org", "matrix.org", *DDNS_ZONES)  # fmt: skip

OWNER_KEY = "owner"
PROVIDER_KEY = "provider"
# HMAC-SHA256 (RFC 8945); public on purpose, they open nothing outside the box.
KEYS = {
    OWNER_KEY: "b3duZXIgb3duZXIgb3duZXIgb3duZXIgb3duZXIgb3c=",
    PROVIDER_KEY: "cHJvdmlkZXIgcHJvdmlkZXIgcHJvdmlkZXIgcHJvdmk=",
}

HOSTS: dict[str, str] = {
    ACME_NAME: ACME,
    ACME_STAGING_NAME: ACME_STAGING,
    ECHO_A_NAME: ECHO_A,
    ECHO_B_NAME: ECHO_B,
    REMOTE_NAME: REMOTE,
    VPS_NAME: VPS,
    TESTER_NAME: TESTER,
    NAMESERVER_NAME: NAMESERVER,
    **REAL_ECHO_NAMES,
    **dict.fromkeys(DDNS_NAMES, DDNS),
    **dict.fromkeys(CLOCK_NAMES, CLOCK),
}

# ---- the line to the home
LINE_GATEWAY = "203.0.113.1"
LINE_ADDRESS = "203.0.113.10"
LINE_ADDRESS_AFTER = "203.0.113.77"  # what tests change it to
LINE_GATEWAY6 = "2001:db8:0:1::1"
LINE_ADDRESS6 = "2001:db8:0:1::2"
HOME_PREFIX6 = "2001:db8:1::/56"  # delegated to the router
# Between a carrier's or a second router's NAT and ours.
CGNAT_GATEWAY, CGNAT_ADDRESS = "100.64.0.1", "100.64.0.10"  # RFC 6598
UPSTREAM_GATEWAY, UPSTREAM_ADDRESS = "192.168.1.1", "192.168.1.10"

# ---- the home network
LAN = "192.0.2.0/24"
ROUTER = "192.0.2.1"
ROUTER6 = "2001:db8:1:1::1"
LAN6 = "2001:db8:1:1::/64"
LEASES = "192.0.2.100,192.0.2.199"
LAN_DOMAIN = "home.arpa"  # RFC 8375
