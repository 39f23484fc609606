"""Page "homeserver": Synapse or Dendrite."""

from __future__ import annotations

from appliance.protocol import Draft, SaveHomeserver, Status
from appliance.settings import Software
from setup_ui.forms import Errors, FormPage, Problem, Values


def _initial(draft: Draft, status: Status) -> Values:
    return {"software": draft.software}


def _check(values: Values, draft: Draft) -> Errors:
    if values["software"] not in list(Software):
        return {"software": Problem(message="Choose one of the two.")}
    return {}


def _request(session: str, revision: int, values: Values) -> SaveHomeserver:
    software = Software(values["software"])
    return SaveHomeserver(session=session, revision=revision, software=software)


HOMESERVER = FormPage(
    name="homeserver",
    fields=("software",),
    initial=_initial,
    check=_check,
    request=_request,
)
