"""What the wizard has been told so far, with a revision so that two browsers cannot mix."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from appliance.answers import OWN_DNS
from appliance.errors import ConflictError, FieldError, StateError
from appliance.paths import Paths
from appliance.protocol import Draft, SaveAddress
from appliance.settings import (
    Device,
    Owner,
    Public,
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
from services.names import public_names
from services.passwords import hash_secret

LABELS = {
    "owner_name": "your name",
    "timezone": "the time zone",
    "password": "the password",
    "server_name": "the server name",
    "reach": "who can reach it",
    "provider": "what makes the name lead here",
    "ddns_name": "what makes the name lead here",
    "ddns_username": "what makes the name lead here",
    "ddns_endpoint": "what makes the name lead here",
    "ddns_secret": "the token or password of the provider",
    "software": "the homeserver",
}


@dataclass(frozen=True, kw_only=True)
class StoredDraft:
    """The answers, and for each the revision that changed it last.

    ``address_for`` is the server name for which page "address" was answered; ``address_note`` what
    its answer made us say.
    """

    revision: int = 0
    owner_name: str = ""
    timezone: str = ""
    network_seen: bool = False
    server_name: str = ""
    reach: Reach = Reach.LAN
    provider: str = ""
    ddns_name: str = ""
    ddns_username: str = ""
    ddns_endpoint: str = ""
    address_for: str = ""
    address_note: str = ""
    software: Software = Software.SYNAPSE
    changed: dict[str, int] = field(default_factory=dict)

    @property
    def is_public(self) -> bool:
        return self.reach is Reach.PUBLIC

    @property
    def has_address(self) -> bool:
        """Whether page "address" was answered, for the name as it is now."""
        return bool(self.provider) and self.address_for == self.server_name

    @property
    def address_number(self) -> int:
        """Another one for every other answer to page "address" or about the server's name."""
        return max((self.changed.get(key, 0) for key in ADDRESS_KEYS), default=0)


ADDRESS_KEYS = ("provider", "ddns_name", "ddns_username", "ddns_endpoint", "ddns_secret",
                "server_name")  # fmt: skip


class DraftBook:
    """Reads and writes draft.toml; the password goes to secrets.toml and never comes back."""

    def __init__(self, paths: Paths) -> None:
        self._paths = paths

    def load(self) -> StoredDraft:
        path = self._paths.draft
        return load_toml(StoredDraft, path) if path.exists() else StoredDraft()

    def show(self) -> Draft:
        stored = self.load()
        secrets = load_secrets(self._paths.secrets)
        is_answered = stored.is_public and stored.has_address
        names = public_names(settings_from(stored)) if is_answered else None
        return Draft(
            revision=stored.revision,
            owner_name=stored.owner_name,
            timezone=stored.timezone,
            has_password=bool(secrets.pending_password),
            network_seen=stored.network_seen,
            server_name=stored.server_name,
            reach=stored.reach,
            provider=stored.provider,
            ddns_name=stored.ddns_name,
            ddns_username=stored.ddns_username,
            ddns_endpoint=stored.ddns_endpoint,
            has_ddns_secret=bool(secrets.ddns_secret),
            address_note=stored.address_note,
            names=names.all if names else (),
            client_url=names.client_url if names else "",
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
        check_server_name(name, reach)
        if reach is Reach.PUBLIC:
            from firstboot.address_answers import check_own_name

            check_own_name("server_name", name)
        return self._store(self._next(revision, {"server_name": name, "reach": reach}))

    def pass_network(self) -> Draft:
        """No new revision: it is not an answer that another browser could miss."""
        return self._store(replace(self.load(), network_seen=True))

    def save_address(self, request: SaveAddress) -> Draft:
        from firstboot.address_answers import judge_address

        stored = self.load()
        if not (stored.is_public and stored.server_name):
            message = "Only a server that the world can reach needs this."
            raise StateError(message, hint="choose its name and reach first")
        secrets = load_secrets(self._paths.secrets)
        kept = secrets.ddns_secret if request.provider == stored.provider else ""
        judged = judge_address(stored.server_name, request, kept)
        answers: dict[str, Any] = {
            "provider": judged.provider,
            "ddns_name": judged.name,
            "ddns_username": judged.username,
            "ddns_endpoint": judged.endpoint,
        }
        is_new = judged.secret != secrets.ddns_secret
        stored = self._next(request.revision, answers, also=("ddns_secret",) if is_new else ())
        if is_new:
            secrets = replace(secrets, ddns_secret=judged.secret)
            save_toml(secrets, self._paths.secrets, mode=0o600)
        return self._store(
            replace(stored, address_for=stored.server_name, address_note=judged.note)
        )

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
        if stored.is_public and not stored.has_address:
            raise FieldError("provider", "Choose what makes the name lead here.")
        return stored

    def drop_unused(self) -> None:
        """A token of a provider that is not used after all."""
        stored, secrets = self.load(), load_secrets(self._paths.secrets)
        if secrets.ddns_secret and not (stored.is_public and stored.provider != OWN_DNS):
            save_toml(replace(secrets, ddns_secret=""), self._paths.secrets, mode=0o600)

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
        changed = [LABELS[key] for key, at in stored.changed.items() if at > revision]
        names = list(dict.fromkeys(changed))
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
        public=public_settings(draft),
    )


def public_settings(draft: StoredDraft) -> Public | None:
    """None for a server that only the home network reaches."""
    if not draft.is_public:
        return None
    from firstboot.address_answers import AddressAnswers, public_of

    answers = AddressAnswers(
        provider=draft.provider,
        name=draft.ddns_name,
        username=draft.ddns_username,
        endpoint=draft.ddns_endpoint,
    )
    return public_of(draft.server_name, answers)
