"""What the owner answered on page "address", judged, and what follows from it for the settings."""

from __future__ import annotations

from dataclasses import dataclass, field

from appliance.answers import OWN_DNS, FormField, ProviderForm, Providers
from appliance.errors import ConfigError, FieldError, MissingToolError
from appliance.log import logger
from appliance.protocol import SaveAddress
from appliance.settings import Ddns, Public
from services.ddns.form import check_ddns, shared_domain_warning
from services.ddns.provider import Field, Provider, SubNames
from services.ddns.providers import PROVIDERS, find_provider
from services.suffix import Suffixes, load_suffixes

OURS = (SubNames.AUTOMATIC, SubNames.MADE)


@dataclass(frozen=True, kw_only=True)
class AddressAnswers:
    """``note`` is what the owner should know, although nothing is wrong."""

    provider: str
    name: str = ""
    username: str = ""
    endpoint: str = ""
    note: str = ""
    secret: str = field(default="", repr=False)


def judge_address(server_name: str, request: SaveAddress, kept_secret: str) -> AddressAnswers:
    """Raises FieldError naming the form's field."""
    if request.provider == OWN_DNS:
        return AddressAnswers(provider=OWN_DNS)
    try:
        provider = find_provider(request.provider)
    except ConfigError as error:
        raise FieldError("provider", "Choose one of the providers.") from error
    ddns = Ddns(
        provider=provider.id,
        name=request.name,
        username=request.username,
        endpoint=request.endpoint,
    )
    account = check_ddns(provider, ddns, request.secret or kept_secret)
    check_own_name("name", account.name)
    return AddressAnswers(
        provider=provider.id,
        name=account.name,
        username=account.username,
        endpoint=account.endpoint,
        secret=account.secret,
        note=_note(server_name, account.name, provider),
    )


def check_own_name(field: str, name: str) -> None:
    """Raises FieldError(field) for a name like co.uk or duckdns.org, beneath which others live."""
    suffixes = _suffixes()
    if suffixes is not None and suffixes.registered_domain(name) is None:
        message = f"{name!r} is a domain for everybody's names, not a name of your own."
        raise FieldError(field, message, hint=f"put a name before it, for example myhome.{name}")


def public_of(server_name: str, answers: AddressAnswers) -> Public:
    """The settings that follow from the answers."""
    if answers.provider == OWN_DNS:
        return Public()
    provider = find_provider(answers.provider)
    ddns = Ddns(
        provider=answers.provider,
        name=answers.name,
        username=answers.username,
        endpoint=answers.endpoint,
    )
    # Names beneath another one than the server's would be of no use to it.
    has_sub_names = answers.name == server_name and provider.sub_names in OURS
    return Public(ddns=ddns, sub_names=has_sub_names)


def provider_forms() -> Providers:
    return Providers(forms=tuple(_form(provider) for provider in PROVIDERS))


def _form(provider: Provider) -> ProviderForm:
    return ProviderForm(
        id=provider.id,
        title=provider.title,
        site=provider.site,
        name=_field(provider.name),
        secret=_field(provider.secret),
        username=_field(provider.username) if provider.username else None,
        endpoint=_field(provider.endpoint_field) if provider.endpoint_field else None,
        suffixes=provider.suffixes,
        note=provider.note,
    )


def _field(field: Field) -> FormField:
    return FormField(label=field.label, help=field.help)


def _note(server_name: str, name: str, provider: Provider) -> str:
    suffixes = _suffixes()
    notes = [shared_domain_warning(name, provider, suffixes)] if suffixes is not None else []
    if name != server_name:
        # RFC 1034, 3.6.2: beside a CNAME there is nothing else, so a bare domain cannot have one.
        notes.append(
            f"{server_name} must lead to {name}: at the provider of {server_name}, make it an "
            f"alias (a CNAME record) of {name}. A domain itself, with nothing before it, cannot "
            "be one."
        )
    return " ".join(note for note in notes if note)


def _suffixes() -> Suffixes | None:
    """A list that is missing takes away a warning, not the setup."""
    try:
        return load_suffixes()
    except MissingToolError as error:
        logger.warning("%s", error.message)
        return None
