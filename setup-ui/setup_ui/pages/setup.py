"""The wizard's form pages and the review: GET shows, POST saves and redirects."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

from flask import Blueprint, abort, render_template, request
from werkzeug.wrappers import Response

from appliance.answers import OWN_DNS
from appliance.errors import AccessError, ConflictError, HearthError
from appliance.protocol import Apply, Draft, Request
from appliance.settings import Way
from appliance.state import Phase
from setup_ui.client import AgentDownError
from setup_ui.context import (
    agent,
    current_status,
    elsewhere,
    go,
    known_status,
    load_draft,
    session_token,
)
from setup_ui.flow import (
    needs_address,
    next_page,
    resume_page,
    suggest_provider,
    suggest_server_name,
)
from setup_ui.forms import (
    Change,
    Errors,
    FormPage,
    Problem,
    Values,
    errors_of,
    list_changes,
    parse_revision,
    read_values,
    seen_values,
    without_secrets,
)
from setup_ui.pages.address import ADDRESS, find_form, provider_title
from setup_ui.pages.homeserver import HOMESERVER
from setup_ui.pages.server import SERVER
from setup_ui.pages.tunnel import TUNNEL
from setup_ui.pages.way import WAY
from setup_ui.pages.you import YOU
from setup_ui.timezones import UTC, load_zones

logger = logging.getLogger("hearth")
bp = Blueprint("setup", __name__, url_prefix="/setup")

PAGES = {page.name: page for page in (YOU, SERVER, ADDRESS, WAY, TUNNEL, HOMESERVER)}
# Pages of a public server, all of them part of the step that gives it its name.
PUBLIC_PAGES = (ADDRESS, WAY, TUNNEL)
UNPROCESSABLE, CONFLICT, UNAVAILABLE, NOT_FOUND = 422, 409, 503, 404
AWAY = Problem(
    message="The appliance is not answering right now. Nothing was lost.",
    hint="wait a moment, then press the button again",
)


@dataclass(frozen=True, kw_only=True)
class Shown:
    """One rendering of a form page: its values and what is wrong with them."""

    values: Values
    revision: int
    seen: Values
    errors: Errors
    changes: tuple[Change, ...] = ()
    conflict: bool = False


@bp.get("/<name>")
def show(name: str) -> Response | str:
    page = PAGES.get(name) or abort(NOT_FOUND)
    leave = elsewhere()
    if leave is not None:
        return leave
    draft = load_draft()
    if page is ADDRESS and not (needs_address(draft) or draft.names):
        return go("/setup/server")
    if page in (WAY, TUNNEL) and not draft.ways:
        return go(f"/setup/{resume_page(draft)}")
    if page is TUNNEL and draft.way is not Way.TUNNEL:
        return go("/setup/way")
    values = page.initial(draft, current_status())
    shown = Shown(values=values, revision=draft.revision, seen=seen_values(draft), errors={})
    return _render(page, shown, draft)


@bp.post("/<name>")
def save(name: str) -> Response | tuple[str, int]:
    page = PAGES.get(name) or abort(NOT_FOUND)
    values = read_values(request.form, page.fields, page.secrets)
    draft: Draft | None = None
    try:
        draft = load_draft()
        errors = page.check(values, draft)
        if errors:
            return _again(page, values, errors, draft), UNPROCESSABLE
        wish = page.then(session_token(), draft)
        answered: Draft = agent().ask(
            page.request(session_token(), parse_revision(request.form), values)
        )
        _start(wish)
    except AgentDownError:
        return _again(page, values, {"": AWAY}, draft), UNAVAILABLE
    except ConflictError:
        return _conflict(page, values)
    except AccessError:
        raise
    except HearthError as error:
        return _again(page, values, errors_of(error, page.fields), draft), UNPROCESSABLE
    return go(f"/setup/{next_page(page.name, answered)}")


def _start(wish: Request | None) -> None:
    """The answers are saved already: a check that cannot be started can be from its own page."""
    if wish is None:
        return
    try:
        agent().ask(wish)
    except (AgentDownError, HearthError) as error:
        logger.warning("%s: %s", type(wish).__name__, error)


@bp.get("/review")
def review() -> Response | str:
    leave = elsewhere()
    if leave is not None:
        return leave
    draft = load_draft()
    if resume_page(draft) != "review":
        return go(f"/setup/{resume_page(draft)}")
    return _render_review(draft)


@bp.post("/review")
def apply() -> Response | tuple[str, int]:
    try:
        agent().ask(Apply(session=session_token(), revision=parse_revision(request.form)))
    except ConflictError:
        if current_status().phase is Phase.APPLYING:
            return go("/progress")
        draft = load_draft()
        changes = list_changes(request.form, draft)
        return _render_review(draft, changes=changes, conflict=True), CONFLICT
    return go("/progress")


def _conflict(page: FormPage, values: Values) -> tuple[str, int]:
    """Somebody else saved first: show what changed, keep what was typed, offer to go on."""
    draft = load_draft()
    shown = Shown(
        values=without_secrets(values, page.secrets),
        revision=draft.revision,
        seen=seen_values(draft),
        errors={},
        changes=list_changes(request.form, draft),
        conflict=True,
    )
    return _render(page, shown, draft), CONFLICT


def _again(page: FormPage, values: Values, errors: Errors, draft: Draft | None) -> str:
    """The same page with what was typed; the revision stays that of the page first shown."""
    shown = Shown(
        values=without_secrets(values, page.secrets),
        revision=parse_revision(request.form),
        seen={name: value for name, value in request.form.items() if name.startswith("seen_")},
        errors=errors,
    )
    return _render(page, shown, draft)


def _render(page: FormPage, shown: Shown, draft: Draft | None) -> str:
    """``draft`` is None while the agent is away; what was typed is shown all the same."""
    status = known_status()
    return render_template(
        f"{page.name}.html",
        step="server" if page in PUBLIC_PAGES else page.name,
        shown=shown,
        values=shown.values,
        errors=shown.errors,
        draft=draft or Draft(),
        owner=shown.seen.get("seen_owner_name", ""),
        suggestion=suggest_server_name(status) if status else "",
        zones=load_zones() if page is YOU else {},
        utc=UTC,
        **(_address_parts(shown) if page is ADDRESS else {}),
    )


def _address_parts(shown: Shown) -> dict[str, Any]:
    """The provider's form, or without a choice yet all that can be chosen from."""
    form = find_form(shown.values["provider"])
    name = shown.seen.get("seen_server_name", "")
    if form is not None or shown.values["provider"] == OWN_DNS:
        return {"form": form, "server_name": name}
    forms = agent().provider_forms()
    suggestion = suggest_provider(name, forms)
    return {"form": None, "forms": forms, "server_name": name, "likely": suggestion}


def _render_review(
    draft: Draft, *, changes: tuple[Change, ...] = (), conflict: bool = False
) -> str:
    return render_template(
        "review.html",
        step="review",
        draft=draft,
        provider=provider_title(draft.provider),
        shown=Shown(
            values={},
            revision=draft.revision,
            seen=seen_values(draft),
            errors={},
            changes=changes,
            conflict=conflict,
        ),
        errors={},
    )
