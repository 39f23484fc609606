"""Page "address", for a public server: who makes its name lead here, and the check of that."""

from __future__ import annotations

from flask import request

from appliance.answers import OWN_DNS, ProviderForm
from appliance.protocol import Draft, Request, SaveAddress, StartAddressCheck, Status
from setup_ui.client import AgentDownError
from setup_ui.context import agent
from setup_ui.forms import Errors, FormPage, Problem, Values

FIELDS = ("provider", "name", "username", "endpoint")


def find_form(identifier: str) -> ProviderForm | None:
    try:
        forms = agent().provider_forms()
    except AgentDownError:
        return None
    return next((form for form in forms if form.id == identifier), None)


def provider_title(identifier: str) -> str:
    form = find_form(identifier)
    return form.title if form else "your own DNS"


def _initial(draft: Draft, status: Status) -> Values:
    """The provider that the link names, else the one answered before, else none yet."""
    provider = request.args.get("provider", draft.provider)
    if provider != OWN_DNS and find_form(provider) is None:
        provider = ""
    values = {"provider": provider, "name": draft.server_name}
    if provider and provider == draft.provider:
        values |= {"username": draft.ddns_username, "endpoint": draft.ddns_endpoint}
        values["name"] = draft.ddns_name or draft.server_name
    return values


def _check(values: Values, draft: Draft) -> Errors:
    """All else is the agent's: it knows what each provider asks for."""
    if values["provider"]:
        return {}
    return {"provider": Problem(message="Choose one of the providers.")}


def _request(session: str, revision: int, values: Values) -> SaveAddress:
    return SaveAddress(
        session=session,
        revision=revision,
        provider=values["provider"],
        name=values["name"],
        username=values["username"],
        endpoint=values["endpoint"],
        secret=values["secret"],
    )


def _then(session: str, _draft: Draft) -> Request:
    return StartAddressCheck(session=session)


ADDRESS = FormPage(
    name="address",
    fields=(*FIELDS, "secret"),
    secrets=("secret",),
    initial=_initial,
    check=_check,
    request=_request,
    then=_then,
)
