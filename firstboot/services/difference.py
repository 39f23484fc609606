"""What a new rendering would change, fit to be shown to people."""

from __future__ import annotations

from dataclasses import fields

from appliance.settings import Secrets
from services.render import yaml_scalar

HIDDEN = "(hidden)"


def show_difference(name: str, old: str, new: str, secrets: Secrets) -> str:
    """A unified diff between what is there and what would be."""
    import difflib  # only a dry run needs it, and every boot imports this module

    old_lines, new_lines = (_hide(text, secrets).splitlines(keepends=True) for text in (old, new))
    lines = difflib.unified_diff(old_lines, new_lines, f"{name} (now)", f"{name} (then)")
    return "".join(lines)


def _hide(text: str, secrets: Secrets) -> str:
    """A difference may be shown to people; which secrets there are is no secret."""
    for field in fields(secrets):
        value = getattr(secrets, field.name)
        if value:
            for form in (value, yaml_scalar(value)[1:-1]):
                text = text.replace(form, HIDDEN)
    return text
