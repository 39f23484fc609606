"""secrets.toml, rewritten by one at a time and read together with what its secrets are for.

Each rewrite keeps what it does not mean to change: without a lock it would bring back what another
one has just changed. And who reads the settings before, and the secrets after, another provider
was chosen shows one provider's token to the other one.
"""

from __future__ import annotations

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from appliance.paths import Paths
from appliance.settings import Secrets, Settings, load_secrets, load_settings, save_toml


@contextmanager
def hold_secrets(paths: Paths) -> Iterator[None]:
    """For moments only: nobody is asked for anything meanwhile. Not to be held twice."""
    paths.runtime.mkdir(parents=True, exist_ok=True)
    with (paths.runtime / "secrets.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def change_secrets(paths: Paths, change: Callable[[Secrets], Secrets]) -> Secrets:
    """What ``change`` makes of the secrets as they are now."""
    with hold_secrets(paths):
        return rewrite_secrets(paths, change)


def rewrite_secrets(paths: Paths, change: Callable[[Secrets], Secrets]) -> Secrets:
    """The same for whoever holds the lock."""
    before = load_secrets(paths.secrets)
    after = change(before)
    if after != before:
        save_toml(after, paths.secrets, mode=0o600)
    return after


def load_both(paths: Paths) -> tuple[Settings | None, Secrets]:
    """Settings and secrets that belong together."""
    with hold_secrets(paths):
        return load_settings(paths.settings), load_secrets(paths.secrets)
