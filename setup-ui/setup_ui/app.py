"""The application put together."""

from __future__ import annotations

from flask import Flask

from setup_ui.assets import install_assets
from setup_ui.client import AgentClient
from setup_ui.config import UiConfig
from setup_ui.context import Ui, known_status, session_token
from setup_ui.csrf import csrf_token
from setup_ui.failures import install_failures
from setup_ui.guard import install_guard
from setup_ui.pages import BLUEPRINTS


def make_app(config: UiConfig | None = None) -> Flask:
    """No SECRET_KEY: nothing is signed here, the only session is the agent's own token."""
    config = config or UiConfig()
    app = Flask("setup_ui")
    app.config["MAX_CONTENT_LENGTH"] = config.max_request
    app.jinja_env.trim_blocks = app.jinja_env.lstrip_blocks = True
    app.jinja_env.filters["sentence"] = sentence
    client = AgentClient(
        config.paths.agent_socket,
        connect_seconds=config.connect_seconds,
        reply_seconds=config.reply_seconds,
    )
    app.extensions["hearth"] = Ui(config=config, agent=client)
    install_assets(app)
    install_guard(app)
    install_failures(app)
    app.context_processor(
        lambda: {
            "status": known_status(),
            "csrf_token": csrf_token,
            "signed_in": bool(session_token()),
        }
    )
    for blueprint in BLUEPRINTS:
        app.register_blueprint(blueprint)
    return app


def sentence(text: str) -> str:
    """A hint as errors carry it ("use 'anna'") as a sentence."""
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "?", "!")) else ".")
