"""What a recurring job found last: one JSON file a job, for the pages, doctor and its next run.

A job is a oneshot unit that measures, acts, leaves its result here and exits with 0 or 1. What
must outlive a reboot (a provider's refusal, the time of the next attempt) is part of the result.
"""

from __future__ import annotations

import json
from typing import TypeVar

from appliance.atomic import write_atomic
from appliance.errors import ConfigError
from appliance.log import logger
from appliance.paths import Paths
from appliance.tables import parse_table, to_table, without_unknown
from services.owners import ensure_directory, find_owner

T = TypeVar("T")
READER = "hearth-ui"


def save_result(paths: Paths, name: str, result: object) -> None:
    """Write the dataclass ``result`` as the job's last word."""
    ensure_directory(paths, paths.results, group=READER, mode=0o750)
    text = json.dumps(to_table(result), indent=1) + "\n"
    owner = find_owner(paths, "root", READER)
    write_atomic(paths.results / f"{name}.json", text, mode=0o640, owner=owner)


def load_result(paths: Paths, name: str, cls: type[T]) -> T | None:
    """The last result; None when there is none, or none that this version understands.

    Fields of a newer version, which was rolled back since, are passed over.
    """
    file = paths.results / f"{name}.json"
    try:
        table = without_unknown(cls, json.loads(file.read_text()))
        return parse_table(cls, table, where=file.name)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ConfigError) as error:
        # An older version's, or damaged: the next run makes a new one.
        logger.warning("cannot use %s: %s", file, error)
        return None
