"""Page "way", for a public server: how what comes from outside gets in."""

from __future__ import annotations

from appliance.protocol import Draft, SaveWay, Status
from appliance.settings import Way
from setup_ui.forms import Errors, FormPage, Problem, Values

DEFAULT_PORT = 8448  # the one that Matrix servers try without being told


def _initial(draft: Draft, status: Status) -> Values:
    best = next((one.way for one in draft.ways if not one.obstacle), Way.PORTS)
    port = draft.port if draft.way is Way.PORT else DEFAULT_PORT
    return {"way": draft.way if draft.way_chosen else best, "port": str(port)}


def _check(values: Values, draft: Draft) -> Errors:
    if values["way"] not in list(Way):
        return {"way": Problem(message="Choose one of the ways.")}
    if values["way"] == Way.PORT and not _is_number(values["port"]):
        return {"port": Problem(message="Write the number of a port.", hint="for example 8448")}
    return {}


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= len("65535")


def _request(session: str, revision: int, values: Values) -> SaveWay:
    port = int(values["port"]) if _is_number(values["port"]) else DEFAULT_PORT
    return SaveWay(session=session, revision=revision, way=Way(values["way"]), port=port)


WAY = FormPage(name="way", fields=("way", "port"), initial=_initial, check=_check, request=_request)
