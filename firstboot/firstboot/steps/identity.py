"""The homeserver's signing key: made on the device, once in its life."""

from __future__ import annotations

import os
from dataclasses import dataclass

from appliance.atomic import write_atomic
from appliance.errors import StateError
from firstboot.steps.context import Context
from services import database
from services.owners import ensure_directory, find_owner
from services.plan import missing_identity


@dataclass(frozen=True)
class MakeIdentity:
    name: str = "identity"
    title: str = "Making the server's signing key"

    def is_done(self, context: Context) -> bool:
        return context.homeserver.signing_key(context.paths).exists()

    def apply(self, context: Context) -> None:
        """Raises StateError where a database shows that there was an identity before."""
        homeserver, paths = context.homeserver, context.paths
        if database.has_cluster(paths):
            raise missing_identity(homeserver, paths)
        if not paths.homeserver.parent.is_dir():
            raise StateError(f"{paths.homeserver.parent} is not there: no data partition")
        ensure_directory(paths, paths.homeserver, mode=0o751)
        directory, user = homeserver.directory(paths), homeserver.user
        ensure_directory(paths, directory, group=user, mode=0o750)
        for name in ("media", "jetstream"):
            ensure_directory(paths, directory / name, user=user, group=user, mode=0o750)
        draft = directory / "signing.key.new"
        draft.unlink(missing_ok=True)
        old_mask = os.umask(0o077)
        try:
            homeserver.make_signing_key(paths, draft)
            # Readable for the homeserver, writable for nobody: it cannot lose it by itself.
            write_atomic(
                homeserver.signing_key(paths),
                draft.read_bytes(),
                mode=0o640,
                owner=find_owner(paths, "root", user),
            )
        finally:
            os.umask(old_mask)
            draft.unlink(missing_ok=True)
