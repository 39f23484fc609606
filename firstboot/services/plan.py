"""All that a configuration is rendered from, read once, and what comes out."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ConfigError, StateError
from appliance.paths import Paths
from appliance.settings import Secrets, Settings, load_secrets, load_settings
from services import database, proxy
from services.acme.challenge import webroot
from services.authority import device_file
from services.homeserver import Homeserver, find_homeserver
from services.limits import Limit, find_limits
from services.names import client_url, public_names
from services.render import Rendered, Template, render_templates
from services.sizing import Size, choose_size
from services.tunnel import layout as tunnel
from services.tunnel.place import find_tunnel


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All inputs of a rendering, read once."""

    settings: Settings | None
    secrets: Secrets
    version: str
    homeserver: Homeserver | None
    templates: tuple[Template, ...]
    size: Size

    @property
    def limits(self) -> tuple[Limit, ...]:
        return find_limits(self.size, self.homeserver)


def load_plan(paths: Paths) -> Plan:
    """Raises ConfigError for damaged settings, StateError for a homeserver without identity."""
    settings = load_settings(paths.settings)
    secrets = load_secrets(paths.secrets)
    homeserver = find_homeserver(settings.server.software) if settings else None
    templates: list[Template] = []
    if device_file(paths).exists():
        templates += proxy.TEMPLATES
    if homeserver is not None:
        if not homeserver.signing_key(paths).exists():
            raise missing_identity(homeserver, paths)
        templates += [*database.TEMPLATES, *homeserver.templates]
    if settings is not None and public_names(settings) is not None:
        templates += proxy.PUBLIC_TEMPLATES
    templates += tunnel.templates_for(settings, secrets)
    return Plan(
        settings=settings,
        secrets=secrets,
        version=_load_version(paths),
        homeserver=homeserver,
        templates=tuple(templates),
        size=choose_size(paths, settings),
    )


def missing_identity(homeserver: Homeserver, paths: Paths) -> StateError:
    """A server that comes back with a new key is a stranger to everybody who knew it."""
    message = (
        f"the signing key {homeserver.signing_key(paths)} is missing, "
        f"so {homeserver.title} will not start"
    )
    hint = "restore it from the recovery file or a backup; a new key would be a new identity"
    return StateError(message, hint=hint)


def render_plan(paths: Paths, plan: Plan, *, config: Path) -> tuple[Rendered, ...]:
    """All files; ``config`` is the directory under which they will lie."""
    settings = plan.settings
    values = {
        "settings": settings,
        "secrets": plan.secrets,
        "homeserver": plan.homeserver,
        "paths": paths,
        "config": config,
        "certificates": paths.certificates,
        "client_url": client_url(settings) if settings else "",
        "public": public_names(settings) if settings else None,
        "certified": proxy.public_file(paths).exists(),
        "challenges": webroot(paths),
        "max_upload_mb": proxy.MAX_UPLOAD_MB,
        "size": plan.size,
    }
    if settings is not None and (way := find_tunnel(settings)) is not None:
        values |= tunnel.values_of(way, plan.secrets)
    return render_templates(paths, plan.templates, values)


def _load_version(paths: Paths) -> str:
    try:
        return str(json.loads(paths.image_facts.read_text())["version"])
    except FileNotFoundError:
        return "unknown"
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{paths.image_facts} is damaged: {error}") from error
