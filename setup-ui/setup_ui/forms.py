"""What a form page of the wizard is, and what it shows when something is not right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from appliance.errors import FieldError, HearthError
from appliance.protocol import Draft, Request, Status

Values = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """A message at a field, or (for the field "") above the form."""

    message: str
    hint: str = ""


Errors = dict[str, Problem]


@dataclass(frozen=True, kw_only=True)
class Change:
    """What somebody else changed since this page was shown."""

    label: str
    before: str
    after: str


@dataclass(frozen=True, kw_only=True)
class FormPage:
    """One page of the wizard. ``secrets`` are fields that are never shown again.

    ``check`` finds all problems that need no agent, so that they are shown at once; the agent
    checks everything again.
    """

    name: str
    fields: tuple[str, ...]
    secrets: tuple[str, ...] = ()
    initial: Callable[[Draft, Status], Values]
    check: Callable[[Values, Draft], Errors]
    request: Callable[[str, int, Values], Request]
    # What else to ask for once the answers are saved, given the draft from before.
    then: Callable[[str, Draft], Request | None] = lambda _session, _draft: None


SEEN_PREFIX = "seen_"
LABELS = {
    "owner_name": "Administrator name",
    "timezone": "Time zone",
    "server_name": "Server name",
    "reach": "Reach",
    "provider": "Provider",
    "ddns_name": "Name at the provider",
    "ddns_username": "User name at the provider",
    "ddns_endpoint": "Address of the provider",
    "way": "Way in",
    "port": "Port",
    "tunnel_server": "Rented server",
    "tunnel_port": "Port of the tunnel",
    "software": "Homeserver",
}


def read_values(form: Values, fields: Iterable[str], secrets: Iterable[str] = ()) -> Values:
    """The form's fields; white space around is never meant, but a password is taken as typed."""
    plain = {name: form.get(name, "").strip() for name in fields}
    return plain | {name: form.get(name, "") for name in secrets}


def without_secrets(values: Values, secrets: Iterable[str]) -> Values:
    return {name: value for name, value in values.items() if name not in set(secrets)}


def problem_of(error: HearthError) -> Problem:
    return Problem(message=error.message, hint=error.hint or "")


def errors_of(error: HearthError, fields: Iterable[str]) -> Errors:
    """The agent's error at its field; above the form when the form has no such field."""
    field = error.field if isinstance(error, FieldError) and error.field in set(fields) else ""
    return {field: problem_of(error)}


def collect(checks: Iterable[Callable[[], object]]) -> Errors:
    """Run all ``checks`` and keep the first problem of each field."""
    found: Errors = {}
    for check in checks:
        try:
            check()
        except FieldError as error:
            found.setdefault(error.field, problem_of(error))
    return found


def seen_values(draft: Draft) -> Values:
    """What a page was made from, to be sent back with the form (nothing secret is in a draft)."""
    return {SEEN_PREFIX + name: str(getattr(draft, name)) for name in LABELS}


def list_changes(form: Values, draft: Draft) -> tuple[Change, ...]:
    """The difference between what the form's page had been made from and ``draft``."""
    changes = []
    for name, label in LABELS.items():
        before, after = form.get(SEEN_PREFIX + name), str(getattr(draft, name))
        if before is not None and before != after:
            changes.append(Change(label=label, before=before, after=after))
    return tuple(changes)


def parse_revision(form: Values) -> int:
    """The draft's revision that the page showed; -1, which never matches, when it is mangled."""
    text = form.get("revision", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else -1  # noqa: PLR2004
