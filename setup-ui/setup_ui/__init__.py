"""The setup wizard: what the owner's browser sees. No root, no policy.

Everything it knows comes from the root agent over ``appliance.protocol`` and from ``state.json``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from flask import Flask

    from setup_ui.config import UiConfig

__all__ = ["create_app"]


def create_app(config: UiConfig | None = None) -> Flask:
    """The WSGI application; ``config`` moves its paths and times in tests."""
    from setup_ui.app import make_app  # importing the package alone must stay cheap

    return make_app(config)
