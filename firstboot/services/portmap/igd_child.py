"""miniupnpc's blocking calls in a process of their own, which imports nothing else of ours.

One JSON list a line on standard input, ``[call, argument, ...]``; one JSON table a line back,
``{"value": ...}`` or ``{"error": text}``. The parent (igd.py) ends it when it takes too long.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

# What the parent may ask for, as the binding calls it.
CALLS = (
    "externalipaddress",
    "statusinfo",
    "addportmapping",
    "deleteportmapping",
    "getspecificportmapping",
)


def main() -> int:
    import miniupnpc

    upnp = miniupnpc.UPnP()
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        call: Callable[..., Any]
        if name == "find":
            answer = _answer(find, upnp, *arguments)
        else:
            call = getattr(upnp, name) if name in CALLS else _unknown
            answer = _answer(call, *arguments)
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()
    return 0


def find(upnp: Any, delay: int, location: str | None) -> tuple[str, str]:
    """Search the LAN for ``delay`` ms, or go straight to the description at ``location``.

    Returns our own address as the router sees it, and where every call will go.
    """
    if location is None:
        upnp.discoverdelay = delay
        upnp.discover()
        control = upnp.selectigd()
    else:
        control = upnp.selectigd(location)
    return str(upnp.lanaddr), str(control)


def _unknown(*_arguments: Any) -> None:
    raise ValueError("no such call")


def _answer(call: Callable[..., Any], *arguments: Any) -> dict[str, Any]:
    try:
        return {"value": call(*arguments)}
    except Exception as error:  # the binding raises nothing more special
        return {"error": str(error)}


if __name__ == "__main__":
    sys.exit(main())
