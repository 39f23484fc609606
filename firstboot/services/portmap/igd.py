"""UPnP Internet Gateway Devices (IGD:1 and :2), through Debian's miniupnpc in a child process.

The binding has traps (reference/matrix.md 6.1): its calls block, its errors are only texts, and
it takes any device for a good one, so what the router says is looked at here.
"""

from __future__ import annotations

import json
import select
import sys
from pathlib import Path
from typing import Any

from appliance.errors import HearthError
from appliance.run import DEVNULL, PIPE, Process, end, spawn
from services.portmap.causes import Cause, Refused
from services.portmap.mapper import Entry, Granted, Port, Sign
from services.portmap.ssdp import find_description, host_of

# Where nobody answers, miniupnpc takes four times this: some routers answer late.
SEARCH_MS = 2000
CALL_SECONDS = 10.0
# strupnperror() of miniupnpc. "Success" is what discover() raises when nobody answered, and 728
# (no more room) and 729 (conflict with another mechanism) have no text of their own.
CAUSES = {
    "Success": Cause.SILENT,
    "No UPnP device discovered": Cause.SILENT,
    "Miniupnpc Socket error": Cause.SILENT,
    "Miniupnpc HTTP error": Cause.GARBLED,
    "Miniupnpc Invalid response": Cause.GARBLED,
    "Miniupnpc Unknown Error": Cause.GARBLED,
    "Invalid Action": Cause.UNSUPPORTED,
    "Optional Action Not Implemented": Cause.UNSUPPORTED,
    "Action Failed": Cause.FAILED,
    "Out of Memory": Cause.FULL,
    "Human Intervention Required": Cause.UNAUTHORIZED,
    "Action not authorized": Cause.UNAUTHORIZED,
    "ConflictInMappingEntry": Cause.CONFLICT,
    "SamePortValuesRequired": Cause.SAME_PORT,
    "OnlyPermanentLeasesSupported": Cause.PERMANENT_ONLY,
    "UnknownError": Cause.UNNAMED,
}


def describe(port: Port) -> str:
    """Letters, digits and a space: other characters break some routers (miniupnp#613)."""
    return f"Hearth {port.external}"


class Igd:
    """``former`` are addresses that we had before: a mapping to one of them is our own.

    Only ``gateway`` is believed: any machine of the home can say that it is a router, and would
    tell us where our name has to lead.
    """

    name = "igd"

    def __init__(
        self,
        gateway: str,
        *,
        location: str | None = None,
        former: tuple[str, ...] = (),
        search_ms: int = SEARCH_MS,
    ) -> None:
        self.requests = 0
        self._gateway = gateway
        self._search_ms = search_ms
        self._location = location
        self._former = former
        self._child: Process | None = None
        self._lan = ""

    def discover(self) -> Sign:
        self._find()
        return Sign(epoch=self._uptime(), address=self.external_address())

    def external_address(self) -> str | None:
        self._find()
        address = str(self._call("externalipaddress"))
        return None if address in ("", "0.0.0.0") else address

    def map(self, port: Port, lease: int) -> Granted:
        self._find()
        self._make_room(port)
        lasting = self._add(port, lease)
        entry = self._entry(port)
        # A router that does not tell (None) is believed; one that tells otherwise is not.
        if entry is not None and (entry.client, entry.internal) != (self._lan, port.internal):
            self.unmap(port)
            said = f"port {port.external} leads to {entry.client} port {entry.internal}"
            raise Refused(Cause.REWRITTEN, said)
        return Granted(lease=lasting, listed=entry is not None)

    def unmap(self, port: Port) -> None:
        self._find()
        entry = self._entry(port)
        if entry is not None and (entry.client == self._lan or self._is_left_by_us(entry, port)):
            self._call("deleteportmapping", port.external, "TCP")

    def holders(self, ports: tuple[Port, ...], /) -> tuple[Entry, ...] | None:
        self._find()
        entries = (self._entry(port) for port in ports)
        return tuple(entry for entry in entries if entry is not None)

    def close(self) -> None:
        if self._child is not None:
            end(self._child)
            for pipe in (self._child.stdin, self._child.stdout):
                if pipe is not None:
                    pipe.close()
            self._child = None
            self._lan = ""  # a new child knows no router

    def _make_room(self, port: Port) -> None:
        """Never steal: only what we ourselves left at an address that we no longer have."""
        entry = self._entry(port)
        if entry is None or entry.client == self._lan:
            return
        if not self._is_left_by_us(entry, port):
            said = f"port {port.external} belongs to {entry.client} ({entry.description or '-'})"
            raise Refused(Cause.CONFLICT, said)
        try:
            self._call("deleteportmapping", port.external, "TCP")
        except Refused as error:
            said = f"port {port.external} still leads to our former {entry.client}: {error.said}"
            raise Refused(Cause.OWN_OLD_ADDRESS, said) from error

    def _is_left_by_us(self, entry: Entry, port: Port) -> bool:
        """Whoever has our former address now writes other words on its own mappings."""
        return entry.client in self._former and entry.description == describe(port)

    def _add(self, port: Port, lease: int) -> int:
        """The lease that was granted; routers that know no lease get 0, which is for good."""
        arguments = (port.external, "TCP", self._lan, port.internal, describe(port), "")
        try:
            self._call("addportmapping", *arguments, lease)
        except Refused as error:
            if error.cause is not Cause.PERMANENT_ONLY or not lease:
                raise
            self._call("addportmapping", *arguments, 0)
            return 0
        return lease

    def _entry(self, port: Port) -> Entry | None:
        found = self._call("getspecificportmapping", port.external, "TCP")
        if found is None:
            return None
        client, internal, description, _enabled, lease = found
        return Entry(
            external=port.external,
            client=client,
            internal=internal,
            description=description,
            lease=lease,
        )

    def _uptime(self) -> int | None:
        try:
            _status, uptime, _error = self._call("statusinfo")
        except Refused:
            return None  # the router is there all the same
        return int(uptime)

    def _find(self) -> None:
        """Raises Refused with SILENT when there is none but that of another machine."""
        if self._lan:
            return
        lan, control = self._call("find", self._search_ms, self._location)
        if host_of(control) != self._gateway and self._location is None:
            # The binding takes whoever answers first, be it a second router or worse.
            location = find_description(self._gateway, lan, self._search_ms / 1000)
            if location:
                lan, control = self._call("find", self._search_ms, location)
        if host_of(control) != self._gateway:
            said = f"UPnP: {host_of(control)} answers, which is not the router {self._gateway}"
            raise Refused(Cause.SILENT, said)
        self._lan = str(lan)

    def _call(self, name: str, *arguments: Any) -> Any:
        self.requests += 1
        answer = self._ask_child([name, *arguments])
        if "error" in answer:
            text = str(answer["error"])
            raise Refused(CAUSES.get(text, Cause.UNNAMED), f"UPnP: {text}")
        return answer["value"]

    def _ask_child(self, question: list[Any]) -> dict[str, Any]:
        child = self._child or self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps(question) + "\n")
            child.stdin.flush()
        except OSError as error:
            self.close()
            raise Refused(Cause.UNNAMED, f"the UPnP helper has ended: {error}") from error
        ready, _, _ = select.select([child.stdout], [], [], CALL_SECONDS)
        line = child.stdout.readline() if ready else ""
        if not line:
            self.close()
            said = f"UPnP {question[0]}: no answer within {CALL_SECONDS:.0f} s"
            raise Refused(Cause.SILENT, said)
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _start(self) -> Process:
        argv = [sys.executable, "-I", str(Path(__file__).with_name("igd_child.py"))]
        try:
            self._child = spawn(argv, input=PIPE, output=PIPE, errors=DEVNULL)
        except HearthError as error:
            raise Refused(Cause.UNSUPPORTED, error.message) from error
        return self._child
