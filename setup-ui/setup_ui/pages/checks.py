"""What is measured before it is needed: the network, and the account at the provider.

The pages show how far a check is, its finding, a way to repeat it and a way on. Without JavaScript
they load themselves again while it runs.
"""

from __future__ import annotations

from flask import Blueprint, Response, jsonify, render_template
from werkzeug.wrappers import Response as BaseResponse

from appliance.protocol import PassNetwork, StartAddressCheck, StartNetworkCheck
from setup_ui.context import agent, elsewhere, go, load_draft, session_token
from setup_ui.flow import needs_address, next_page, resume_page
from setup_ui.pages.address import provider_title

bp = Blueprint("checks", __name__, url_prefix="/setup")


@bp.get("/network")
def network() -> BaseResponse | str:
    leave = elsewhere()
    if leave is not None:
        return leave
    draft = load_draft()
    if resume_page(draft) == "you":
        return go("/setup/you")
    return render_template("network.html", step="network", found=draft.network, errors={})


@bp.get("/network.json")
def network_json() -> Response:
    return jsonify(state=load_draft().network.state)


@bp.post("/network")
def pass_network() -> BaseResponse:
    agent().ask(PassNetwork(session=session_token()))
    return go("/setup/server")


@bp.post("/network/check")
def check_network() -> BaseResponse:
    agent().ask(StartNetworkCheck(session=session_token()))
    return go("/setup/network")


@bp.get("/address/check")
def address() -> BaseResponse | str:
    leave = elsewhere()
    if leave is not None:
        return leave
    draft = load_draft()
    if needs_address(draft) or not draft.names:
        return go(f"/setup/{resume_page(draft)}")
    return render_template(
        "address_check.html",
        step="server",
        found=draft.address,
        draft=draft,
        provider=provider_title(draft.provider),
        next=next_page("address/check", draft),
        errors={},
    )


@bp.get("/address/check.json")
def address_json() -> Response:
    return jsonify(state=load_draft().address.state)


@bp.post("/address/check")
def check_address() -> BaseResponse:
    agent().ask(StartAddressCheck(session=session_token()))
    return go("/setup/address/check")
