"""One row a provider: what its form asks, what it can do, how often it may be asked.

Sources: the providers' own pages as collected in the project's reference (matrix.md 5.3 to 5.5);
none of them could be asked from where this was written. ``hearthctl doctor ddns`` proves an
account.
"""

from __future__ import annotations

from appliance.errors import ConfigError
from services.ddns.provider import DAY, Field, Ipv6, Protocol, Provider, SubNames, Txt

# help.dyn.com/remote-access-api/policies: a name that does not change is refreshed every 28 days.
REFRESH = 28 * DAY
LOGIN = Field(label="User name", help="What you sign in with at the provider.")
PASSWORD = Field(label="Password", help="What you sign in with at the provider.")
OWN_DOMAIN = Field(label="Name", help="A name in your domain, for example home.example.org.")


def _token(help: str) -> Field:
    return Field(label="Token", help=help)


PROVIDERS = (
    Provider(
        id="duckdns",
        title="DuckDNS",
        protocol=Protocol.DUCKDNS,
        site="https://www.duckdns.org",
        endpoint="https://www.duckdns.org/update",
        name=Field(label="Name", help="The name that you added, for example myhome.duckdns.org."),
        secret=_token("Shown at the top of DuckDNS's page once you are signed in."),
        suffixes=("duckdns.org",),
        public_suffix=True,
        ipv6=Ipv6.OWN,
        txt=Txt.ONE,
        sub_names=SubNames.AUTOMATIC,
    ),
    Provider(
        id="desec",
        title="deSEC",
        protocol=Protocol.DESEC,
        site="https://desec.io",
        endpoint="https://update.dedyn.io/",
        api="https://desec.io/api/v1",
        name=Field(
            label="Name", help="For example myhome.dedyn.io, or a name in a domain hosted at deSEC."
        ),
        secret=_token("Made under Token Management. It must be allowed to change this domain."),
        suffixes=("dedyn.io",),
        public_suffix=True,
        ipv6=Ipv6.OWN,
        txt=Txt.MANY,
        sub_names=SubNames.MADE,
        min_interval=60.0,  # desec-stack docs/rate-limits.rst: dyndns 1/min per domain
        removes=True,
        note="deSEC's terms forbid updates that change nothing; Hearth sends none.",
    ),
    Provider(
        id="cloudflare",
        title="Cloudflare",
        protocol=Protocol.CLOUDFLARE,
        site="https://dash.cloudflare.com",
        endpoint="https://api.cloudflare.com/client/v4",
        name=OWN_DOMAIN,
        secret=_token("An API token with Zone:Read and DNS:Edit for this domain, not the API key."),
        ipv6=Ipv6.OWN,
        txt=Txt.MANY,
        sub_names=SubNames.MADE,
        min_interval=60.0,
        removes=True,
        note="Cloudflare's proxy is switched off for this name: it would cut large media.",
    ),
    Provider(
        id="dynv6",
        title="dynv6",
        protocol=Protocol.DYNV6,
        site="https://dynv6.com",
        endpoint="https://dynv6.com",
        name=Field(label="Name", help="Your zone, for example myhome.dynv6.net."),
        secret=_token("An HTTP token, made under Keys."),
        suffixes=("dynv6.net",),
        public_suffix=True,
        ipv6=Ipv6.OWN,
        txt=Txt.MANY,
        sub_names=SubNames.MADE,
    ),
    Provider(
        id="noip",
        title="No-IP",
        protocol=Protocol.DYNDNS2,
        site="https://www.noip.com",
        endpoint="https://dynupdate.no-ip.com/nic/update",
        name=Field(label="Name", help="For example myhome.ddns.net."),
        username=Field(label="DDNS key user name", help="Made under DDNS Keys for this name."),
        secret=Field(label="DDNS key password", help="Shown once when the key is made."),
        suffixes=("ddns.net", "no-ip.org", "noip.me"),
        public_suffix=True,
        ipv6=Ipv6.COMMA,
        sub_names=SubNames.NONE,
        refresh=REFRESH,
        note="Free names must be confirmed every month by a mail that No-IP sends you.",
    ),
    Provider(
        id="dynu",
        title="Dynu",
        protocol=Protocol.DYNDNS2,
        site="https://www.dynu.com",
        endpoint="https://api.dynu.com/nic/update",
        name=Field(label="Name", help="For example myhome.freeddns.org, or your own domain."),
        username=LOGIN,
        secret=Field(label="Password", help="The IP update password, or the account's."),
        suffixes=("freeddns.org",),
        public_suffix=True,
        ipv6=Ipv6.MYIPV6,
        sub_names=SubNames.MANUAL,
    ),
    Provider(
        id="ovh",
        title="OVH DynHost",
        protocol=Protocol.DYNDNS2,
        site="https://www.ovh.com",
        endpoint="https://www.ovh.com/nic/update",
        name=OWN_DOMAIN,
        username=Field(label="DynHost user", help="Made under DynHost, Manage access."),
        secret=Field(label="DynHost password", help="That of the DynHost user."),
        sub_names=SubNames.MANUAL,
    ),
    Provider(
        id="he",
        title="Hurricane Electric",
        protocol=Protocol.DYNDNS2,
        site="https://dns.he.net",
        endpoint="https://dyn.dns.he.net/nic/update",
        name=OWN_DOMAIN,
        secret=Field(label="Key", help="The DDNS key that you made for this record."),
        sub_names=SubNames.MANUAL,
    ),
    Provider(
        id="dyn",
        title="Dyn",
        protocol=Protocol.DYNDNS2,
        site="https://account.dyn.com",
        endpoint="https://members.dyndns.org/nic/update",
        name=Field(label="Name", help="For example myhome.dyndns.org."),
        username=LOGIN,
        secret=Field(label="Updater key", help="The updater client key of your account."),
        suffixes=("dyndns.org",),
        public_suffix=True,
        refresh=REFRESH,
        min_interval=600.0,  # help.dyn.com/remote-access-api/policies
    ),
    Provider(
        id="ipv64",
        title="IPv64",
        protocol=Protocol.DYNDNS2,
        site="https://ipv64.net",
        endpoint="https://ipv64.net/nic/update",
        name=Field(label="Name", help="For example myhome.ipv64.net."),
        username=LOGIN,
        secret=Field(label="Update token", help="The account's or the domain's update token."),
        suffixes=("ipv64.net",),
        public_suffix=False,
        sub_names=SubNames.MANUAL,
        min_interval=1800.0,  # 48 updates in 24 hours
    ),
    Provider(
        id="namecheap",
        title="Namecheap",
        protocol=Protocol.NAMECHEAP,
        site="https://www.namecheap.com",
        endpoint="https://dynamicdns.park-your-domain.com/update",
        name=OWN_DOMAIN,
        secret=Field(
            label="Dynamic DNS password", help="Under Advanced DNS, not your own password."
        ),
        sub_names=SubNames.MANUAL,
    ),
    Provider(
        id="freedns",
        title="FreeDNS (afraid.org)",
        protocol=Protocol.FREEDNS,
        site="https://freedns.afraid.org",
        endpoint="https://freedns.afraid.org/api/",
        name=Field(label="Name", help="For example myhome.mooo.com."),
        username=LOGIN,
        secret=PASSWORD,
        suffixes=("mooo.com",),
        public_suffix=False,
        ipv6=Ipv6.NONE,
        sub_names=SubNames.MANUAL,
    ),
    Provider(
        id="rfc2136",
        title="A name server of your own (RFC 2136)",
        protocol=Protocol.RFC2136,
        site="",
        name=OWN_DOMAIN,
        endpoint_field=Field(
            label="Name server", help="Its name or address, with :port if that is not 53."
        ),
        username=Field(
            label="Key name", help="Of the TSIG key; hmac-sha512:NAME if it is not hmac-sha256."
        ),
        secret=Field(label="Key", help="The TSIG secret in base64."),
        ipv6=Ipv6.OWN,
        txt=Txt.MANY,
        sub_names=SubNames.MADE,
        min_interval=10.0,
        removes=True,
    ),
    Provider(
        id="custom",
        title="Another one that speaks dyndns2",
        protocol=Protocol.DYNDNS2,
        site="",
        name=OWN_DOMAIN,
        endpoint_field=Field(
            label="Update address", help="For example https://ddns.example.org/nic/update."
        ),
        username=LOGIN,
        secret=PASSWORD,
        ipv6=Ipv6.COMMA,
        sub_names=SubNames.MANUAL,
        refresh=REFRESH,
    ),
)


def find_provider(identifier: str) -> Provider:
    """Raises ConfigError for one that this version does not know."""
    for provider in PROVIDERS:
        if provider.id == identifier:
            return provider
    known = ", ".join(provider.id for provider in PROVIDERS)
    raise ConfigError(f"no DDNS provider {identifier!r} is known", hint=f"one of: {known}")
