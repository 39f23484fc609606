"""Answers of the wizard that a board is too small for."""

from __future__ import annotations

from appliance.errors import FieldError
from appliance.paths import Paths
from appliance.settings import Software
from services.sizing import find_size, load_memory, refuse_public, refuse_software


def check_software(paths: Paths, software: Software) -> None:
    """Raises FieldError for a homeserver that this board has too little memory for."""
    memory = load_memory(paths)
    if reason := refuse_software(find_size(memory), software):
        message = f"{reason} This one has {memory} MB."
        raise FieldError("software", message, hint="choose Dendrite, or use a larger board")


def check_reach(paths: Paths) -> None:
    """Raises FieldError on a board that one large room would fill."""
    memory = load_memory(paths)
    if reason := refuse_public(find_size(memory)):
        message = f"{reason} This one has {memory} MB."
        raise FieldError("reach", message, hint="stay at home, or use a larger board")
