"""nginx: the front door. Its static part lies in the slot; HTTPS is rendered once it can serve."""

from __future__ import annotations

import shutil
from pathlib import Path

from appliance.paths import Paths
from services.checkers import run_checker
from services.render import Action, Template

UNIT = "nginx.service"
PROGRAM = "/usr/sbin/nginx"
GROUP = "www-data"
# Attachments: more than a phone's photograph, less than would hurt a small board.
MAX_UPLOAD_MB = 50

TEMPLATES = (
    Template(
        source="nginx/https.conf.j2",
        target="nginx/https.conf",
        group=GROUP,
        unit=UNIT,
        action=Action.RELOAD,
    ),
    Template(
        source="nginx/connections.events.j2",
        target="nginx/connections.events",
        group=GROUP,
        unit=UNIT,
        action=Action.RELOAD,
    ),
)

# Listeners of their own for what a router maps to us, and nothing of the pages behind them.
PUBLIC_TEMPLATES = (
    Template(
        source="nginx/public.conf.j2",
        target="nginx/public.conf",
        group=GROUP,
        unit=UNIT,
        action=Action.RELOAD,
    ),
)


def public_file(paths: Paths) -> Path:
    """Certificate, chain and key of a public authority, once there is one."""
    return paths.certificates / "public.pem"


def static_directory(paths: Paths) -> Path:
    return paths.root / "etc" / "nginx"


def check(paths: Paths, scratch: Path) -> None:
    """nginx -t over a copy of the slot's files beside the newly rendered ones.

    The slot's nginx.conf includes what is rendered by a relative path, so the copy needs no change.
    """
    copy = scratch / "nginx"
    copy.mkdir(exist_ok=True)
    for file in static_directory(paths).iterdir():
        if file.is_file():
            shutil.copyfile(file, copy / file.name)
    run_checker("nginx", [PROGRAM, "-t", "-q", "-c", copy / "nginx.conf", "-e", "stderr"])
