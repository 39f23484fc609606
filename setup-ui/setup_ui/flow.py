"""Which page comes next: pure decisions over what the agent says."""

from __future__ import annotations

from appliance.protocol import Draft, Status
from appliance.state import Phase

WIZARD = ("claim", "you", "server", "homeserver", "review")


def entry_page(status: Status, draft: Draft | None) -> str:
    """Where somebody who opens the front page belongs; ``draft`` is None without a session."""
    if status.data == "found":
        return "/found"
    if status.data in ("damaged", "missing"):
        return "/rescue"
    if status.phase in (Phase.APPLYING, Phase.FAILED):
        return "/progress"
    if status.phase is Phase.READY:
        return "/done" if draft is not None else "/sign-in"
    return "/claim" if draft is None else f"/setup/{resume_page(draft)}"


def resume_page(draft: Draft) -> str:
    """The first page of the wizard that is not answered yet."""
    if not (draft.owner_name and draft.timezone and draft.has_password):
        return "you"
    if not draft.server_name:
        return "server"
    return "homeserver" if not draft.software_chosen else "review"


def next_page(page: str) -> str:
    return WIZARD[WIZARD.index(page) + 1]


def suggest_server_name(status: Status) -> str:
    """The most specific of our own names: two Hearths must not both become ``hearth.local``."""
    return max(status.names, key=len, default="")
