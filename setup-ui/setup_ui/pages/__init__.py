"""The pages, one blueprint per group."""

from __future__ import annotations

from setup_ui.pages import (
    access,
    checks,
    done,
    federation,
    found,
    front,
    progress,
    rescue,
    reset,
    setup,
    tunnel,
    updates,
)

BLUEPRINTS = (
    front.bp,
    access.bp,
    checks.bp,
    setup.bp,
    tunnel.bp,
    progress.bp,
    done.bp,
    federation.bp,
    updates.bp,
    found.bp,
    rescue.bp,
    reset.bp,
)
