"""What the wizard has been told so far, with a revision so that two browsers cannot mix."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from appliance.errors import ConflictError, FieldError
from appliance.paths import Paths
from appliance.protocol import Draft
from appliance.settings import (
    Device,
    Owner,
    Reach,
    Secrets,
    Server,
    Settings,
    Software,
    load_secrets,
    load_toml,
    save_toml,
)
from appliance.validate import (
    check_owner_name,
    check_password,
    check_server_name,
    check_timezone,
)
from services.passwords import hash_secret

LABELS = {
    "owner_name": "your name",
    "timezone": "the time zone",
    "password": "the password",
    "server_name": "the server name",
    "reach": "who can reach it",
    "software": "the homeserver",
}


@dataclass(frozen=True, kw_only=True)
class StoredDraft:
    """The answers, and for each the revision that changed it last."""

    revision: int = 0
    owner_name: str = ""
    timezone: str = ""
    server_name: str = ""
    reach: Reach = Reach.LAN
    software: Software = Software.SYNAPSE
    changed: dict[str, int] = field(default_factory=dict)


class DraftBook:
    """Reads and writes draft.toml; the password goes to secrets.toml and never comes back."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def load(self) -> StoredDraft:
        path = self._paths.draft
        return load_toml(StoredDraft, path) if path.exists() else StoredDraft()

    def show(self) -> Draft:
        stored = self.load()
        return Draft(
            revision=stored.revision,
            owner_name=stored.owner_name,
            timezone=stored.timezone,
            has_password=bool(load_secrets(self._paths.secrets).pending_password),
            server_name=stored.server_name,
            reach=stored.reach,
            software=stored.software,
            software_chosen="software" in stored.changed,
        )

    def save_owner(self, revision: int, name: str, timezone: str, password: str) -> Draft:
        check_owner_name(name)
        check_timezone(timezone)
        secrets = load_secrets(self._paths.secrets)
        kept = secrets.pending_password
        if not password and not kept:
            raise FieldError("password", "Choose a password.")
        check_password(password or kept, name=name)
        is_new = bool(password) and password != kept
        answers: dict[str, Any] = {"owner_name": name, "timezone": timezone}
        stored = self._next(revision, answers, also=("password",) if is_new else ())
        if is_new:
            # Before the draft: a cut in between leaves a password that the page asks for again.
            self._save_password(secrets, password)
        return self._store(stored)

    def save_server(self, revision: int, name: str, reach: Reach) -> Draft:
        if reach is Reach.PUBLIC:
            message = (
                "A server that the whole Matrix network can reach comes with the next version."
            )
            hint = "choose the home network now, with a name that you own: it can go public later"
            raise FieldError("reach", message, hint=hint)
        check_server_name(name, reach)
        return self._store(self._next(revision, {"server_name": name, "reach": reach}))

    def save_homeserver(self, revision: int, software: Software) -> Draft:
        return self._store(self._next(revision, {"software": software}))

    def check_complete(self, revision: int) -> StoredDraft:
        """The draft, ready to be applied. Raises FieldError for the first open question."""
        stored = self.load()
        self._check_revision(stored, revision)
        check_owner_name(stored.owner_name)
        check_timezone(stored.timezone)
        if not load_secrets(self._paths.secrets).pending_password:
            raise FieldError("password", "Choose a password.")
        check_server_name(stored.server_name, stored.reach)
        return stored

    def forget(self) -> None:
        self._paths.draft.unlink(missing_ok=True)

    def _next(
        self, revision: int, answers: dict[str, Any], *, also: tuple[str, ...] = ()
    ) -> StoredDraft:
        stored = self.load()
        new = [
            name
            for name, value in answers.items()
            if name not in stored.changed or getattr(stored, name) != value
        ]
        if not new and not also:
            # The same answer twice: a reply was lost and the page was sent again. Not a conflict.
            return stored
        self._check_revision(stored, revision)
        number = stored.revision + 1
        changed = {**stored.changed, **dict.fromkeys((*new, *also), number)}
        return replace(stored, **answers, revision=number, changed=changed)

    def _check_revision(self, stored: StoredDraft, revision: int) -> None:
        if revision == stored.revision:
            return
        names = [LABELS[key] for key, at in stored.changed.items() if at > revision]
        what = " and ".join(names) if names else "the answers"
        message = f"Another browser has meanwhile changed {what}."
        raise ConflictError(message, hint="look at the answers as they are now, then save again")

    def _store(self, stored: StoredDraft) -> Draft:
        if stored != self.load():
            save_toml(stored, self._paths.draft, mode=0o600)
        return self.show()

    def _save_password(self, secrets: Secrets, password: str) -> None:
        secrets = replace(
            secrets, owner_password_hash=hash_secret(password), pending_password=password
        )
        save_toml(secrets, self._paths.secrets, mode=0o600)


def settings_from(draft: StoredDraft, *, ssh_keys: tuple[str, ...] = ()) -> Settings:
    """What the owner decided, as the services read it."""
    return Settings(
        owner=Owner(name=draft.owner_name),
        device=Device(timezone=draft.timezone, ssh_keys=ssh_keys),
        server=Server(name=draft.server_name, reach=draft.reach, software=draft.software),
    )
