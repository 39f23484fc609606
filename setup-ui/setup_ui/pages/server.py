"""Page "server name and reach"."""

from __future__ import annotations

from appliance.protocol import Draft, SaveServer, Status
from appliance.settings import Reach
from appliance.validate import check_server_name
from setup_ui.flow import suggest_server_name
from setup_ui.forms import Errors, FormPage, Values, collect


def _initial(draft: Draft, status: Status) -> Values:
    return {"server_name": draft.server_name or suggest_server_name(status), "reach": draft.reach}


def _check(values: Values, draft: Draft) -> Errors:
    return collect([lambda: check_server_name(values["server_name"], parse_reach(values))])


def parse_reach(values: Values) -> Reach:
    """What the form says; a browser leaves out a choice that is switched off."""
    return Reach.PUBLIC if values["reach"] == Reach.PUBLIC else Reach.LAN


def _request(session: str, revision: int, values: Values) -> SaveServer:
    return SaveServer(
        session=session, revision=revision, name=values["server_name"], reach=parse_reach(values)
    )


SERVER = FormPage(
    name="server",
    fields=("server_name", "reach"),
    initial=_initial,
    check=_check,
    request=_request,
)
