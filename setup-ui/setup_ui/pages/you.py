"""Page "you": the administrator."""

from __future__ import annotations

from appliance.answers import CheckState
from appliance.errors import FieldError
from appliance.protocol import Draft, Request, SaveOwner, StartNetworkCheck, Status
from appliance.validate import check_owner_name, check_password, check_timezone
from setup_ui.forms import Errors, FormPage, Values, collect


def _initial(draft: Draft, status: Status) -> Values:
    return {"name": draft.owner_name, "timezone": draft.timezone}


def _check(values: Values, draft: Draft) -> Errors:
    checks = [
        lambda: check_owner_name(values["name"]),
        lambda: check_timezone(values["timezone"]),
    ]
    if values["password"] or values["repeat"] or not draft.has_password:
        checks.append(lambda: check_password(values["password"], name=values["name"]))
        checks.append(lambda: _check_repeat(values))
    return collect(checks)


def _check_repeat(values: Values) -> str:
    if values["password"] != values["repeat"]:
        hint = "type both again; nobody can read them back to you later"
        raise FieldError("repeat", "The two passwords differ.", hint=hint)
    return values["repeat"]


def _request(session: str, revision: int, values: Values) -> SaveOwner:
    return SaveOwner(
        session=session,
        revision=revision,
        name=values["name"],
        timezone=values["timezone"],
        password=values["password"],
    )


def _then(session: str, draft: Draft) -> Request | None:
    """The next page shows what the network allows: it is measured on the way there."""
    is_new = draft.network.state is CheckState.NONE
    return StartNetworkCheck(session=session) if is_new else None


YOU = FormPage(
    name="you",
    fields=("name", "timezone", "password", "repeat"),
    secrets=("password", "repeat"),
    initial=_initial,
    check=_check,
    request=_request,
    then=_then,
)
