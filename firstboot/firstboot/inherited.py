"""Ports that an earlier Hearth has opened for good, given back when its data are erased.

With a lease the router forgets them within the hour; without one they would lead to this address
for ever, whoever has it then. The agent speaks to no network: it leaves what is known of them as
the result of the job, which gives back whatever is held while nothing is wanted.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from appliance.errors import HearthError
from appliance.log import logger
from appliance.paths import Paths
from appliance.tables import parse_table
from services.olddata import mounted
from services.portmap.contract import State, lasting
from services.reach import PORTMAP, PortmapResult
from services.results import save_result


def inherit_ports(paths: Paths, disk: Path) -> bool:
    """Whether there is anything to give back, and the job's result says so now."""
    try:
        # As it lies there: what a check would mend is about to be erased.
        with mounted(disk, paths.runtime / "old-data", check=False) as root:
            text = (root / "hearth" / "results" / f"{PORTMAP}.json").read_text()
        found = parse_table(PortmapResult, json.loads(text), where=f"the earlier {PORTMAP}.json")
    except FileNotFoundError:
        return False  # for the home network only, or never set up
    except (HearthError, OSError, ValueError) as error:
        logger.warning("what the earlier Hearth has opened is not known: %s", error)
        return False
    ports = only_for_good(found.ports)
    if not ports.left:
        return False
    save_result(paths, PORTMAP, PortmapResult(ports=ports))
    return True


def only_for_good(ports: State) -> State:
    """Its own address then is a former one of ours now, so that mappings to it may be deleted."""
    former = tuple(one for one in (ports.lan, *ports.former) if one)
    return replace(ports, held=(), left=lasting(ports), problems=(), former=former)
