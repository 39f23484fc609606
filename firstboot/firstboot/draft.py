"""What the wizard has been told so far, with a revision so that two browsers cannot mix."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from appliance.answers import OWN_DNS
from appliance.errors import ConflictError, FieldError, StateError
from appliance.paths import Paths
from appliance.protocol import Draft, SaveAddress
from appliance.secretfile import change_secrets, hold_secrets, rewrite_secrets
from appliance.settings import (
    Reach,
    Secrets,
    Settings,
    Software,
    Way,
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
from firstboot.fitting import check_reach, check_software
from firstboot.stored import LABELS, StoredDraft, public_settings, settings_from
from services.names import public_names
from services.passwords import hash_secret
from services.tunnel.keys import forget_keys


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
        names = public_names(self.settings()) if is_answered else None
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
            way=stored.way,
            port=stored.port,
            way_chosen="way" in stored.changed,
            tunnel_server=stored.tunnel_server,
            tunnel_port=stored.tunnel_port,
            software=stored.software,
            software_chosen="software" in stored.changed,
        )

    def settings(self, *, ssh_keys: tuple[str, ...] = ()) -> Settings:
        """What follows from the answers, and from what was measured about them."""
        stored, own_sub_names = self.load(), False
        if stored.is_public and stored.provider == OWN_DNS:
            from firstboot.address_check import has_own_sub_names

            own_sub_names = has_own_sub_names(self._paths, stored)
        return settings_from(stored, ssh_keys=ssh_keys, own_sub_names=own_sub_names)

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
            self._save_password(password)
        return self._store(stored)

    def save_server(self, revision: int, name: str, reach: Reach) -> Draft:
        check_server_name(name, reach)
        if reach is Reach.PUBLIC:
            from firstboot.address_answers import check_own_name

            check_own_name("server_name", name)
            check_reach(self._paths)
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
        stored = replace(stored, address_for=stored.server_name, address_note=judged.note)
        with hold_secrets(self._paths):
            if is_new:
                # Whatever is cut short, no provider is ever shown another one's token.
                rewrite_secrets(self._paths, lambda known: replace(known, ddns_secret=""))
            self._store(stored)
            rewrite_secrets(self._paths, lambda known: replace(known, ddns_secret=judged.secret))
        return self.show()

    def save_way(self, revision: int, way: Way, port: int) -> Draft:
        from firstboot.way_answers import judge_way

        stored = self.load()
        if not (stored.is_public and stored.has_address):
            message = "Only a server that the world can reach needs a way in."
            raise StateError(message, hint="choose what makes its name lead here first")
        port = judge_way(public_settings(stored), stored.server_name, way, port)
        answers: dict[str, Any] = {"way": way, "port": port}
        return self._store(self._next(revision, answers))

    def save_tunnel(self, revision: int, server: str, port: int) -> Draft:
        from firstboot.tunnel_answers import judge_tunnel

        stored = self.load()
        if not (stored.is_public and stored.way is Way.TUNNEL):
            message = "No rented server is wanted."
            raise StateError(message, hint="choose the way in through one first")
        tunnel = judge_tunnel(server, port)
        answers: dict[str, Any] = {"tunnel_server": tunnel.server, "tunnel_port": tunnel.port}
        return self._store(self._next(revision, answers))

    def save_homeserver(self, revision: int, software: Software) -> Draft:
        check_software(self._paths, software)
        return self._store(self._next(revision, {"software": software}))

    def check_complete(self, revision: int) -> StoredDraft:
        """The draft, ready to be applied. Raises FieldError for the first open question."""
        stored = self.load()
        self._check_revision(stored, revision)
        check_owner_name(stored.owner_name)
        check_timezone(stored.timezone)
        secrets = load_secrets(self._paths.secrets)
        if not secrets.pending_password:
            raise FieldError("password", "Choose a password.")
        check_server_name(stored.server_name, stored.reach)
        check_software(self._paths, stored.software)
        if stored.is_public and not stored.has_address:
            raise FieldError("provider", "Choose what makes the name lead here.")
        if stored.is_public and stored.provider != OWN_DNS and not secrets.ddns_secret:
            raise FieldError("secret", "The token or password of the provider is missing.")
        if stored.is_public:
            from firstboot.way_answers import judge_way

            judge_way(public_settings(stored), stored.server_name, stored.way, stored.port)
        if stored.lacks_tunnel:
            raise FieldError("server", "Say which rented server the world comes in through.")
        return stored

    def drop_unused(self) -> None:
        """A token of a provider that is not used after all, keys of a tunnel that is not."""
        stored = self.load()

        def keep_used(secrets: Secrets) -> Secrets:
            if not (stored.is_public and stored.provider != OWN_DNS):
                secrets = replace(secrets, ddns_secret="")
            return forget_keys(secrets) if stored.tunnel is None else secrets

        change_secrets(self._paths, keep_used)

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

    def _save_password(self, password: str) -> None:
        hashed = hash_secret(password)
        change_secrets(
            self._paths,
            lambda known: replace(known, owner_password_hash=hashed, pending_password=password),
        )
