"""Which page comes next: pure decisions over what the agent says."""

from __future__ import annotations

from collections.abc import Sequence

from appliance.answers import CheckState, ProviderForm
from appliance.protocol import Draft, Status
from appliance.settings import Reach, Way
from appliance.state import Phase

# services.address.Reachability, of which the pages know only what they have to.
OPEN, OFFLINE = "open", "offline"
NEXT = {
    "you": "network",
    "network": "server",
    "server": "homeserver",
    "address": "address/check",
    "way": "homeserver",
    "tunnel": "tunnel/check",
    "tunnel/check": "homeserver",
    "homeserver": "review",
}


def entry_page(status: Status, draft: Draft | None) -> str:
    """Where somebody who opens the front page belongs; ``draft`` is None without a session."""
    if status.data == "found":
        return "/found"
    if status.data in ("damaged", "missing"):
        return "/rescue"
    if status.rescue:
        return "/rescue-mode"
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
        return "server" if draft.network_seen else "network"
    if needs_address(draft):
        return "address"
    if needs_way(draft):
        return "way"
    if draft.way is Way.TUNNEL and draft.reach is Reach.PUBLIC and not draft.tunnel_server:
        return "tunnel"
    return "homeserver" if not draft.software_chosen else "review"


def needs_address(draft: Draft) -> bool:
    """A public server whose name leads nowhere yet; ``names`` are those that shall lead here."""
    return draft.reach is Reach.PUBLIC and not draft.names


def needs_way(draft: Draft) -> bool:
    """Whether the owner has to choose how the world gets in.

    Not where the router lets it in, nor where that is not known: then the router is tried.
    """
    if draft.reach is not Reach.PUBLIC or draft.way_chosen:
        return False
    is_measured = draft.network.state is CheckState.DONE and draft.network.kind != OFFLINE
    return draft.way is not Way.PORTS or (is_measured and draft.network.kind != OPEN)


def next_page(page: str, draft: Draft) -> str:
    """After ``page`` was answered with ``draft`` as the result."""
    if page == "server" and draft.reach is Reach.PUBLIC:
        return "address"
    if page == "address/check":
        return "way" if draft.way_chosen or needs_way(draft) else "homeserver"
    if page == "way" and draft.way is Way.TUNNEL:
        return "tunnel"
    return NEXT[page]


def suggest_provider(server_name: str, forms: Sequence[ProviderForm]) -> str:
    """The provider that gives away names like this one; an empty string where none is known to."""
    for form in forms:
        if server_name.endswith(tuple(f".{suffix}" for suffix in form.suffixes)):
            return form.id
    return ""


def suggest_server_name(status: Status) -> str:
    """The most specific of our own names: two Hearths must not both become ``hearth.local``."""
    return max(status.names, key=len, default="")
