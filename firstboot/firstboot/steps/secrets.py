"""Secrets that programs share and nobody types."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, replace

from appliance.secretfile import change_secrets
from appliance.settings import Secrets
from firstboot.steps.context import Context
from services.tunnel.keys import ensure_keys, has_keys
from services.tunnel.place import find_tunnel

NAMES = ("registration_shared_secret", "macaroon_secret_key", "form_secret")


@dataclass(frozen=True)
class MakeSecrets:
    name: str = "secrets"
    title: str = "Making secrets"

    def is_done(self, context: Context) -> bool:
        secrets = context.secrets
        needs_keys = find_tunnel(context.settings) is not None and not has_keys(secrets)
        return all(getattr(secrets, name) for name in NAMES) and not needs_keys

    def apply(self, context: Context) -> None:
        """Only missing ones: a new macaroon key would log everybody out."""
        change_secrets(context.paths, _complete)
        if find_tunnel(context.settings) is not None:
            ensure_keys(context.paths)


def _complete(present: Secrets) -> Secrets:
    missing = {name: secrets.token_urlsafe(32) for name in NAMES if not getattr(present, name)}
    return replace(present, **missing)
