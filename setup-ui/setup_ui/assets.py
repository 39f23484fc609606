"""Static files under addresses that change with their content, so browsers may keep them."""

from __future__ import annotations

import hashlib
from pathlib import Path

from flask import Flask, Response, request, url_for

FOREVER = "public, max-age=31536000, immutable"
BRIEFLY = "public, max-age=300"


def install_assets(app: Flask) -> None:
    stamps = load_stamps(Path(str(app.static_folder)))

    @app.template_global()
    def static_url(name: str) -> str:
        return url_for("static", filename=name, v=stamps[name])

    @app.after_request
    def cache(response: Response) -> Response:
        if request.endpoint == "static":
            known = request.args.get("v") in stamps.values()
            response.headers["Cache-Control"] = FOREVER if known else BRIEFLY
        return response


def load_stamps(folder: Path) -> dict[str, str]:
    return {
        path.name: hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        for path in sorted(folder.iterdir())
    }
