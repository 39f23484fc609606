"""What an owner typed about a provider, judged before anybody is asked."""

from __future__ import annotations

from urllib.parse import urlsplit

from appliance.errors import FieldError
from appliance.settings import Ddns, Reach
from appliance.validate import check_server_name
from services.ddns.provider import Account, Protocol, Provider
from services.suffix import Suffixes


def check_ddns(provider: Provider, ddns: Ddns, secret: str) -> Account:
    """The account, tidied. Raises FieldError naming the form's field."""
    try:
        name = check_server_name(ddns.name.strip().rstrip(".").lower(), Reach.PUBLIC)
    except FieldError as error:
        raise FieldError("name", error.message, hint=error.hint) from error
    if provider.suffixes and provider.protocol is Protocol.DUCKDNS:
        _require_suffix(provider, name)
    if provider.username and not ddns.username.strip():
        raise FieldError("username", f"{provider.username.label} is missing.")
    if not secret.strip():
        raise FieldError("secret", f"{provider.secret.label} is missing.")
    endpoint = _check_endpoint(provider, ddns.endpoint.strip()) if provider.endpoint_field else ""
    username = ddns.username.strip() if provider.username else ""
    return Account(name=name, username=username, secret=secret.strip(), endpoint=endpoint)


def shared_domain_warning(name: str, provider: Provider, suffixes: Suffixes) -> str:
    """What to tell about a name under a domain that strangers share; empty when all is well."""
    domain = suffixes.registered_domain(name)
    if domain is None:
        return f"{name} is a domain for everybody's names, not a name of your own."
    if provider.protocol is Protocol.FREEDNS or domain in provider.suffixes:
        return (
            f"Everybody with a name under {domain} shares the 50 certificates a week that Let's "
            "Encrypt gives to one domain, so that yours may have to wait. Names of DuckDNS or "
            "deSEC count for themselves."
        )
    return ""


def _require_suffix(provider: Provider, name: str) -> None:
    if not name.endswith(tuple(f".{suffix}" for suffix in provider.suffixes)):
        message = f"{name!r} is not a name of {provider.title}."
        raise FieldError("name", message, hint=f"its names end in .{provider.suffixes[0]}")


def _check_endpoint(provider: Provider, endpoint: str) -> str:
    assert provider.endpoint_field is not None
    if not endpoint:
        raise FieldError("endpoint", f"{provider.endpoint_field.label} is missing.")
    if provider.protocol is Protocol.RFC2136:
        try:
            parts = urlsplit(f"//{endpoint}")
            is_host = parts.hostname and (parts.port or True) and parts.netloc == endpoint
        except ValueError:
            is_host = False
        if not is_host:
            message = f"{endpoint!r} is not a name server."
            raise FieldError(
                "endpoint", message, hint="for example ns1.example.org or 192.0.2.1:53"
            )
        return endpoint
    parts = urlsplit(endpoint)
    if parts.scheme != "https" or not parts.hostname:
        message = f"{endpoint!r} is not an address that begins with https://."
        raise FieldError("endpoint", message, hint="the password would travel in clear without it")
    if parts.username or parts.password or parts.query:
        message = "This address has a password or parameters in it."
        raise FieldError("endpoint", message, hint="keep only what stands before the ? or after @")
    return endpoint
